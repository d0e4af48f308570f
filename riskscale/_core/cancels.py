"""Whose cancellation it is."""

from __future__ import annotations

import asyncio


def cancels() -> int:
    """How often the present task was cancelled; 0 where a CancelledError came out of what a callback awaited."""
    task = asyncio.current_task()
    return 0 if task is None else task.cancelling()
