"""Where the results go."""

from __future__ import annotations

from typing import Any, Protocol

from risk_engine.events import Assessment
from risk_engine.keys import Keys
from riskscale import WorkloadPartitioner


class Publisher(Protocol):
    """Sends a result to whoever waits for it."""

    async def publish(self, assessment: Assessment, *, redelivery: bool) -> str:
        """The name of the message, which says so if an earlier attempt may have sent it already: ``redelivery``.

        Whatever it raises, the result counts as neither sent nor unsent.
        """
        ...


class InMemoryPublisher:
    """For tests."""

    def __init__(self) -> None:
        self.messages: list[tuple[Assessment, bool]] = []

    async def publish(self, assessment: Assessment, *, redelivery: bool) -> str:
        self.messages.append((assessment, redelivery))
        return str(len(self.messages))


class StreamPublisher:
    """Redis Streams, one a partition of the tenants: ``risk:results:3``. The consumer deletes what it has read."""

    def __init__(self, client: Any, keys: Keys, partitions: int) -> None:
        self._client, self._keys, self._partitioner = client, keys, WorkloadPartitioner(partitions)

    async def publish(self, assessment: Assessment, *, redelivery: bool) -> str:
        fields = {
            "tenant_id": assessment.tenant_id,
            "event_id": assessment.event_id,
            "assessment": assessment.model_dump_json(),
            "redelivery": int(redelivery),
        }
        stream = self._keys.stream(self._partitioner.get_partition(assessment.tenant_id))
        message_id = await self._client.xadd(stream, fields)
        return message_id.decode() if isinstance(message_id, bytes) else str(message_id)
