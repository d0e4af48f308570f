"""Drives the rate scripts and their models side by side, in virtual time."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any, ClassVar, NamedTuple

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from riskscale._core.call import line
from riskscale._core.scripts import script
from riskscale.rate._model import MODELS, RateModel, hit, lend
from riskscale.rate.limit import MAX_COUNT, Algorithm, Limit
from tests.backends import asked

START = 10**15
SERIAL = itertools.count()

counts = st.one_of(st.integers(1, 5), st.integers(6, 200))
costs = st.one_of(st.just(1), st.integers(1, 3), st.integers(1, 9), st.sampled_from([70, 150, 10**15]))
windows = st.sampled_from([1, 7, 59, 1000, 1000, 60_000_000, 60_000_000])


def limits(algorithm: Algorithm) -> st.SearchStrategy[Limit]:
    """Small limits, where collisions are."""
    bursts = st.one_of(st.none(), st.integers(1, 9)) if algorithm == "gcra" else st.none()
    return st.builds(
        lambda count, window_us, burst: Limit(count, per=window_us / 1e6, algorithm=algorithm, burst=burst),
        counts, windows, bursts,
    )  # fmt: skip


def words(limit: Limit) -> list[str | int]:
    """A limit as ``all_of`` and ``refund`` take it."""
    return [limit.algorithm, limit.count, limit.window_us, limit.capacity if limit.algorithm == "gcra" else 0]


class Admitted(NamedTuple):
    """What a refund needs to know of a hit, of all limits, or of a loan, of one."""

    name: str
    which: Sequence[int]
    cost: int
    at: int
    limits: list[Limit]
    token: str


class RateMachine(RuleBasedStateMachine):
    """``algorithms``: one for its own script, several for ``all_of``."""

    client: ClassVar[Any]
    prefix: ClassVar[str]
    algorithms: ClassVar[tuple[Algorithm, ...]]

    @initialize(data=st.data())
    def begin(self, data: st.DataObject) -> None:
        self.now = START
        self.names = [f"{self.prefix}m{next(SERIAL)}" for _ in range(3)]
        self.limits = [data.draw(limits(algorithm)) for algorithm in self.algorithms]
        self.models: dict[str, list[RateModel]] = {n: [MODELS[a]() for a in self.algorithms] for n in self.names}
        self.hits: list[Admitted] = []
        self.refunded: set[str] = set()

    def keys(self, name: str) -> list[str]:
        return [f"{name}:{index}:{algorithm}" for index, algorithm in enumerate(self.algorithms)]

    def every_key(self) -> list[str]:
        return [key for name in self.names for key in self.keys(name)]

    def run(self, names: list[str], costs: list[int], charge: bool, now: int) -> list[list[int]]:
        """The outcome rows of one call, a list of (retry_us, remaining, reset_us) a request."""
        keys = [key for name in names for key in self.keys(name)]
        if len(self.algorithms) == 1:
            limit = self.limits[0]
            fixed: list[str | int] = [limit.count, limit.window_us]
            fixed += [limit.capacity] if limit.algorithm == "gcra" else []
            name = f"rate.{limit.algorithm}"
        else:
            fixed = [len(self.limits), *(word for limit in self.limits for word in words(limit))]
            name = "rate.all_of"
        args = [*fixed, int(charge), *costs, now]
        reply = line(self.client.eval(script(name).text, len(keys), *keys, *args))
        width = 3 * len(self.algorithms)
        assert reply[0] == now and len(reply) == 1 + width * len(names)
        return [reply[1 + at * width : 1 + (at + 1) * width] for at in range(len(names))]

    def expected(self, name: str, cost: int, charge: bool, now: int) -> list[int]:
        return [n for outcome in hit(self.models[name], self.limits, cost, now, charge) for n in outcome]

    def stored(self) -> list[Any]:
        return asked(self.client, "get", self.every_key())

    @rule(part=st.sampled_from([0, 1, 2, 7, 20, 59, 60, 61, 140]), off=st.integers(-1, 1))
    def time_passes(self, part: int, off: int) -> None:
        """By sixtieths of the first window: where stamps, buckets and windows end, and one microsecond beside."""
        self.now += max(0, self.limits[0].window_us * part // 60 + off)

    @rule(at=st.integers(0, 2), cost=st.integers(1, 5), off=st.integers(-1, 0))
    def time_passes_until_the_next_may_come(self, at: int, cost: int, off: int) -> None:
        waits = self.run([self.names[at]], [cost], False, self.now)[0][0::3]
        self.now += max(0, *waits, max(waits) + off)

    @rule(by=st.sampled_from([1, 7, 1000, 10**6]), seldom=st.integers(0, 3))
    def the_clock_goes_back(self, by: int, seldom: int) -> None:
        self.now -= 0 if seldom else by

    @rule(data=st.data(), seldom=st.integers(0, 3))
    def the_limit_changes(self, data: st.DataObject, seldom: int) -> None:
        if not seldom:
            self.limits = [data.draw(limits(algorithm)) for algorithm in self.algorithms]

    @rule(which=st.lists(st.integers(0, 2), min_size=1, max_size=4), data=st.data())
    def hit(self, which: list[int], data: st.DataObject) -> None:
        names = [self.names[at] for at in which]
        asked = [data.draw(costs) for _ in which]
        before = self.stored()
        rows = self.run(names, asked, True, self.now)
        assert rows == [self.expected(name, cost, True, self.now) for name, cost in zip(names, asked, strict=True)]
        admitted = [not any(row[0::3]) for row in rows]
        if not any(admitted):
            assert self.stored() == before, "a refused request wrote"
        for name, cost, ok in zip(names, asked, admitted, strict=True):
            if ok:
                every = range(len(self.limits))
                self.hits.append(Admitted(name, every, cost, self.now, list(self.limits), f"t{next(SERIAL)}"))

    @rule(data=st.data(), which=st.lists(st.integers(0, 2), min_size=1, max_size=3), part=st.sampled_from([1, 6, 60]))
    def lend(self, data: st.DataObject, which: list[int], part: int) -> None:
        """Loans of one of the limits, up to a window long; some keys twice."""
        at = data.draw(st.sampled_from(range(len(self.limits))))
        limit, names = self.limits[at], [self.names[each] for each in which]
        life_us = max(1, limit.window_us * part // 60)
        asked = [(data.draw(costs), data.draw(costs)) for _ in which]
        keys, before = [self.keys(name)[at] for name in names], self.stored()
        args = [*words(limit), life_us, *(word for pair in asked for word in pair), self.now]
        reply = line(self.client.eval(script("rate.lease").text, len(keys), *keys, *args))
        expected = [
            lend(self.models[n][at], limit, *pair, life_us, self.now) for n, pair in zip(names, asked, strict=True)
        ]
        assert reply == [self.now, *(word for each in expected for word in each)]
        if not any(each.granted for each in expected):
            assert self.stored() == before, "a refused loan wrote"
        for name, each in zip(names, expected, strict=True):
            if each.granted:
                end = self.now + each.life_us
                self.hits.append(Admitted(name, [at], each.granted, end, [limit], f"t{next(SERIAL)}"))

    @rule(at=st.integers(0, 2), cost=costs)
    def peek_and_retry(self, at: int, cost: int) -> None:
        """Looking changes nothing; at retry_us the request passes, one microsecond before it does not."""
        name, before = self.names[at], self.stored()
        row = self.run([name], [cost], False, self.now)[0]
        assert row == self.expected(name, cost, False, self.now)
        waits = row[0::3]
        if -1 not in waits and max(waits) > 0:
            again = self.run([name], [cost], False, self.now + max(waits))[0]
            assert not any(again[0::3])
            early = self.run([name], [cost], False, self.now + max(waits) - 1)[0]
            assert max(early[0::3]) == 1
        assert self.stored() == before, "a peek wrote"

    @rule(data=st.data(), cost=st.integers(1, 9))
    def refund(self, data: st.DataObject, cost: int) -> None:
        if not self.hits:
            return
        name, which, charged, at, limits, token = data.draw(st.sampled_from(self.hits))
        cost = min(cost, charged)
        keys = [self.keys(name)[index] for index in which]
        pairs = [pair for key in keys for pair in (key, f"{key}:refund:{token}")]
        args = [len(limits), *(word for limit in limits for word in words(limit)), at, cost, self.now]
        back = self.client.eval(script("rate.refund").text, len(pairs), *pairs, *args)[1:]
        for index, limit, given in zip(which, limits, back, strict=True):
            mark = f"{token}:{index}"
            wanted = 0 if mark in self.refunded else self.models[name][index].refund(limit, cost, at, self.now)
            assert given == wanted
            if wanted:
                self.refunded.add(mark)

    @rule(at=st.integers(0, 2))
    def reset(self, at: int) -> None:
        name = self.names[at]
        self.client.eval(script("rate.reset").text, len(self.algorithms), *self.keys(name), "")
        self.models[name] = [MODELS[algorithm]() for algorithm in self.algorithms]

    @invariant()
    def the_log_is_no_larger_than_it_needs(self) -> None:
        if self.algorithms != ("sliding_log",):
            return
        most = MAX_COUNT["sliding_log"]
        assert max(asked(self.client, "strlen", self.every_key())) <= 31 + 7 * most
