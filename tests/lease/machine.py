"""What the state machines of locks and semaphores share: a clock that steps, mailboxes that come and go."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any, ClassVar, TypeVar

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from riskscale.lease._queue_model import CLAIM_US, QueueModel
from tests.backends import asked

SERIAL = itertools.count()
TTLS = st.sampled_from([1000, 500_000, 5_000_000, 100_000_000])


class QueueMachine(RuleBasedStateMachine):
    """Mailbox 0 and 1, and the channel 2 of lost leases, are subscribed or not, as the machine likes.

    '' polls, '-' tries once, '-<box>' races.
    """

    client: ClassVar[Any]
    prefix: ClassVar[str]
    subscribe: ClassVar[Callable[[str, bool], None]]
    sent: ClassVar[Callable[[], list[str]]]
    keys: list[str]
    model: QueueModel

    def begin_queue(self, model: QueueModel) -> None:
        self.now = 10**15
        self.boxes = [f"{self.prefix}box{next(SERIAL)}" for _ in range(3)]
        self.listening: set[str] = set()
        self.messages: list[str] = []
        self.model = model

    def teardown(self) -> None:
        for mailbox in getattr(self, "listening", ()):
            type(self).subscribe(mailbox, False)

    def publish(self, mailbox: str, message: str) -> bool:
        if mailbox in self.listening:
            self.messages.append(message)
        return mailbox in self.listening

    def contents(self) -> list[Any]:
        """What the keys hold. Not DUMP: the order in a large hash changes by itself."""
        kinds, read = asked(self.client, "type", self.keys), self.client.pipeline(transaction=False)
        for key, kind in zip(self.keys, kinds, strict=True):
            if kind == b"hash":
                read.hgetall(key)
            elif kind == b"zset":
                read.zrange(key, 0, -1, withscores=True)
        return [kinds, read.execute()]

    def box(self, at: int) -> str:
        return ["-", "", *self.boxes[:2], *(f"-{box}" for box in self.boxes[:2])][at]

    @rule(by=st.one_of(st.sampled_from([0, 1, 1000, CLAIM_US, 2_500_000, 30_000_000]), st.integers(0, 4_000_000)))
    def time_passes(self, by: int) -> None:
        self.now += by

    @rule(by=st.sampled_from([1, 1000, 700_000, 3_600_000_000]))
    def the_clock_goes_back(self, by: int) -> None:
        self.now -= by

    @rule(at=st.integers(0, 2), on=st.booleans())
    def a_mailbox_comes_or_goes(self, at: int, on: bool) -> None:
        mailbox = self.boxes[at]
        type(self).subscribe(mailbox, on)
        (self.listening.add if on else self.listening.discard)(mailbox)

    @invariant()
    def messages_are_those_of_the_model(self) -> None:
        if hasattr(self, "model"):
            assert type(self).sent() == sorted(self.messages, key=in_turn)
            self.messages.clear()

    @invariant()
    def no_key_is_immortal(self) -> None:
        assert -1 not in asked(self.client, "pttl", getattr(self, "keys", []))


M = TypeVar("M", bound=QueueMachine)


def in_turn(message: str) -> tuple[bool, str]:
    """Grants before what is said to others; several mailboxes have no order among themselves."""
    return not message.endswith(" grant"), message


class Mailboxes:
    """Real subscriptions, on one connection. Every step is confirmed by the server: nothing waits for time to pass."""

    def __init__(self, client: Any, prefix: str) -> None:
        self.client, self.prefix, self.pubsub = client, prefix, client.pubsub()
        self.subscribed = set[str]()
        self.subscribe(f"{prefix}nobody", True)  # with no subscription at all it would not say PONG

    def close(self) -> None:
        self.pubsub.close()

    def machine(self, machine: type[M]) -> type[M]:
        """The machine, on that client and these mailboxes."""
        names = {"client": self.client, "prefix": self.prefix, "subscribe": self.subscribe, "sent": self.sent}
        return type("Machine", (machine,), names)

    def subscribe(self, mailbox: str, on: bool) -> None:
        if on == (mailbox in self.subscribed):
            return
        self.subscribed ^= {mailbox}
        (self.pubsub.subscribe if on else self.pubsub.unsubscribe)(mailbox)
        self.until("subscribe" if on else "unsubscribe")

    def until(self, kind: str) -> list[str]:
        """The messages before the next reply of that kind."""
        found = []
        while (message := self.pubsub.get_message(timeout=10))["type"] != kind:
            found.append(message["data"].decode())
        return found

    def sent(self) -> list[str]:
        """All messages since the last time: a PING overtakes no message."""
        self.pubsub.ping()
        return sorted(self.until("pong"), key=in_turn)
