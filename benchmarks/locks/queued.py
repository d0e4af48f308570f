"""What a hand-over costs the server while 10, 100, ... are queued: a release, a claim, and one more that joins.

The queue is made by calling the script, with real subscriptions. All are decided at one instant by a clock of our own:
nobody's patience ends while a long queue is made.
"""

from __future__ import annotations

import math
import statistics
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import redis

import riskscale.sync
from benchmarks.locks import contenders
from benchmarks.locks.contenders import LockSettings
from benchmarks.report import Row
from benchmarks.rounds import ratio, turns
from benchmarks.wire import Cost, cost
from riskscale._core.durations import MICRO
from riskscale.lock import calls

TTL_US = contenders.TTL * MICRO
MAILBOXES: dict[str, Callable[[str, int], str]] = {
    "of one hub": lambda name, number: f"{name}:mailbox",
    "a hub each": lambda name, number: f"{name}:mailbox:{number}",
    "pollers": lambda name, number: "",
}


class Queue:
    """One lock that is held, and so many that wait for it."""

    def __init__(self, hub: riskscale.sync.Hub, size: int, mailbox: Callable[[str, int], str]) -> None:
        self.name = contenders.new_name()
        self.keys = calls.LockKeys.of(hub.key(self.name))
        self.tokens = deque((f"w{number}", mailbox(self.name, number)) for number in range(size + 1))
        self._hub = hub

    def fill(self) -> None:
        """All arrive; the first takes the lock."""
        for number, (token, mailbox) in enumerate(self.tokens):
            assert self._ask(token, mailbox) is (number == 0)

    def hand_over(self) -> None:
        """From the holder to the first of the queue; the old holder goes to its end."""
        self._hub.run(calls.release(self.keys, self.tokens[0][0]))
        assert self._ask(*self.tokens[1])
        assert not self._ask(*self.tokens[0])
        self.tokens.rotate(-1)

    def _ask(self, token: str, mailbox: str) -> bool:
        return self._hub.run(calls.acquire(self.keys, token, TTL_US, mailbox)).acquired


def by_length(url: str, settings: LockSettings) -> list[Row]:
    """One kind of waiter after the other; the lengths in turns."""
    now = time.time_ns() // 1000
    with redis.Redis.from_url(url) as client, riskscale.sync.Hub(client, clock=lambda: now) as hub:
        hub.preload(["lock.acquire", "lock.release"])
        rows: list[Row] = []
        for kind, mailbox in MAILBOXES.items():
            queues = {size: Queue(hub, size, mailbox) for size in settings.sizes(10)}
            with _filled(client, list(queues.values())):
                rows += _rows(kind, _costs(client, queues, settings), settings.calls)
        return rows


def _costs(client: redis.Redis, queues: dict[int, Queue], settings: LockSettings) -> dict[int, list[Cost]]:
    costs: dict[int, list[Cost]] = {size: [] for size in queues}
    for sizes in turns(list(queues), settings.rounds):
        for size in sizes:

            def work(queue: Queue = queues[size]) -> None:
                for _ in range(settings.calls):
                    queue.hand_over()

            costs[size].append(cost(client, work))
    return costs


def _rows(kind: str, costs: dict[int, list[Cost]], count: int) -> Iterator[Row]:
    """``count`` hand-overs to a cost; the most commands of any round, the median of times."""
    smallest = min(costs)
    us = {size: [one.total_us / count for one in several] for size, several in costs.items()}
    for size, several in costs.items():
        yield {
            "mailboxes": kind,
            "queued": size,
            "scripts": max(one.scripts for one in several) / count,
            "commands": max(sum(one.commands.values()) for one in several) / count,
            "us": statistics.median(us[size]),
            f"ratio_to_{smallest}": ratio(us[size], us[smallest]),
            "log": math.log(size, smallest),
        }


@contextmanager
def _filled(client: redis.Redis, queues: list[Queue]) -> Iterator[None]:
    with client.pubsub() as mailboxes:
        for queue in queues:
            names = {mailbox for _, mailbox in queue.tokens if mailbox}
            if names:
                mailboxes.subscribe(*names)
            for _ in names:
                mailboxes.parse_response()  # confirmed; what comes later stays unread
            queue.fill()
        try:
            yield
        finally:
            client.unlink(*(key for queue in queues for key in queue.keys.all))
