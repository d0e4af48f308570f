"""The two places where a test may run."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Protocol

import redis
import redis.asyncio

from riskscale.testing import Outage, fake_async_client, fake_client


def asked(client: Any, command: str, keys: Iterable[str]) -> list[Any]:
    """What a blocking client is told of each key, in one round trip."""
    pipeline = client.pipeline(transaction=False)
    for key in keys:
        getattr(pipeline, command)(key)
    replies: list[Any] = pipeline.execute()
    return replies


class Backend(Protocol):
    """What the fixtures of ``conftest.py`` are made from."""

    name: str
    admin: Any
    """A blocking client that may send any command."""

    def asyncio_client(self, **options: Any) -> Any:
        """A new asyncio client."""

    def sync_client(self, **options: Any) -> Any:
        """A new blocking client."""

    def close(self) -> None:
        """Take away what the test's own clients needed."""


class EmbeddedBackend:
    """A fake server in this process."""

    name = "embedded"

    def __init__(self, server: Any) -> None:
        self.server = server
        self.admin = fake_client(server)
        self.outage = Outage.of_embedded(server)

    def asyncio_client(self, **options: Any) -> Any:
        return fake_async_client(self.server, **options)

    def sync_client(self, **options: Any) -> Any:
        return fake_client(self.server, **options)

    def close(self) -> None:
        self.admin.close()


class ServerBackend:
    """A real server; the test's clients are ``user``, if one is given, else whoever ``url`` says."""

    name = "server"

    def __init__(self, admin: redis.Redis, url: str, user: str | None = None, password: str | None = None) -> None:
        self.admin = admin
        self.url = url
        self.user = user
        self.login = {"username": user, "password": password} if user else {}

    def asyncio_client(self, **options: Any) -> Any:
        return redis.asyncio.Redis.from_url(self.url, **self.login, **options)

    def sync_client(self, **options: Any) -> Any:
        return redis.Redis.from_url(self.url, **self.login, **options)

    def close(self) -> None:
        if self.user:
            self.admin.acl_deluser(self.user)
        self.admin.close()
