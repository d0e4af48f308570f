"""Futures on which callers wait, and which may come too late for them."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Iterable
from functools import partial
from typing import Any, TypeVar

T = TypeVar("T")


class Unanswered(TimeoutError):
    """The caller's budget has run out; what it asked for may still be done."""


async def within(budget: float | None, answer: asyncio.Future[T], asked: str) -> T:
    """The answer of what was ``asked``; Unanswered when there is none after ``budget`` seconds. None: wait for it."""
    timer = None if budget is None else answer.get_loop().call_later(budget, partial(_give_up, answer, asked, budget))
    try:
        return await answer
    finally:
        if timer is not None:
            timer.cancel()


def fail_all(answers: Iterable[asyncio.Future[Any]], error: Exception) -> None:
    """Tell those who still wait."""
    waiting = [answer for answer in answers if not answer.done()]
    for answer in waiting:
        answer.set_exception(error if len(waiting) == 1 else _copy(error))


def _copy(error: Exception) -> Exception:
    """One for each: raised in hundreds of tasks, a single one would gather the traceback of them all."""
    try:
        ours = copy.copy(error)
    except Exception:  # one that cannot be made anew from its arguments
        return error
    ours.__cause__ = error.__cause__
    return ours


def _give_up(answer: asyncio.Future[Any], asked: str, budget: float) -> None:
    if not answer.done():
        answer.set_exception(Unanswered(f"no answer to {asked} within {budget:g} s; its outcome is unknown"))
