"""Rate limits."""

from __future__ import annotations

from typing import Any, get_args

from riskscale.rate import _model as rate
from riskscale.rate._reservation_model import Reservations
from riskscale.rate.limit import Algorithm, Limit
from tests.contract.oracles import Words


class Oracle:
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
