"""What lua/README.md shows to type runs as it stands."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator

import pytest
import redis

from riskscale._core.scripts import manifest
from riskscale.testing import ServerProcess
from tests.contract.examples import EXAMPLES
from tools import contract

pytestmark = [pytest.mark.server, pytest.mark.owns_server]
ROOT = contract.LUA.parent
README = (contract.LUA / "README.md").read_text()
HEAD, *SECTIONS = re.split(r"^## (?=\w+\.)", README, flags=re.M)
NEEDS_FUNCTIONS = ("FCALL", "FUNCTION")


def lines(text: str) -> list[str]:
    return [line for block in re.findall(r"^```sh\n(.*?)^```", text, re.M | re.S) for line in block.splitlines()]


@pytest.fixture(scope="module")
def server() -> Iterator[ServerProcess]:
    with ServerProcess() as server:
        yield server


def typed(line: str, server: ServerProcess) -> list[str]:
    """The lines of the reply."""
    program = shutil.which("redis-cli") or shutil.which("valkey-cli")
    if program is None:
        pytest.skip("neither redis-cli nor valkey-cli is on the PATH")
    assert line.startswith("redis-cli ")
    line = line.replace("redis-cli", f"{program} -e -u {server.url}", 1)
    done = subprocess.run(["sh", "-c", line], cwd=ROOT, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.removesuffix("\n").split("\n")


def test_every_script_has_a_line() -> None:
    assert [section.split("\n", 1)[0] for section in SECTIONS] == sorted(EXAMPLES)


@pytest.mark.parametrize("section", SECTIONS, ids=lambda section: section.split("\n", 1)[0])
def test_the_line_of_a_script_replies_what_its_table_says(section: str, server: ServerProcess) -> None:
    (line,) = lines(section)
    entry = manifest()["scripts"][section.split("\n", 1)[0]]
    reply = typed(line, server)
    values = reply[0].split() if "reply" in entry else reply
    fixed = [each for each in entry["returns"] if "per" not in each]
    per_item = len(entry["returns"]) - len(fixed)
    rest = len(values) - len(fixed)
    assert rest == 0 if not per_item else rest >= 0 and rest % per_item == 0, values
    for value, each in zip(values, fixed, strict=False):
        assert each["type"] == "string" or re.fullmatch(r"-?\d+", value), (value, each)


def test_the_lines_above_the_scripts(server: ServerProcess) -> None:
    with redis.Redis.from_url(server.url) as client:
        has_functions = int(client.info("server")["redis_version"].split(".")[0]) >= 7
    shown = [line for line in lines(HEAD) if has_functions or not any(word in line for word in NEEDS_FUNCTIONS)]
    replies = [typed(line, server) for line in shown]
    assert replies[0][0] == "1" and replies[1][0].split()[1:3] == ["0", "99"]
    assert replies[2] == [manifest()["scripts"]["rate.gcra"]["sha1"]]
    left = [reply[0].split()[2] for reply in replies if re.match(r"\d{16} 0 ", reply[0])]
    assert left == ["99", "98", "97", "99", "96"][: len(left)] and len(left) == (5 if has_functions else 4)
