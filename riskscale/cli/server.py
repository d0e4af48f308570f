"""Clients for the commands: a server by its URL, or the embedded one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any
from urllib.parse import SplitResult, urlsplit

import redis
import redis.asyncio
from redis.asyncio.cluster import RedisCluster as AsyncRedisCluster
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import NoBackoff
from redis.cluster import RedisCluster
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError
from redis.retry import Retry

from riskscale._core.mailbox import QUIET
from riskscale.cli.errors import Failure, is_noperm, is_refused, is_unreachable, server_words
from riskscale.testing.embedded import fake_client, new_fake_server

TIMEOUT = 5.0
SHAPE = "expected redis://[[user]:password@]host[:port][/db], rediss://..., or unix:///path"


def split_url(url: str) -> SplitResult:
    """The parts of a server's URL; Failure, which never repeats the URL, where it is not one."""
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        raise Failure(f"--redis: not a URL of a server: {SHAPE}") from None
    if parts.scheme not in ("redis", "rediss", "unix"):
        raise Failure(f"--redis: not a URL of a server: {SHAPE}")
    if parts.scheme == "unix":
        if not parts.path:
            raise Failure("--redis: the URL names no socket: expected unix:///path")
        return parts
    if "@" in parts.path or "@" in parts.query or parts.fragment:
        raise Failure("--redis: write the characters / ? # @ of a user or password as %2F %3F %23 %40")
    if parts.path not in ("", "/") and not parts.path[1:].isdecimal():
        raise Failure("--redis: the database in the URL must be a number, as in redis://host/0")
    return parts


def safe_url(url: str) -> str:
    """The URL for display: without user, password and options."""
    parts = split_url(url)
    if parts.scheme == "unix":
        return f"unix://{parts.path}"
    host = parts.hostname or "localhost"
    return f"{parts.scheme}://{f'[{host}]' if ':' in host else host}:{parts.port or 6379}{parts.path}"


def connect(url: str) -> Any:
    """A blocking client of the server or cluster, which has answered.

    No retries: a script that was sent twice may charge twice, and an answer that does not come is news.
    """
    options: dict[str, Any] = {"socket_timeout": TIMEOUT, "socket_connect_timeout": TIMEOUT}
    split_url(url)
    try:
        client = redis.Redis.from_url(url, retry=Retry(NoBackoff(), 0), **options)
        if not _is_cluster(client):
            return client
        client.close()
        return RedisCluster.from_url(url, **options)
    except (ValueError, TypeError):
        raise Failure("--redis: an option after the ? of the URL is not known or has a bad value") from None
    except RedisError as error:
        raise unreachable(url, error) from None


@contextmanager
def connected(url: str) -> Iterator[Any]:
    """:func:`connect`, and later errors of the server become one line that names it."""
    client = connect(url)
    try:
        yield client
    except RedisError as error:
        raise unreachable(url, error) from None
    finally:
        client.close()


def connect_async(url: str, cluster: bool) -> Any:
    """The same for asyncio, unasked: :func:`connect` has seen the server."""
    options: dict[str, Any] = {"socket_timeout": TIMEOUT, "socket_connect_timeout": TIMEOUT}
    if cluster:
        return AsyncRedisCluster.from_url(url, **options)
    return redis.asyncio.Redis.from_url(url, retry=AsyncRetry(NoBackoff(), 0), **options)


def heard(client: Any, channel: str) -> Iterator[bytes | str | None]:
    """What is published on the channel from now on, for ever; None whenever it has begun to listen."""
    with client.pubsub() as subscription:
        subscription.subscribe(channel)
        silent = False
        while True:
            message = subscription.get_message(timeout=QUIET)
            if message is None and silent:
                raise RedisConnectionError("the subscription gave no sign of life")
            if message is None:
                subscription.ping()
            elif message["type"] in ("subscribe", "message"):
                yield message["data"] if message["type"] == "message" else None
            silent = message is None


def unreachable(url: str, error: Exception) -> Failure:
    """The line for a server that does not answer, or not as it should."""
    verb = "cannot reach " if is_unreachable(error) and not is_refused(error) else ""
    return Failure(f"{verb}{safe_url(url)}: {server_words(error)}")


def fake_server() -> Any:
    """The state that embedded clients share."""
    if any(find_spec(name) is None for name in ("fakeredis", "lupa")):
        raise Failure("the embedded server needs fakeredis and lupa: pip install 'riskscale[cli]', or give --redis URL")
    return new_fake_server()


def embedded() -> Any:
    """A blocking client of a Redis in this process, with Lua."""
    return fake_client(fake_server())


def _is_cluster(client: Any) -> bool:
    """Asks, and so opens the connection. A user who may not ask is taken to be on a single server."""
    try:
        return bool(client.info("cluster").get("cluster_enabled"))
    except RedisError as error:
        if is_noperm(error):
            return False
        raise
