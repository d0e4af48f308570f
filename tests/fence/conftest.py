from __future__ import annotations

import pytest


@pytest.fixture
def immortal_keys() -> tuple[str, ...]:
    """What a guard keeps: the header of fence.guard says why."""
    return "rs1*:value", "rs1*:fence"
