"""A check of PostgreSQL, with a pool of asyncpg, or of psycopg 3, blocking or asyncio."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from riskscale.errors import ArgumentError

QUERY = "SELECT 1"


def check(pool: Any) -> Callable[[], Any]:
    """A check, for :meth:`riskscale.HealthMonitor.add_check`: one query, on a connection of the pool that all use.

    So it also fails where no connection comes free within its ``timeout``.

    Args:
        pool: an ``asyncpg.Pool``, or a ``psycopg_pool.AsyncConnectionPool``; for ``riskscale.sync`` a
            ``psycopg_pool.ConnectionPool``. It stays open, it is yours.

    Raises:
        ArgumentError: it is none of these.
    """
    fetchval, connection, getconn = (getattr(pool, name, None) for name in ("fetchval", "connection", "getconn"))
    if callable(fetchval):

        async def asyncpg() -> None:
            await fetchval(QUERY)

        return asyncpg
    if not callable(connection) or not callable(getconn):
        raise ArgumentError("pool", f"must be a pool of asyncpg or psycopg, not {type(pool).__name__}")

    async def waited() -> None:
        async with connection() as one:
            await one.execute(QUERY)

    def blocking() -> None:
        with connection() as one:
            one.execute(QUERY)

    return waited if inspect.iscoroutinefunction(getconn) else blocking
