"""``run``: the command in this process."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import pytest

from riskscale.cli.app import run as run_command


class Outcome(NamedTuple):
    code: int
    out: str
    err: str


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Callable[..., Outcome]:
    """``run("replay", path, ...)`` -> exit code, standard output, standard error."""

    def call(*words: object) -> Outcome:
        code = run_command([str(word) for word in words])
        return Outcome(code, *capsys.readouterr())

    return call
