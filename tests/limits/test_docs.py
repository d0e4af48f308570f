"""The page tells the truth: its program, its commands, and its program again."""

from __future__ import annotations

import shlex
from typing import Any

from riskscale.cli.app import run
from riskscale.testing import ServerProcess
from tests.test_readme import ROOT, blocks, ran

PAGE = (ROOT / "docs" / "limits.md").read_text()


def test_the_example_of_the_limits_of_single_tenants(scratch_server: ServerProcess, capsys: Any) -> None:
    (example,) = (block for block in blocks("python", PAGE) if "RedisLimits" in block)
    assert ran(example, scratch_server) == "100/m 99\n"
    commands = [line for block in blocks("sh", PAGE) for line in block.splitlines() if "riskscale limits" in line]
    assert len(commands) == 2
    for line in commands:
        words = shlex.split(line.replace("redis://localhost", scratch_server.url))
        assert run(words[1:]) == 0
    assert "tenant-7" in capsys.readouterr().out
    assert ran(example, scratch_server) == "500/m 498\n"
