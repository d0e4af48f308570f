from __future__ import annotations

import pytest


@pytest.fixture
def immortal_keys() -> tuple[str, ...]:
    """The mark of the controller's fences: the header of fence.guard says why."""
    return ("rs1*:scaling-fence",)
