"""The lock scripts and their model, side by side in virtual time: waiters, dead mailboxes, a clock that steps."""

from __future__ import annotations

import itertools
from contextlib import closing
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, rule, run_state_machine_as_test

from riskscale._core.scripts import script
from riskscale.lock._model import KEEP_US, LockModel
from tests.lease.machine import TTLS, Mailboxes, QueueMachine

SERIAL = itertools.count()


class LockMachine(QueueMachine):
    """Five owners, two holds."""

    model: LockModel

    @initialize()
    def begin(self) -> None:
        base = f"{self.prefix}rs1:{{l{next(SERIAL)}}}"
        self.keys = [f"{base}:lock", f"{base}:queue", f"{base}:wait"]
        self.owners = [f"o{at}" for at in range(5)]
        self.begin_queue(LockModel(self.publish))

    def eval(self, name: str, *args: str | int) -> list[Any]:
        keys = self.keys[:1] if name == "lock.renew" else self.keys
        reply: list[Any] = self.client.eval(script(name).text, len(keys), *keys, *args, self.now)
        return reply

    @rule(who=st.integers(0, 4), ttl=TTLS, box=st.integers(0, 5), hold=st.sampled_from(["", "", "h1", "h2"]))
    def acquire(self, who: int, ttl: int, box: int, hold: str) -> None:
        owner, mailbox, fence = self.owners[who], self.box(box), self.model.fence
        reply = self.eval("lock.acquire", owner, ttl, mailbox, hold, "")
        seen = self.model.acquire(owner, ttl, mailbox, self.now, hold)
        assert reply == [int(seen.acquired), seen.fence, seen.wait_us, seen.rank, self.now]
        assert self.model.fence >= fence

    def racers_as_scanned(self) -> None:
        """Who of them is told first is left to the order of the server's HSCAN: the model takes it from there."""
        scanned = [field.decode()[1:] for field, _ in self.client.hscan_iter(self.keys[2], match="~*")]
        racers = self.model.racers
        assert set(scanned) == set(racers)
        self.model.racers = {token: racers[token] for token in scanned}

    @rule(who=st.integers(0, 4), hold=st.sampled_from(["", "", "h1", "h2"]))
    def release(self, who: int, hold: str) -> None:
        self.racers_as_scanned()
        reply = self.eval("lock.release", self.owners[who], hold)
        assert reply == [*map(int, self.model.release(self.owners[who], self.now, hold)), self.now]

    @rule(by_fence=st.sampled_from([None, 0, -1, 1]), tell=st.booleans())
    def force_release(self, by_fence: int | None, tell: bool) -> None:
        self.racers_as_scanned()
        lost, before = self.boxes[2] if tell else "", self.model.fence
        fence = 0 if by_fence is None else max(before + by_fence, 0)  # whoever; the holder that was seen; another
        reply = self.eval("lock.force_release", lost, fence)
        seen = self.model.force_release(lost, fence, self.now)
        assert reply == [*map(int, seen), self.now]
        assert seen.fence > before if seen.released else seen.fence == before

    @rule(who=st.integers(0, 4), ttl=TTLS)
    def renew(self, who: int, ttl: int) -> None:
        assert self.eval("lock.renew", self.owners[who], ttl) == [
            self.now, self.model.renew(self.owners[who], ttl, self.now),
        ]  # fmt: skip

    @invariant()
    def inspect_shows_the_model(self) -> None:
        if not hasattr(self, "model"):
            return
        before = self.contents()
        reply = self.eval("lock.inspect", 10)
        _, held, fence, lease_us, owner, holds, _, waiting = reply[:8]
        model, live = self.model, self.model.is_live(self.now)
        lease = min(model.end_us - self.now, model.ttl_us) if live else 0
        assert (held, fence, lease_us) == ((1 if model.claimed else 2) if live else 0, model.fence, lease)
        assert owner.decode() == (model.owner if live else "")
        assert holds.decode().split() == (model.holds if live else [])
        assert waiting == len(model.queue) and [t.decode() for t in reply[8::3]] == list(model.queue)
        assert before == self.contents(), "inspect wrote"

    @invariant()
    def the_fence_is_kept(self) -> None:
        if getattr(self, "model", None) and self.model.fence:
            kept = self.client.pttl(self.keys[0])
            assert kept > max(self.model.ttl_us, KEEP_US) / 1000 + 3_600_000 - 60_000


def test_script_and_model_agree(raw_client: Any, prefix: str, examples: settings) -> None:
    with closing(Mailboxes(raw_client, prefix)) as boxes:
        run_state_machine_as_test(boxes.machine(LockMachine), settings=examples)
