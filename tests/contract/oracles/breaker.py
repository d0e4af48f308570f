"""Breakers, but for ``read``."""

from __future__ import annotations

from typing import Any

from riskscale.breaker._model import Admission, Circuit, Item, Known, Step
from riskscale.breaker._pool import Pool
from riskscale.breaker.policy import Rules
from riskscale.breaker.state import BreakerState, Counts
from tests.contract.oracles import Words


class Oracle:
    def __init__(self) -> None:
        self.pools: dict[str, Pool] = {}

    def report(self, keys: Words, args: Words) -> list[Any]:
        pool, step = self._pool(keys), _step(args[0], args[9:23], args[-1])
        known = Known(int(args[2]), BreakerState(args[3]), int(args[4]))
        numbers = list(map(int, args[24:-1]))
        items = [Item(age, Counts(*counts)) for age, *counts in zip(*(numbers[at::4] for at in range(4)), strict=True)]
        kinds = {"success": 0, "failure": 1, "slow": 2, "slow_failure": 3}
        probe = (args[7], kinds.get(args[8])) if args[7] else None
        folded = pool.report(step, int(args[1]), known, int(args[5]), args[6] == "1", items, probe)
        return [step.now_us, int(folded), *_snapshot(pool, step.now_us)]

    def probe(self, keys: Words, args: Words) -> list[Any]:
        pool, step = self._pool(keys), _step(args[0], args[5:19], args[-1])
        pool.meet(step, Known(int(args[2]), BreakerState(args[3]), int(args[4])))
        admission: Admission = pool.probe(step, args[1])
        return [step.now_us, *admission, *_snapshot(pool, step.now_us)]

    def force(self, keys: Words, args: Words) -> list[Any]:
        by, state, length_us, _, reason, now = args
        pool, step = self._pool(keys), Step(_NO_RULES, int(now), by)
        pool.settle_clock(int(now))
        pool.force(step, BreakerState(state), int(length_us), reason)
        return [int(now), *_snapshot(pool, int(now))]

    def _pool(self, keys: Words) -> Pool:
        return self.pools.setdefault(keys[0], Pool())


_NO_RULES = Rules(*(0,) * 13)


def _step(by: str, words: Words, now: str) -> Step:
    *rules, drawn = map(int, words)
    return Step(Rules(*rules), int(now), by, drawn)


def _snapshot(circuit: Circuit, now_us: int) -> list[Any]:
    texts = {"state": circuit.state.value, "before": circuit.before.value, "by": circuit.by, "reason": circuit.reason}
    state, before, by, reason = (text.encode() for text in texts.values())
    policy = ",".join(map(str, circuit.policy)) if circuit.policy else ""
    return [
        state, before, circuit.generation, circuit.remaining_us(now_us), circuit.since_us, circuit.length_us,
        circuit.opens, int(circuit.forced), by, *circuit.counts, policy.encode(), reason,
    ]  # fmt: skip
