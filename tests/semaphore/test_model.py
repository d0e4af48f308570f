"""The semaphore's scripts and their model, side by side in virtual time: weights, limits, a clock that steps."""

from __future__ import annotations

import itertools
import math
from contextlib import closing
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, rule, run_state_machine_as_test

from riskscale._core.scripts import script
from riskscale.lease._queue_model import KEEP_US
from riskscale.semaphore._model import SemaphoreModel
from tests.lease.machine import TTLS, Mailboxes, QueueMachine

SERIAL = itertools.count()
ROLES = ("semaphore", "semaphore-leases", "semaphore-queue", "semaphore-wait")


class SemaphoreMachine(QueueMachine):
    """Up to seven owners of any weight; most of them agree on the limit."""

    model: SemaphoreModel

    @initialize()
    def begin(self) -> None:
        base = f"{self.prefix}rs1:{{s{next(SERIAL)}}}"
        self.keys = [f"{base}:{role}" for role in ROLES]
        self.begin_queue(SemaphoreModel(self.publish))

    def eval(self, name: str, *args: str | int) -> list[Any]:
        keys = self.keys[:1] if name == "semaphore.renew" else self.keys
        reply: list[Any] = self.client.eval(script(name).text, len(keys), *keys, *args, self.now)
        return reply

    @rule(
        who=st.integers(0, 6),
        ttl=TTLS,
        box=st.integers(0, 3),
        weight=st.sampled_from([1, 1, 2, 4]),
        limit=st.sampled_from([4, 4, 4, 2, 6]),
        queued=st.sampled_from(["", "", 0, 1, 2]),
    )
    def acquire(self, who: int, ttl: int, box: int, weight: int, limit: int, queued: int | str) -> None:
        owner, mailbox, fence = f"o{who}", self.box(box), self.model.fence
        weight = min(weight, limit)
        before, most = set(self.model.queue), math.inf if queued == "" else int(queued)
        reply = self.eval("semaphore.acquire", owner, ttl, mailbox, weight, limit, queued, "a|b\n")
        seen = self.model.acquire(owner, ttl, mailbox, weight, limit, self.now, most)
        assert reply == [int(seen.acquired), seen.fence, seen.wait_us, seen.rank, self.now]
        assert len(self.model.queue) <= most or set(self.model.queue) <= before, "the queue grew beyond its bound"
        assert self.model.fence >= fence and self.model.sum <= 6

    @rule(who=st.integers(0, 6))
    def release(self, who: int) -> None:
        reply = self.eval("semaphore.release", f"o{who}")
        assert reply == [*map(int, self.model.release(f"o{who}", self.now)), self.now]

    @rule(who=st.integers(0, 6), ttl=TTLS)
    def renew(self, who: int, ttl: int) -> None:
        seen = self.model.renew(f"o{who}", ttl, self.now)
        assert self.eval("semaphore.renew", f"o{who}", ttl) == [self.now, seen]

    @invariant()
    def inspect_shows_the_model(self) -> None:
        if not hasattr(self, "model"):
            return
        before = self.contents()
        reply = self.eval("semaphore.inspect", 10)
        model, time_us = self.model, self.model.time_us(self.now)
        live = {token: lease for token, lease in model.leases.items() if lease.end_us > time_us}
        assert reply[:5] == [self.now, len(live), sum(x.weight for x in live.values()), model.fence, len(model.queue)]
        ordered = sorted(live.items(), key=lambda item: (item[1].look_at, item[0]))
        expected = [
            [1 if x.claimed else 2, token.encode(), x.weight, x.fence, x.end_us - time_us, 0]
            for token, x in ordered
        ]  # fmt: skip
        expected += [
            [0, token.encode(), x.weight, 0, max(0, x.alive_until - time_us)] for token, x in model.queue.items()
        ]
        items = [reply[at : at + 7] for at in range(5, len(reply), 7)]
        assert [item[: len(want)] for item, want in zip(items, expected, strict=True)] == expected
        assert all(item[6] == (b"a|b\n" if item[0] == 1 else b"") for item in items)
        assert before == self.contents(), "inspect wrote"

    @invariant()
    def the_fence_is_kept(self) -> None:
        if getattr(self, "model", None) and self.model.fence:
            kept = max(self.model.until_us - self.model.time_us(self.now), KEEP_US)
            assert self.client.pttl(self.keys[0]) > kept / 1000 + 3_600_000 - 60_000


def test_script_and_model_agree(raw_client: Any, prefix: str, examples: settings) -> None:
    with closing(Mailboxes(raw_client, prefix)) as boxes:
        run_state_machine_as_test(boxes.machine(SemaphoreMachine), settings=examples)
