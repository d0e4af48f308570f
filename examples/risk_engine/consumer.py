"""Who reads the results: each partition's stream by the replica that owns it, which makes cases for people of them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine, Mapping, Sequence
from typing import Any, Protocol

import redis
from pydantic import ValidationError

from risk_engine.events import Assessment
from risk_engine.keys import Keys
from riskscale import Assignment, MetricsCollector

log = logging.getLogger("risk_engine.consumer")
AT_ONCE = 100
BLOCK_MS = 200
PAUSE = 0.5
"""Seconds until the server is asked again, after an error."""


class Handler(Protocol):
    """Does something about a result. A result may come again, so it must not matter how often."""

    async def handle(self, assessment: Assessment, *, redelivery: bool) -> None: ...


class Cases:
    """What people have to look at: the tenant's events that were not approved, each once."""

    def __init__(self, client: Any, keys: Keys) -> None:
        self._client, self._keys = client, keys

    async def handle(self, assessment: Assessment, *, redelivery: bool) -> None:
        if assessment.decision != "approve":
            cases = self._keys.of(assessment.tenant_id, "cases")
            await self._client.hsetnx(cases, assessment.event_id, assessment.model_dump_json())


class Consumer:
    """Reads the partitions that it is assigned, and deletes what was handled: nothing is lost, some may come twice.

    The callbacks of a :class:`riskscale.PartitionGroup`. When a partition is revoked its reading has ended before the
    next owner's begins; a replica that died leaves its unhandled entries to the next owner.
    """

    def __init__(self, client: Any, keys: Keys, handler: Handler, metrics: MetricsCollector) -> None:
        self._client, self._keys, self._handler, self._metrics = client, keys, handler, metrics
        self._reading: dict[int, asyncio.Task[None]] = {}

    @property
    def partitions(self) -> list[int]:
        """Those that are read here."""
        return sorted(self._reading)

    async def on_assigned(self, assignments: Sequence[Assignment]) -> None:
        """Begin to read them."""
        for each in assignments:
            self._reading[each.partition] = asyncio.create_task(self._read(each.partition))

    async def on_revoked(self, assignments: Sequence[Assignment]) -> None:
        """Stop reading them, at the end of the entry that is being handled."""
        tasks = [task for each in assignments if (task := self._reading.pop(each.partition, None))]
        for task in tasks:
            task.cancel()  # the client may swallow it while it connects: so the loop looks for itself, too
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _read(self, partition: int) -> None:
        stream, me = self._keys.stream(partition), asyncio.current_task()
        while self._reading.get(partition) is me:
            try:
                found = await self._client.xread({stream: "0"}, count=AT_ONCE, block=BLOCK_MS)
                for _, entries in found.items() if isinstance(found, dict) else found:
                    for name, fields in entries[0] if isinstance(found, dict) else entries:
                        await _whole(self._handle(stream, name, fields))
            except redis.RedisError as error:
                log.warning("%s is not read: %s", stream, type(error).__name__)
                await asyncio.sleep(PAUSE)
            except Exception:
                log.exception("an entry of %s was not handled, and is tried again", stream)
                await asyncio.sleep(PAUSE)

    async def _handle(self, stream: str, name: bytes, fields: Mapping[bytes, bytes]) -> None:
        try:
            assessment = Assessment.model_validate_json(fields[b"assessment"])
        except (KeyError, ValidationError):
            log.warning("entry %r of %s is no assessment: it goes to %s", name, stream, self._keys.dead)
            await self._client.xadd(self._keys.dead, {b"stream": stream.encode(), **fields})
        else:
            redelivery = fields.get(b"redelivery") == b"1"
            await self._handler.handle(assessment, redelivery=redelivery)
            self._metrics.increment("risk_results_handled", redelivery="yes" if redelivery else "no")
        await self._client.xdel(stream, name)


async def _whole(work: Coroutine[Any, Any, None]) -> None:
    """To its end, also where its caller is cancelled meanwhile: then that is raised when it has ended."""
    task = asyncio.create_task(work)
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        await task
        raise
