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
OUTAGE = (
    redis.ConnectionError, redis.TimeoutError, redis.exceptions.ClusterDownError, redis.exceptions.OutOfMemoryError,
    redis.exceptions.ReadOnlyError,
)  # fmt: skip
"""What says nothing of the entry that was being handled."""


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
    next owner's begins; a replica that died leaves its unhandled entries to the next owner. An entry whose handling
    failed ``attempts`` times is put aside, and the next ones follow.
    """

    def __init__(self, client: Any, keys: Keys, handler: Handler, metrics: MetricsCollector, *, attempts: int) -> None:
        self._client, self._keys, self._handler, self._metrics = client, keys, handler, metrics
        self._attempts = attempts
        self._reading: dict[int, asyncio.Task[None]] = {}
        # Here and not in Redis: to count costs no round trip, and needs no server that takes writes. Another owner
        # counts anew: each tries an entry that often. Only a stream's first entry can fail again and again.
        self._failing: dict[str, tuple[bytes, int]] = {}

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
            await self._put_aside(stream, fields)
        else:
            redelivery = fields.get(b"redelivery") == b"1"
            try:
                await self._handler.handle(assessment, redelivery=redelivery)
            except OUTAGE:
                raise
            except Exception:
                if (failures := self._count(stream, name)) < self._attempts:
                    raise
                # First: a server that takes no writes raises here, and the handler gets the entry again.
                await self._put_aside(stream, fields)
                log.exception("entry %r of %s failed %d times: it went to %s", name, stream, failures, self._keys.dead)
            else:
                self._metrics.increment("risk_results_handled", redelivery="yes" if redelivery else "no")
        await self._client.xdel(stream, name)

    def _count(self, stream: str, name: bytes) -> int:
        """How often the handling of this entry has failed, with this time."""
        before, failures = self._failing.get(stream, (name, 0))
        self._failing[stream] = name, failures + 1 if before == name else 1
        return self._failing[stream][1]

    async def _put_aside(self, stream: str, fields: Mapping[bytes, bytes]) -> None:
        await self._client.xadd(self._keys.dead, {b"stream": stream.encode(), **fields})


async def _whole(work: Coroutine[Any, Any, None]) -> None:
    """To its end, also where its caller is cancelled meanwhile: then that is raised when it has ended."""
    task = asyncio.create_task(work)
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        await task
        raise
