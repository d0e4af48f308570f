"""On a server that somebody else started, the suite leaves everything of theirs as it was."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

from riskscale.testing import ServerProcess

ROOT = Path(__file__).resolve().parent.parent
SAMPLE = ("tests/core", "tests/testing/test_fixtures.py")
THEIR_SCRIPT = b"return 'theirs'"


@pytest.fixture
def theirs(scratch_server: ServerProcess) -> Iterator[redis.Redis]:
    """Their server: keys (one looks like ours, none expires), a loaded script, a user, a setting."""
    with redis.Redis.from_url(scratch_server.url) as client:
        client.set("theirs", "value")
        client.set("rs1:{theirs}:rate:api:60s:gcra", "value")
        client.hset("config", mapping={"a": "1"})
        client.script_load(THEIR_SCRIPT)
        client.execute_command("ACL", "SETUSER", "them", "on", ">secret", "~theirs", "+get")
        client.config_set("slowlog-max-len", "77")
        yield client


def state(client: redis.Redis) -> dict[str, Any]:
    return {
        "keys": {key: (client.dump(key), client.pttl(key)) for key in client.scan_iter()},
        "script": client.script_exists(hashlib.sha1(THEIR_SCRIPT).hexdigest()),
        "users": client.acl_list(),
        "setting": client.config_get("slowlog-max-len"),
    }


def test_what_is_theirs_stays_as_it_was(theirs: redis.Redis, scratch_server: ServerProcess) -> None:
    before = state(theirs)
    assert len(before["keys"]) == 3
    assert before["script"] == [True]
    environment = {**os.environ, "REDIS_URL": scratch_server.url, "HYPOTHESIS_PROFILE": "matrix"}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--backend", "server", *SAMPLE]
    ran = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout
    left_out = ran.stdout.split("REDIS_URL is somebody else's")[1]
    assert "tests/core/test_hub.py::" in left_out
    assert theirs.info("stats")["total_commands_processed"] > 1000  # it was this server that the tests ran on
    assert state(theirs) == before
