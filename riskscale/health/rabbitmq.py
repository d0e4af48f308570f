"""A check of RabbitMQ, with a connection of aio-pika."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from riskscale.errors import ArgumentError
from riskscale.health.report import HealthStatus, Observation


def check(connection: Any) -> Callable[[], Any]:
    """A check, for :meth:`riskscale.HealthMonitor.add_check`: a channel is opened and closed, two round trips.

    Args:
        connection: of ``aio_pika.connect`` or ``aio_pika.connect_robust``. It stays open, it is yours.

    Raises:
        ArgumentError: it is none.
    """
    if not hasattr(connection, "transport"):
        raise ArgumentError("connection", f"must be a connection of aio-pika, not {type(connection).__name__}")

    async def opened() -> Observation:
        transport = connection.transport
        if transport is None:
            return Observation(status=HealthStatus.FAIL, output="not connected")
        # The connection below, for a robust one would open again what the broker has closed.
        channel = await transport.connection.channel(publisher_confirms=False)
        await channel.close()
        return Observation()

    return opened
