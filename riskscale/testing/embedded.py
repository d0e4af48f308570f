"""Clients of a server inside this process: fakeredis, which runs the same Lua."""

from __future__ import annotations

from functools import cache
from typing import Any

FULL_COLLECTION = "collectgarbage()"
MOST_SCRIPTS = 256


class CompiledOnce:
    """A Lua runtime that keeps what it has compiled, and collects its garbage bit by bit, as Lua does by itself.

    fakeredis compiles a script at each call of it, and has all garbage collected afterwards: half of what a decision
    costs there.
    """

    def __init__(self, runtime: Any) -> None:
        self._runtime = runtime
        self._compiled: dict[bytes | str, Any] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._runtime, name)

    def execute(self, code: bytes | str) -> Any:
        """Run it, as ``lupa.LuaRuntime.execute`` does."""
        if code == FULL_COLLECTION:
            return None
        function = self._compiled.get(code)
        if function is None:
            if len(self._compiled) >= MOST_SCRIPTS:
                self._compiled.clear()
            function = self._compiled[code] = self._runtime.compile(code)
        return function()


@cache
def _server_class() -> Any:
    import fakeredis

    class EmbeddedServer(fakeredis.FakeServer):
        def __setattr__(self, name: str, value: Any) -> None:
            super().__setattr__(name, CompiledOnce(value) if name == "_lua_runtime" else value)

    return EmbeddedServer


def new_fake_server() -> Any:
    """A fresh, empty ``fakeredis.FakeServer``. One per test: a script that leaks a global poisons its server.

    Raises:
        ModuleNotFoundError: fakeredis or lupa is missing; it says what to install.
    """
    try:
        import fakeredis  # noqa: F401
        import lupa  # noqa: F401 - without it fakeredis has no EVAL, and says so only then
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(f"{error.name} is missing: pip install 'riskscale[test]'", name=error.name) from error
    return _server_class()()


def fake_client(server: Any, **options: Any) -> Any:
    """A blocking client of a fake server; ``options`` are redis-py's (``decode_responses``, ``protocol``)."""
    import fakeredis

    return fakeredis.FakeRedis(server=server, **options)


def fake_async_client(server: Any, **options: Any) -> Any:
    """An asyncio client of a fake server; it may share the server with blocking ones."""
    import fakeredis

    return fakeredis.FakeAsyncRedis(server=server, **options)
