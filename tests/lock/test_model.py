"""The lock scripts and their model, side by side in virtual time: waiters, dead mailboxes, a clock that steps."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any, ClassVar

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from riskscale._core.scripts import script
from riskscale.lock._model import CLAIM_US, KEEP_US, LockModel

SERIAL = itertools.count()
TTLS = st.sampled_from([1000, 500_000, 5_000_000, 100_000_000])


class LockMachine(RuleBasedStateMachine):
    """Mailbox 0 and 1 are subscribed or not, as the machine likes; '' polls, '-' tries once, '-<box>' races."""

    client: ClassVar[Any]
    prefix: ClassVar[str]
    subscribe: ClassVar[Callable[[str, bool], None]]
    sent: ClassVar[Callable[[], list[str]]]

    @initialize()
    def begin(self) -> None:
        self.now = 10**15
        base = f"{self.prefix}rs1:{{l{next(SERIAL)}}}"
        self.keys = [f"{base}:lock", f"{base}:queue", f"{base}:wait"]
        self.boxes = [f"{self.prefix}box{next(SERIAL)}" for _ in range(2)]
        self.listening: set[str] = set()
        self.messages: list[str] = []
        self.model = LockModel(self.publish)
        self.fences: list[int] = []
        self.owners = [f"o{at}" for at in range(5)]

    def publish(self, mailbox: str, message: str) -> bool:
        if mailbox in self.listening:
            self.messages.append(message)
        return mailbox in self.listening

    def eval(self, name: str, *args: str | int) -> list[Any]:
        keys = self.keys[:1] if name == "lock.renew" else self.keys
        reply: list[Any] = self.client.eval(script(name).text, len(keys), *keys, *args, self.now)
        return reply

    def box(self, at: int) -> str:
        return ["-", "", *self.boxes, *(f"-{box}" for box in self.boxes)][at]

    @rule(by=st.one_of(st.sampled_from([0, 1, 1000, CLAIM_US, 2_500_000, 30_000_000]), st.integers(0, 4_000_000)))
    def time_passes(self, by: int) -> None:
        self.now += by

    @rule(by=st.sampled_from([1, 1000, 700_000, 3_600_000_000]))
    def the_clock_goes_back(self, by: int) -> None:
        self.now -= by

    @rule(at=st.integers(0, 1), on=st.booleans())
    def a_mailbox_comes_or_goes(self, at: int, on: bool) -> None:
        mailbox = self.boxes[at]
        type(self).subscribe(mailbox, on)
        (self.listening.add if on else self.listening.discard)(mailbox)

    @rule(who=st.integers(0, 4), ttl=TTLS, box=st.integers(0, 5), hold=st.sampled_from(["", "", "h1", "h2"]))
    def acquire(self, who: int, ttl: int, box: int, hold: str) -> None:
        owner, mailbox, fence = self.owners[who], self.box(box), self.model.fence
        reply = self.eval("lock.acquire", owner, ttl, mailbox, hold, "")
        seen = self.model.acquire(owner, ttl, mailbox, self.now, hold)
        assert reply == [int(seen.acquired), seen.fence, seen.wait_us, seen.rank, self.now]
        assert self.model.fence >= fence

    @rule(who=st.integers(0, 4), hold=st.sampled_from(["", "", "h1", "h2"]))
    def release(self, who: int, hold: str) -> None:
        reply = self.eval("lock.release", self.owners[who], hold)
        assert reply == [*map(int, self.model.release(self.owners[who], self.now, hold)), self.now]

    @rule(who=st.integers(0, 4), ttl=TTLS)
    def renew(self, who: int, ttl: int) -> None:
        assert self.eval("lock.renew", self.owners[who], ttl) == [
            self.now, self.model.renew(self.owners[who], ttl, self.now),
        ]  # fmt: skip

    @invariant()
    def inspect_shows_the_model(self) -> None:
        if not hasattr(self, "model"):
            return
        before = [self.client.dump(key) for key in self.keys]
        reply = self.eval("lock.inspect", 10)
        _, held, fence, lease_us, owner, holds, _, waiting = reply[:8]
        model, live = self.model, self.model.is_live(self.now)
        lease = min(model.end_us - self.now, model.ttl_us) if live else 0
        assert (held, fence, lease_us) == ((1 if model.claimed else 2) if live else 0, model.fence, lease)
        assert owner.decode() == (model.owner if live else "")
        assert holds.decode().split() == (model.holds if live else [])
        assert waiting == len(model.queue) and [t.decode() for t in reply[8::3]] == list(model.queue)
        assert before == [self.client.dump(key) for key in self.keys], "inspect wrote"

    @invariant()
    def messages_are_those_of_the_model(self) -> None:
        if hasattr(self, "model"):
            assert type(self).sent() == self.messages
            self.messages.clear()

    @invariant()
    def no_key_is_immortal(self) -> None:
        for key in getattr(self, "keys", []):
            assert self.client.pttl(key) != -1
        if getattr(self, "model", None) and self.model.fence:
            kept = self.client.pttl(self.keys[0])
            assert kept > max(self.model.ttl_us, KEEP_US) / 1000 + 3_600_000 - 60_000


class Mailboxes:
    """Real subscriptions. Every step is confirmed by the server, so nothing here waits for a time to pass."""

    def __init__(self, client: Any) -> None:
        self.client, self.boxes = client, {}

    def subscribe(self, mailbox: str, on: bool) -> None:
        if on and mailbox not in self.boxes:
            self.boxes[mailbox] = box = self.client.pubsub()
            box.subscribe(mailbox)
            self.until(box, "subscribe")
        elif not on and mailbox in self.boxes:
            box = self.boxes.pop(mailbox)
            box.unsubscribe(mailbox)
            self.until(box, "unsubscribe")
            box.close()

    def until(self, box: Any, kind: str) -> list[str]:
        """The messages before the next reply of that kind."""
        found = []
        while (message := box.get_message(timeout=10))["type"] != kind:
            found.append(message["data"].decode())
        return found

    def sent(self) -> list[str]:
        """All messages since the last time, the grant before its stand-by: a PING overtakes no message."""
        found = []
        for box in self.boxes.values():
            box.ping()
            found += self.until(box, "pong")
        return sorted(found, key=lambda text: not text.endswith(" grant"))


def test_script_and_model_agree(raw_client: Any, prefix: str) -> None:
    boxes = Mailboxes(raw_client)
    machine = type(
        "Machine", (LockMachine,),
        {"client": raw_client, "prefix": prefix, "subscribe": boxes.subscribe, "sent": boxes.sent},
    )  # fmt: skip
    run_state_machine_as_test(machine)
