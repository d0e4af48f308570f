"""The page tells the truth: its programs and its command."""

from __future__ import annotations

import shutil
import subprocess

import pytest

from riskscale.testing import ServerProcess
from tests.test_readme import ROOT, blocks, ran

PAGE = (ROOT / "docs" / "idempotency.md").read_text()


def test_the_examples(scratch_server: ServerProcess) -> None:
    work, http = blocks("python", PAGE)
    receipt = """b'{"receipt": 1}'"""
    assert ran(work, scratch_server) == f"paying, after 0 attempts of unknown outcome\n{receipt}\n{receipt}\nmismatch\n"
    first, *answers = ran(http, scratch_server).splitlines()
    assert first == "paying b'10 to bob'" and answers[:4] == ["201 ", " paid"] * 2
    assert answers[4] == "400 " and "Idempotency-Key is missing" in answers[5]


def test_the_command_meets_the_record_of_the_program(scratch_server: ServerProcess) -> None:
    program = shutil.which("redis-cli") or shutil.which("valkey-cli")
    if program is None:
        pytest.skip("neither redis-cli nor valkey-cli is on the PATH")
    ran(blocks("python", PAGE)[0], scratch_server)
    (line,) = (line for block in blocks("sh", PAGE) for line in block.splitlines())
    done = subprocess.run(
        line.replace("redis-cli", f"{program} -u {scratch_server.url}", 1),
        shell=True, cwd=ROOT, capture_output=True, text=True, check=True, timeout=60,
    )  # fmt: skip
    assert done.stdout.split()[0] == "3", "its fingerprint is another"
