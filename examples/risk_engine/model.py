"""The model: what turns an event and its features into a score, and what a call of it costs."""

from __future__ import annotations

from typing import Protocol

from risk_engine.events import Event
from risk_engine.scoring import Features, Score, score


class Model(Protocol):
    """Usually at the other end of a network: it may be slow, fail, and costs something a call."""

    cost: int
    """Of one call, in millionths of a dollar."""

    async def assess(self, event: Event, features: Features) -> Score: ...


class RuleModel:
    """The rules of :mod:`risk_engine.scoring`, in this process."""

    cost = 25

    async def assess(self, event: Event, features: Features) -> Score:
        return score(event, features)
