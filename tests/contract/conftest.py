from __future__ import annotations

import shutil
from typing import Any

import pytest


@pytest.fixture
def server_cli(backend: Any) -> list[str]:
    """The command line of whatever client program is installed, for the server of this test."""
    program = shutil.which("redis-cli") or shutil.which("valkey-cli")
    if program is None:
        pytest.skip("neither redis-cli nor valkey-cli is on the PATH")
    return [program, "-u", backend.url]
