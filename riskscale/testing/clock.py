"""Time that only a test moves."""

from __future__ import annotations

START_US = 1_750_000_000_000_000


class VirtualClock:
    """A clock for ``Hub(client, clock=...)``: calling it gives integer microseconds, which pass only by ``advance``.

    Args:
        now_us: the first reading.
    """

    def __init__(self, now_us: int = START_US) -> None:
        self.now_us = now_us

    def __call__(self) -> int:
        return self.now_us

    def __repr__(self) -> str:
        return f"VirtualClock({self.now_us})"

    def advance(self, seconds: float = 0.0, *, us: int = 0) -> int:
        """Let ``seconds`` and ``us`` microseconds pass; less than nothing sets the clock back. The new reading."""
        self.now_us += round(seconds * 1_000_000) + us
        return self.now_us
