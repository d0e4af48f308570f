"""The turns of a controller: what one leader leaves to the next, and how it decides. No I/O.

The memory is a value that the fence of the leader's term guards (scripts fence.read and fence.guard). A leader reads it
at the beginning of a turn, from when on no older one writes it, and writes it before it acts. So a turn that was
written is seen by every later leader, and one that comes too late is refused.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, Protocol

from riskscale._core.call import Call, text
from riskscale._core.durations import MICRO
from riskscale.errors import StaleFence
from riskscale.fence.calls import GuardKeys
from riskscale.fleet.snapshot import FleetSnapshot
from riskscale.scaling.rules import Change, Recommendation, ScalingHistory
from riskscale.scaling.snapshot import MetricsSnapshot, ScalingAction, ScalingDecision
from riskscale.scaling.target import TargetTrackingPolicy

log = logging.getLogger("riskscale.fleet")

KEPT_US = 86_400 * MICRO
"""How long a memory is kept when nobody leads."""


class ScalingPolicy(Protocol):
    """What says what to do, from what it is told alone."""

    def evaluate(self, snapshot: MetricsSnapshot, /) -> ScalingDecision: ...


@dataclass(frozen=True, slots=True)
class ScalingOrder(ScalingDecision):
    """A decision, and by which leader it was made.

    Attributes:
        at: when: seconds since 1970 by the clock of the hub (None: the server's).
        fence: of the leader's term, higher than that of every leader before: send it along with what is done.
        snapshot: what it was decided by.
    """

    at: float = field(default=0.0, kw_only=True)
    fence: int = field(default=0, kw_only=True)
    snapshot: MetricsSnapshot = field(default_factory=MetricsSnapshot, kw_only=True)


@dataclass(frozen=True, slots=True)
class Memory:
    """What the next turn has to know, whoever makes it.

    Attributes:
        at: when the last turn was made; None: never.
        changed: when one last ordered a change; None: never.
        history: the policy's.
    """

    at: float | None = None
    changed: float | None = None
    history: ScalingHistory = field(default_factory=ScalingHistory)

    def text(self) -> str:
        """As it is stored."""
        kept = {"recommendations": self.history.recommendations, "changes": self.history.changes}
        return json.dumps({"at": self.at, "changed": self.changed, **kept}, separators=(",", ":"))

    @classmethod
    def of(cls, stored: str) -> Memory:
        """From that; none at all where it was written by hand or otherwise, which is logged."""
        try:
            known = json.loads(stored)
            recommendations = tuple(Recommendation(float(at), int(many)) for at, many in known["recommendations"])
            changes = tuple(Change(float(at), int(by)) for at, by in known["changes"])
            at, changed = (None if known[name] is None else float(known[name]) for name in ("at", "changed"))
        except (ValueError, TypeError, KeyError, OverflowError):
            log.warning("what the last leader left makes no sense, and is forgotten: %.100s", stored)
            return cls()
        return cls(at, changed, ScalingHistory(recommendations, changes))

    def until(self, now: float) -> Memory:
        """Without what is of a later time: the clock went back."""
        history = ScalingHistory(
            tuple(each for each in self.history.recommendations if each.at <= now),
            tuple(each for each in self.history.changes if each.at <= now),
        )
        at, changed = (None if stamp is None or stamp > now else stamp for stamp in (self.at, self.changed))
        return Memory(at, changed, history)


@dataclass(frozen=True, slots=True)
class Turn:
    """The beginning of one: when it is by the server's clock, and what the last turn left."""

    at: float
    memory: Memory

    def wait(self, interval: float) -> float:
        """Seconds until a turn is due; 0.0 where it is."""
        return 0.0 if self.memory.at is None else max(0.0, self.memory.at + interval - self.at)


def keys_of(base: str) -> GuardKeys:
    """From the part of the key before its role."""
    return GuardKeys(f"{base}:scaling-memory".encode(), f"{base}:scaling-fence".encode())


def begin(keys: GuardKeys, name: str, fence: int) -> Call[Turn]:
    """Read what the last turn left; StaleFence where a newer leader has."""

    def decode(reply: Sequence[Any]) -> Turn:
        passed, mark, at_us, found, value = reply
        if not passed:
            raise StaleFence(name, fence, mark)
        at = at_us / MICRO
        return Turn(at, (Memory.of(text(value)) if found else Memory()).until(at))

    return Call("fence.read", keys.all, (fence,), decode)


def end(keys: GuardKeys, name: str, fence: int, memory: Memory) -> Call[None]:
    """Leave it to the next; StaleFence where a newer leader has read it."""

    def decode(reply: Sequence[Any]) -> None:
        passed, mark, _ = reply
        if not passed:
            raise StaleFence(name, fence, mark)

    return Call("fence.guard", keys.all, (fence, memory.text(), KEPT_US), decode)


def decide(
    policy: ScalingPolicy | TargetTrackingPolicy, snapshot: MetricsSnapshot, turn: Turn, cooldown: float, fence: int
) -> tuple[ScalingOrder, Memory]:
    """The order of a turn, and what to leave to the next, in which the order is taken for carried out."""
    now, memory = turn.at, turn.memory
    if isinstance(policy, TargetTrackingPolicy):
        decision, history = _track(policy, snapshot, memory.history, now)
    else:
        decision, history = policy.evaluate(snapshot), memory.history
    changed = memory.changed
    if decision.action is not ScalingAction.NO_ACTION:
        if changed is not None and now - changed < cooldown:
            decision = _withheld(decision, snapshot, now - changed)
            history = ScalingHistory(history.recommendations, memory.history.changes)
        else:
            changed = now
    told = {each.name: getattr(decision, each.name) for each in fields(ScalingDecision)}
    return ScalingOrder(**told, at=now, fence=fence, snapshot=snapshot), Memory(now, changed, history)


def _track(
    policy: TargetTrackingPolicy, snapshot: MetricsSnapshot, history: ScalingHistory, now: float
) -> tuple[ScalingDecision, ScalingHistory]:
    current = snapshot.current_replicas
    if current is not None and not any(each.at > now - policy.memory for each in history.recommendations):
        # As Kubernetes begins: what there is was recommended, so that a first look at a calm moment shrinks nothing.
        history = ScalingHistory((*history.recommendations, Recommendation(now, current)), history.changes)
    return policy.evaluate(
        snapshot.observations() if isinstance(snapshot, FleetSnapshot) else snapshot,
        now=now,
        history=history,
        current_replicas=current,
        open_breakers=snapshot.open_breakers,
    )


def _withheld(decision: ScalingDecision, snapshot: MetricsSnapshot, since: float) -> ScalingDecision:
    return replace(
        decision,
        action=ScalingAction.NO_ACTION,
        reason=f"{decision.reason}, but the last change was {since:.3g} s ago",
        replicas=snapshot.current_replicas if decision.replicas is not None else None,
        limited_by="cooldown",
    )
