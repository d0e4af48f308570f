"""The breaker's script calls, and what its channel says: pure functions, no I/O."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from riskscale._core.call import Arg, Call, text
from riskscale._core.durations import MICRO
from riskscale.breaker._model import Admission, Item, Known
from riskscale.breaker.policy import Rules
from riskscale.breaker.state import ADMITTING, BreakerInfo, BreakerState, Counts, Transition, transition
from riskscale.errors import StateError

SNAPSHOT = 14
KINDS = {None: "back", 0: "success", 1: "failure", 2: "slow", 3: "slow_failure"}
"""What the scripts call the end of a probe."""


@dataclass(frozen=True, slots=True)
class BreakerKeys:
    """The four keys of one breaker, all in one cluster slot."""

    breaker: bytes
    window: bytes
    nodes: bytes
    probes: bytes

    @classmethod
    def of(cls, base: str) -> BreakerKeys:
        """From the part of the key before its role."""
        return cls(*(f"{base}:breaker{part}".encode() for part in ("", "-window", "-nodes", "-probes")))

    @property
    def all(self) -> tuple[bytes, ...]:
        """In the order of KEYS."""
        return self.breaker, self.window, self.nodes, self.probes


class Snapshot(NamedTuple):
    """The state that all replicas share, and what led to it."""

    state: BreakerState
    before: BreakerState
    generation: int
    remaining_us: int
    since_us: int
    length_us: int
    opens: int
    forced: bool
    by: str
    counts: Counts
    policy: Rules | None
    reason: str

    @classmethod
    def of(cls, words: Sequence[Any]) -> Snapshot:
        """From a reply, or the words of a message."""
        state, before, generation, remaining_us, since_us, length_us, opens, forced, by, *counts, policy, reason = words
        rules = [int(word) for word in text(policy).split(",") if word]
        return cls(
            BreakerState(text(state)),
            BreakerState(text(before)),
            int(generation),
            int(remaining_us),
            int(since_us),
            int(length_us),
            int(opens),
            int(forced) == 1,
            text(by),
            Counts(*map(int, counts)),
            Rules(*rules) if len(rules) == len(Rules._fields) else None,  # a later release may have more
            text(reason),
        )

    @property
    def known(self) -> Known:
        """What a replica keeps of it."""
        return Known(self.generation, self.state, self.remaining_us)

    def transition(self, breaker: str) -> Transition:
        """How it came about."""
        return transition(self, breaker, self.since_us / MICRO, shared=True)


class Asked(NamedTuple):
    """The reply to a probe."""

    admission: Admission
    snapshot: Snapshot


def report(
    keys: BreakerKeys,
    node: str,
    sequence: int,
    known: Known,
    run: int,
    votes: bool,
    items: Sequence[Item],
    probe: tuple[str, int | None] | None,
    rules: Rules,
    drawn: int,
    channel: str,
) -> Call[Snapshot]:
    """Tell what a replica saw, and hear what holds."""
    token, end = ("", "none") if probe is None else (probe[0], KINDS[probe[1]])
    groups: list[int] = [word for age_us, counts in items or (Item(0, Counts()),) for word in (age_us, *counts)]
    args: tuple[Arg, ...] = (
        node,
        sequence,
        *_known(known),
        run,
        int(votes),
        token,
        end,
        *rules,
        drawn,
        channel,
        *groups,
    )
    return Call("breaker.report", keys.all, args, lambda reply: Snapshot.of(reply[2:]))


def probe(
    keys: BreakerKeys, node: str, token: str, known: Known, rules: Rules, drawn: int, channel: str
) -> Call[Asked]:
    """Ask to try."""
    args: tuple[Arg, ...] = (node, token, *_known(known), *rules, drawn, channel)
    return Call(
        "breaker.probe",
        keys.all,
        args,
        lambda reply: Asked(Admission(*reply[1:3]), Snapshot.of(reply[3:])),
    )


def force(keys: BreakerKeys, by: str, state: BreakerState, length_us: int, reason: str, channel: str) -> Call[Snapshot]:
    """Change it by hand."""
    args: tuple[Arg, ...] = (by, state.value, length_us, channel, reason)
    return Call("breaker.force", keys.all, args, lambda reply: Snapshot.of(reply[1:]))


def read(keys: BreakerKeys, name: str) -> Call[BreakerInfo]:
    """Look, without changing anything."""
    return Call("breaker.read", keys.all, (), lambda reply: _info(name, reply))


def heard(message: str) -> Snapshot:
    """What the channel said, after the token."""
    return Snapshot.of(message.split(" ", SNAPSHOT - 1))


def _known(known: Known) -> tuple[int, str, int]:
    return known.generation, known.state.value, known.remaining_us


def _info(name: str, reply: Sequence[Any]) -> BreakerInfo:
    try:
        snapshot = Snapshot.of(reply[1 : 1 + SNAPSHOT])
        calls, failures, slow, probes, replicas, votes = reply[1 + SNAPSHOT :]
    except ValueError:
        raise StateError("a key of the breaker holds what no release writes that this one knows") from None
    changed = snapshot.state not in ADMITTING or snapshot.reason
    return BreakerInfo(
        known=snapshot.generation > 0,
        state=snapshot.state,
        remaining=snapshot.remaining_us / MICRO,
        transition=snapshot.transition(name) if changed else None,
        opens=snapshot.opens,
        counts=Counts(calls, failures, slow),
        probes=probes,
        replicas=replicas,
        votes=votes,
        policy=snapshot.policy,
    )
