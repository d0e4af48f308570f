"""A worker whose users are threads; see :mod:`tests.history.worker`."""

from __future__ import annotations

import sys
import threading
from typing import Any

import redis

from riskscale import LeaseLost
from riskscale.sync import Hub, Lock
from tests.history.recorder import ATTEMPT, CountingRetry, Journal, Recorded, backoff
from tests.history.rounds import BEAT, Round, Settings, rounds
from tests.history.worker import believe, told


class Threads:
    """Users of one process."""

    def __init__(self, settings: Settings, journal: Journal) -> None:
        self.settings, self.journal = settings, journal
        self.alive, self.stopped, self.ended = threading.Event(), threading.Event(), threading.Event()
        self.failed: list[BaseException] = []
        retry = CountingRetry(backoff(), settings.retries)
        self.client = Recorded(port=settings.port, retry=retry, protocol=2, socket_timeout=settings.timeout)
        self.client.journal = journal

    def run(self) -> None:
        threading.Thread(target=self.listen, daemon=True).start()
        beats = threading.Thread(target=self.beat)
        beats.start()
        self.alive.wait()
        with self.client, Hub(self.client, key_prefix=self.settings.prefix) as hub:
            users = [threading.Thread(target=self.user, args=(hub, number)) for number in range(self.settings.users)]
            for user in users:
                user.start()
            for user in users:
                user.join()
        self.ended.set()
        beats.join()
        if self.failed:
            raise self.failed[0]

    def listen(self) -> None:
        sys.stdin.readline()
        self.stopped.set()

    def beat(self) -> None:
        """Signs of life, by the server's clock."""
        with redis.Redis(host="127.0.0.1", port=self.settings.port, retry=CountingRetry(backoff(), -1)) as client:
            while not self.ended.wait(BEAT):
                self.journal.beat(client.time())
                self.alive.set()

    def user(self, hub: Hub, number: int) -> None:
        try:
            drawn = rounds(self.settings, number)
            while not self.stopped.is_set():
                each = drawn.draw()
                self.round(hub, each)
                self.stopped.wait(each.rest)
        except BaseException as error:
            self.failed.append(error)
            raise

    def round(self, hub: Hub, each: Round) -> None:
        lock = Lock(hub, each.name, ttl=each.ttl, fair=each.fair, auto_renew=each.auto_renew)
        number = self.journal.number()
        ATTEMPT.set(number)
        self.journal.say("begin", attempt=number, name=each.name, timeout=each.timeout)
        try:
            lease = lock.acquire(each.timeout)
            how = "held" if lease else "none"
        except Exception as error:
            how, lease = type(error).__name__, None
        self.journal.say("end", attempt=number, how=how)
        if lease:
            self.hold(lease, each)

    def hold(self, lease: Any, each: Round) -> None:
        told(self.journal, lease, "held", lease.at)
        try:
            with lease:
                for step in each.steps:
                    self.ended.wait(step.pause)
                    believe(self.journal, lease)
                    if step.renews:
                        lease.renew()
        except LeaseLost:
            self.journal.say("lost", token=lease.token)
        except (redis.RedisError, OSError) as error:
            self.journal.say("trouble", token=lease.token, error=type(error).__name__)
        if lease.released_at is not None:
            told(self.journal, lease, "released", lease.released_at)
