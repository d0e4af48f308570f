"""One replica as an OS process: users that take locks until the word to stop comes, or the end of standard input."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from pathlib import Path
from typing import Any

import redis

from riskscale import Hub, LeaseLost, Lock
from tests.history.recorder import ATTEMPT, AsyncCountingRetry, AsyncRecorded, Journal, backoff, remember_attempts
from tests.history.rounds import BEAT, Round, Settings, rounds


class Users:
    """Of one process, in tasks."""

    def __init__(self, settings: Settings, journal: Journal) -> None:
        self.settings, self.journal = settings, journal
        self.stopped, self.over = asyncio.Event(), asyncio.Event()
        retry = AsyncCountingRetry(backoff(), settings.retries)
        self.client = AsyncRecorded(host="127.0.0.1", port=settings.port, retry=retry, protocol=2)
        self.client.journal = journal

    async def run(self) -> None:
        asyncio.get_running_loop().add_reader(sys.stdin, self.stopped.set)
        alive = asyncio.Event()
        beats = asyncio.create_task(self.beat(alive))
        await alive.wait()
        async with self.client, self.hub() as hub:
            remember_attempts(hub)
            await asyncio.gather(*(self.user(hub, number) for number in range(self.settings.users)))
        self.over.set()
        await beats

    def hub(self) -> Hub:
        """What they share."""
        return Hub(self.client, key_prefix=self.settings.prefix, timeout=self.settings.timeout)

    async def beat(self, alive: asyncio.Event) -> None:
        """Signs of life, by the server's clock."""
        client = AsyncRecorded(host="127.0.0.1", port=self.settings.port, retry=AsyncCountingRetry(backoff(), 3))
        async with client:
            while not self.over.is_set():
                with contextlib.suppress(redis.RedisError, OSError):
                    self.journal.beat(await client.time())
                    alive.set()
                await asyncio.sleep(BEAT)

    async def user(self, hub: Hub, number: int) -> None:
        drawn = rounds(self.settings, number)
        while not self.stopped.is_set():
            each = drawn.draw()
            task = asyncio.create_task(self.round(hub, each))
            done, _ = await asyncio.wait({task}, timeout=each.cancel)
            if not done:
                task.cancel()
                await asyncio.wait({task})
            if not task.cancelled():
                task.result()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.stopped.wait(), each.rest)

    async def round(self, hub: Hub, each: Round) -> None:
        lock = Lock(hub, each.name, ttl=each.ttl, fair=each.fair, auto_renew=each.auto_renew)
        number = self.journal.number()
        ATTEMPT.set(number)
        self.journal.say("begin", attempt=number, name=each.name, timeout=each.timeout)
        how = "cancelled"
        try:
            lease = await lock.acquire(each.timeout)
            how = "held" if lease else "none"
        except Exception as error:
            how, lease = type(error).__name__, None
        finally:
            self.journal.say("end", attempt=number, how=how)
        if lease:
            await self.hold(lease, each)

    async def hold(self, lease: Any, each: Round) -> None:
        told(self.journal, lease, "held", lease.at)
        try:
            async with lease:
                for step in each.steps:
                    await asyncio.sleep(step.pause)
                    believe(self.journal, lease)
                    if step.renews:
                        await lease.renew()
        except LeaseLost:
            self.journal.say("lost", token=lease.token)
        except (redis.RedisError, OSError) as error:
            self.journal.say("trouble", token=lease.token, error=type(error).__name__)
        if lease.released_at is not None:
            told(self.journal, lease, "released", lease.released_at)


def told(journal: Journal, lease: Any, what: str, at: float) -> None:
    """What its holder was told of a lease."""
    journal.say(what, name=lease.name, token=lease.token, fence=lease.fence, at=round(at * 1e6))


def believe(journal: Journal, lease: Any) -> None:
    """Whether its holder counts on a lease, at a time that is not before ``since``."""
    since = journal.latest
    if lease.remaining() > 0:
        journal.say("believes", name=lease.name, token=lease.token, fence=lease.fence, since=since)


def main() -> None:
    settings = Settings.of(sys.argv[1])
    journal = Journal(Path(settings.journal))
    if settings.threads:
        from tests.history.worker_threads import Threads

        Threads(settings, journal).run()
    else:
        asyncio.run(Users(settings, journal).run())


if __name__ == "__main__":
    main()
