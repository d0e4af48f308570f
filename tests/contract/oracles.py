"""The reference models behind the scripts' own words: each method is a verb, and replies as the script must."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias, get_args

from riskscale.breaker._model import Admission, Circuit, Item, Known, Step
from riskscale.breaker._pool import Pool
from riskscale.breaker.policy import Rules
from riskscale.breaker.state import BreakerState, Counts
from riskscale.fence._model import GuardModel
from riskscale.lock._model import LockModel
from riskscale.rate import _model as rate
from riskscale.rate._reservation_model import Reservations
from riskscale.rate.limit import Algorithm, Limit
from riskscale.semaphore._model import SemaphoreModel

Words: TypeAlias = list[Any]
"""Keys or arguments: text, and bytes where a value is."""
Model: TypeAlias = Callable[[Words, Words], Any]


class FenceOracle:
    """``fence.*``."""

    def __init__(self) -> None:
        self.guard_of: dict[str, GuardModel] = {}

    def guard(self, keys: Words, args: Words) -> list[Any]:
        value = args[1] if isinstance(args[1], bytes) else args[1].encode()
        written = self._model(keys).write(value, int(args[0]))
        return [int(written.written), written.fence, int(args[-1])]

    def read(self, keys: Words, args: Words) -> list[Any]:
        accepted, fence, value = self._model(keys).read(int(args[0]))
        return [int(accepted), fence, int(args[-1]), int(value is not None), value or b""]

    def _model(self, keys: Words) -> GuardModel:
        return self.guard_of.setdefault(keys[0], GuardModel())


class LockOracle:
    """``lock.*``, but for ``inspect``: nobody listens, so no mailbox is reached."""

    def __init__(self) -> None:
        self.locks: dict[str, LockModel] = {}

    def _model(self, key: str) -> LockModel:
        return self.locks.setdefault(key, LockModel())

    def acquire(self, keys: Words, args: Words) -> list[Any]:
        owner, ttl_us, mailbox, hold, _, now = args
        seen = self._model(keys[0]).acquire(owner, int(ttl_us), mailbox, int(now), hold)
        return [*map(int, seen), int(now)]

    def release(self, keys: Words, args: Words) -> list[Any]:
        owner, hold, now = args
        return [*map(int, self._model(keys[0]).release(owner, int(now), hold)), int(now)]

    def force_release(self, keys: Words, args: Words) -> list[Any]:
        lost, fence, now = args
        return [*map(int, self._model(keys[0]).force_release(lost, int(fence), int(now))), int(now)]

    def renew(self, keys: Words, args: Words) -> list[Any]:
        now, pairs = int(args[-1]), zip(keys, args[0::2], args[1::2], strict=False)
        return [now, *(self._model(key).renew(owner, int(ttl_us), now) for key, owner, ttl_us in pairs)]

    def acquire_all(self, keys: Words, args: Words) -> list[Any]:
        owner, ttl_us, now = args[0], int(args[1]), int(args[-1])
        models = [self._model(key) for key in keys[0::3]]
        free = [model.can_be_had(owner, now) for model in models]
        if all(free):
            for model in models:
                model.take(owner, ttl_us, now)
            return [1, 0, now, *(model.fence for model in models)]
        left = [min(model.end_us - now, model.ttl_us) for model, had in zip(models, free, strict=True) if not had]
        return [0, max(1000, *left), now, *(0 if had else -1 for had in free)]


class SemaphoreOracle:
    """``semaphore.*``, but for ``inspect``."""

    def __init__(self) -> None:
        self.semaphores: dict[str, SemaphoreModel] = {}

    def _model(self, key: str) -> SemaphoreModel:
        return self.semaphores.setdefault(key, SemaphoreModel())

    def acquire(self, keys: Words, args: Words) -> list[Any]:
        owner, ttl_us, mailbox, weight, limit, max_queued, _, now = args
        most = float(max_queued or "inf")
        model = self._model(keys[0])
        return [
            *map(int, model.acquire(owner, int(ttl_us), mailbox, int(weight), int(limit), int(now), most)),
            int(now),
        ]

    def release(self, keys: Words, args: Words) -> list[Any]:
        return [*map(int, self._model(keys[0]).release(args[0], int(args[1]))), int(args[1])]

    def renew(self, keys: Words, args: Words) -> list[Any]:
        now, pairs = int(args[-1]), zip(keys, args[0::2], args[1::2], strict=False)
        return [now, *(self._model(key).renew(owner, int(ttl_us), now) for key, owner, ttl_us in pairs)]


class RateOracle:
    """``rate.*``."""

    def __init__(self) -> None:
        self.states: dict[str, rate.RateModel] = {}
        self.bookings: dict[str, Reservations] = {}
        self.marks: set[str] = set()
        for algorithm in get_args(Algorithm):
            setattr(self, algorithm, lambda keys, args, which=algorithm: self._hits(which, keys, args))

    def _hits(self, algorithm: Algorithm, keys: Words, args: Words) -> bytes:
        width = 3 if algorithm == "gcra" else 2
        limit = _limit([algorithm, *args[:width], *(["0"] if width == 2 else [])])
        charge, costs, now = args[width] == "1", args[width + 1 : -1], int(args[-1])
        rows = [
            rate.hit([self._state(key, limit)], [limit], int(cost), now, charge)[0]
            for key, cost in zip(keys, costs, strict=True)
        ]
        return _line(now, rows)

    def all_of(self, keys: Words, args: Words) -> bytes:
        m, now = int(args[0]), int(args[-1])
        limits = [_limit(args[1 + 4 * j : 5 + 4 * j]) for j in range(m)]
        charge, costs = args[1 + 4 * m] == "1", args[2 + 4 * m : -1]
        rows = []
        for r, cost in enumerate(costs):
            states = [self._state(key, limit) for key, limit in zip(keys[r * m : (r + 1) * m], limits, strict=True)]
            rows += rate.hit(states, limits, int(cost), now, charge)
        return _line(now, rows)

    def lease(self, keys: Words, args: Words) -> bytes:
        limit, life_us, now = _limit(args[:4]), int(args[4]), int(args[-1])
        pairs = zip(keys, args[5:-1:2], args[6:-1:2], strict=True)
        rows = [
            rate.lend(self._state(key, limit), limit, int(need), int(want), life_us, now) for key, need, want in pairs
        ]
        return _line(now, rows)

    def refund(self, keys: Words, args: Words) -> list[int]:
        m, (at, cost, now) = int(args[0]), map(int, args[-3:])
        reply = [now]
        for j in range(m):
            limit, mark = _limit(args[1 + 4 * j : 5 + 4 * j]), keys[2 * j + 1]
            back = 0 if mark in self.marks else self._state(keys[2 * j], limit).refund(limit, cost, at, now)
            self.marks |= {mark} if back else set()
            reply.append(back)
        return reply

    def reserve(self, keys: Words, args: Words) -> list[int]:
        limit, token, (cost, most, now) = _limit(["gcra", *args[:3]]), args[3], map(int, args[4:])
        return [now, *self._booking(keys[0]).reserve(limit, token, cost, most, now)]

    def settle(self, keys: Words, args: Words) -> list[int]:
        limit, token, start = _limit(["gcra", *args[:3]]), args[3], int(args[4]) if args[4] else None
        cost, actual, now = map(int, args[5:])
        return [now, *self._booking(keys[0]).settle(limit, token, start, cost, actual, now)]

    def reset(self, keys: Words, args: Words) -> list[int]:
        was = [int(key in self.states and self.states[key].expires_us > 0) for key in keys]
        for key in keys:
            self.states.pop(key, None)
            if key in self.bookings:
                self.bookings[key].gcra = rate.Gcra()
        return was

    def _state(self, key: str, limit: Limit) -> rate.RateModel:
        if limit.algorithm == "gcra":
            return self._booking(key).gcra
        return self.states.setdefault(key, rate.MODELS[limit.algorithm]())

    def _booking(self, key: str) -> Reservations:
        booking = self.bookings.setdefault(key, Reservations())
        self.states[key] = booking.gcra
        return booking


def _limit(words: Words) -> Limit:
    algorithm, count, window_us, burst = words
    limit = Limit(int(count), per=int(window_us) / 1e6, algorithm=algorithm, burst=int(burst) or None)  # type: ignore[arg-type]
    assert limit.window_us == int(window_us)
    return limit


def _line(now: int, rows: list[Any]) -> bytes:
    return " ".join(map(str, [now, *(number for row in rows for number in row)])).encode()


class BreakerOracle:
    """``breaker.*``, but for ``read``."""

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


ORACLES: dict[str, Callable[[], Any]] = {
    "breaker": BreakerOracle,
    "fence": FenceOracle,
    "lock": LockOracle,
    "rate": RateOracle,
    "semaphore": SemaphoreOracle,
}


def oracle_of(primitive: str) -> Callable[[str], Model | None]:
    """By a verb: the model's reply, None where there is none of it."""
    oracle = ORACLES.get(primitive, object)()
    return lambda verb: getattr(oracle, verb, None)
