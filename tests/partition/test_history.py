"""Ten processes on a real server, killed, stopped and told to leave at random: their history is as promised."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.faults.test_races import url_of
from tests.partition.checker import check
from tests.partition.run import run


@pytest.mark.server
def test_ten_owners_in_trouble(backend: Any, prefix: str, tmp_path: Path) -> None:
    history = run(url_of(backend), prefix, tmp_path, seconds=10, seed=7)
    verdict = check(history)
    assert not verdict.violations, "\n".join(verdict.violations[:20])
    assert {fault.kind for fault in history.faults} == {"kill", "stop", "cont", "term"}
    assert verdict.grants > 100 and verdict.beliefs > 1000 and verdict.orphans > 20
