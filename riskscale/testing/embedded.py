"""Clients of a server inside this process: fakeredis, which runs the same Lua."""

from __future__ import annotations

from typing import Any


def new_fake_server() -> Any:
    """A fresh, empty ``fakeredis.FakeServer``. One per test: a script that leaks a global poisons its server.

    Raises:
        ModuleNotFoundError: fakeredis or lupa is missing; it says what to install.
    """
    try:
        import fakeredis
        import lupa  # noqa: F401 - without it fakeredis has no EVAL, and says so only then
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(f"{error.name} is missing: pip install 'riskscale[test]'", name=error.name) from error
    return fakeredis.FakeServer()


def fake_client(server: Any, **options: Any) -> Any:
    """A blocking client of a fake server; ``options`` are redis-py's (``decode_responses``, ``protocol``)."""
    import fakeredis

    return fakeredis.FakeRedis(server=server, **options)


def fake_async_client(server: Any, **options: Any) -> Any:
    """An asyncio client of a fake server; it may share the server with blocking ones."""
    import fakeredis

    return fakeredis.FakeAsyncRedis(server=server, **options)
