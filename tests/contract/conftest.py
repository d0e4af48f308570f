from __future__ import annotations

import shutil
from typing import Any

import pytest

from riskscale._core.scripts import manifest
from tests.contract.examples import EXAMPLES


@pytest.fixture
def immortal_keys() -> list[str]:
    """The keys of scripts whose header says ``TTL none``, and of no other."""
    scripts = [name for name, entry in manifest()["scripts"].items() if "ttl" in entry]
    return [f"rs1:{{contract}}:{role}" for name in scripts for role in EXAMPLES[name][0]]


@pytest.fixture
def server_cli(backend: Any) -> list[str]:
    """The command line of whatever client program is installed, for the server of this test."""
    program = shutil.which("redis-cli") or shutil.which("valkey-cli")
    if program is None:
        pytest.skip("neither redis-cli nor valkey-cli is on the PATH")
    return [program, "-u", backend.url]
