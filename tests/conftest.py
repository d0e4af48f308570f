"""Every room's tests run twice: on the embedded backend, and on a real server process.

A test that takes ``client``, ``sync_client``, ``connect``, ``hub``, ``sync_hub`` or ``backend`` becomes two, unless it
is marked ``server`` or ``embedded``. On a server that we started, clients are the restricted user that
``riskscale scripts acl`` prints; ``raw_client`` is the blocking client that may do everything (plant a foreign type,
read a TTL). What a test leaves behind must expire. On ``$REDIS_URL``, a server that somebody else started, tests marked
``owns_server`` are left out by name, and nothing outside this run's own random prefix is read or written.
"""

from __future__ import annotations

import itertools
import os
import secrets
import signal
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from typing import Any

import hypothesis
import pytest
import redis

import riskscale
import riskscale.sync
from riskscale._core.acl import setuser_line
from riskscale.testing import Outage, ServerProcess, delete_keys, keys_without_ttl, new_fake_server
from tests.backends import Backend, EmbeddedBackend, ServerBackend

pytest_plugins = ("riskscale.testing",)

FOREIGN_SERVER = os.environ.get("REDIS_URL", "")
NO_SKIPS = bool(os.environ.get("RISKSCALE_NO_SKIPS"))
LEFT_OUT = pytest.StashKey[list[str]]()
LONG = ("benchmarks", "faults", "history")
"""Rooms that begin: they wait for processes, beside tests that compute, and the end is shared out in small parts."""

for name, examples in {"default": 60, "ci": 250, "matrix": 15}.items():
    hypothesis.settings.register_profile(
        name,
        max_examples=examples,
        deadline=None,
        print_blob=True,
        derandomize=name != "default",
        suppress_health_check=[hypothesis.HealthCheck.function_scoped_fixture, hypothesis.HealthCheck.too_slow],
    )
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))


# A shell starts its background jobs with SIGINT ignored, and children inherit that: no test could interrupt one.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
# And a run that is told to end stops the servers that it started, as after Ctrl-C.
signal.signal(signal.SIGTERM, signal.default_int_handler)


# Which tests run


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--backend", choices=("embedded", "server", "both"), default="both", help="default: both")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "backend" not in metafunc.fixturenames:
        return
    only = [kind for kind in ("embedded", "server") if metafunc.definition.get_closest_marker(kind)]
    kinds = only or ["embedded", "server"]
    metafunc.parametrize(
        "backend", [pytest.param(kind, marks=getattr(pytest.mark, kind)) for kind in kinds], indirect=True
    )


@pytest.hookimpl(tryfirst=True)
def pytest_itemcollected(item: pytest.Item) -> None:
    """Also a test that starts a server of its own is a server test: it runs in the matrix."""
    if {"riskscale_server_process", "scratch_server"} & set(getattr(item, "fixturenames", ())):
        item.add_marker(pytest.mark.server)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    chosen = config.getoption("backend")
    other = {"embedded": "server", "server": "embedded"}.get(chosen)
    unwanted = [item for item in items if other and item.get_closest_marker(other)]
    foreign = [item for item in items if FOREIGN_SERVER and item not in unwanted and _owns_server(item)]
    config.stash[LEFT_OUT] = [item.nodeid for item in foreign]
    items.sort(key=lambda item: item.path.parent.name not in LONG)
    left_out = set(unwanted) | set(foreign)
    if left_out:
        config.hook.pytest_deselected(items=[item for item in items if item in left_out])
        items[:] = [item for item in items if item not in left_out]


def _owns_server(item: pytest.Item) -> bool:
    return bool(item.get_closest_marker("owns_server")) and not item.get_closest_marker("embedded")


# What a run says at its end


def _skipped(config: pytest.Config) -> list[str]:
    reporter: Any = config.pluginmanager.get_plugin("terminalreporter")
    return (
        [f"{report.nodeid}: {report.longreprtext}" for report in reporter.stats.get("skipped", [])] if reporter else []
    )


@pytest.hookimpl(tryfirst=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    if NO_SKIPS and session.exitstatus == pytest.ExitCode.OK and _skipped(session.config):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    if left_out := config.stash.get(LEFT_OUT, []):
        terminalreporter.section("left out: they need a server of their own, and REDIS_URL is somebody else's")
        terminalreporter.write_line("\n".join(left_out))
    if NO_SKIPS and (skipped := _skipped(config)):
        terminalreporter.section("failed: RISKSCALE_NO_SKIPS is set, and these were skipped", red=True)
        terminalreporter.write_line("\n".join(skipped))


# Where tests run

NUMBERS = itertools.count(1)


@pytest.fixture(scope="session")
def session_prefix() -> str:
    """What all keys of this run begin with."""
    return f"t{secrets.token_hex(4)}"


@pytest.fixture
def prefix(session_prefix: str) -> str:
    """This test's own ``key_prefix``."""
    return f"{session_prefix}.{next(NUMBERS)}:"


@pytest.fixture(scope="session")
def server_url(request: pytest.FixtureRequest) -> str:
    """The admin's URL of the server: REDIS_URL, else one process a run."""
    if FOREIGN_SERVER:
        return FOREIGN_SERVER
    server: ServerProcess = request.getfixturevalue("riskscale_server_process")
    return server.url


@pytest.fixture
def immortal_keys() -> Iterable[str]:
    """Patterns, after the prefix, of keys that may stay: those whose script says ``TTL none``. Rooms override it."""
    return ()


@pytest.fixture
def backend(request: pytest.FixtureRequest, prefix: str, immortal_keys: Iterable[str]) -> Iterator[Backend]:
    """Where this test runs; afterwards nothing of it may be left that does not expire."""
    if request.param == "embedded":
        backend: Backend = EmbeddedBackend(new_fake_server())
    else:
        backend = _server_backend(request.getfixturevalue("server_url"), prefix)
    yield backend
    left = keys_without_ttl(backend.admin, prefix, allowed=immortal_keys)
    delete_keys(backend.admin, prefix)
    backend.close()
    if left:
        pytest.fail(f"left without TTL: {', '.join(left)}")


def _server_backend(url: str, prefix: str) -> ServerBackend:
    admin = redis.Redis.from_url(url)
    if FOREIGN_SERVER:
        return ServerBackend(admin, url)
    user, password = prefix.rstrip(":"), secrets.token_hex(8)
    admin.execute_command(*setuser_line(user, password, prefix).split(" "))
    return ServerBackend(admin, url, user, password)


@pytest.fixture
def examples(backend: Backend) -> hypothesis.settings:
    """For a state machine that drives scripts: all examples where the scripts have to be right, on a real server. That
    the embedded one decides alike is shown by a quarter of them; there each costs twice as much."""
    usual = hypothesis.settings()
    return hypothesis.settings(usual, max_examples=usual.max_examples // (4 if backend.name == "embedded" else 1))


@pytest.fixture
def raw_client(backend: Backend) -> Any:
    """A blocking client, bytes in and out, that may send any command."""
    return backend.admin


@pytest.fixture
async def connect(backend: Backend) -> AsyncIterator[Any]:
    """``connect(**options)``: another asyncio client (``protocol=2``, ``decode_responses=True``), closed at the end."""
    clients: list[Any] = []

    def make(**options: Any) -> Any:
        clients.append(backend.asyncio_client(**options))
        return clients[-1]

    yield make
    for client in clients:
        await client.aclose()


@pytest.fixture
def sync_connect(backend: Backend) -> Iterator[Any]:
    """The same, blocking."""
    clients: list[Any] = []

    def make(**options: Any) -> Any:
        clients.append(backend.sync_client(**options))
        return clients[-1]

    yield make
    for client in clients:
        client.close()


@pytest.fixture
async def client(connect: Any) -> Any:
    """An asyncio client."""
    return connect()


@pytest.fixture
def sync_client(sync_connect: Any) -> Any:
    """A blocking client."""
    return sync_connect()


@pytest.fixture
async def hub(client: Any, prefix: str) -> AsyncIterator[riskscale.Hub]:
    """A hub on the server's clock."""
    async with riskscale.Hub(client, key_prefix=prefix) as hub:
        yield hub


@pytest.fixture
def sync_hub(sync_client: Any, prefix: str) -> Iterator[riskscale.sync.Hub]:
    """The same, blocking."""
    with riskscale.sync.Hub(sync_client, key_prefix=prefix) as hub:
        yield hub


@pytest.fixture
def scratch_server() -> Iterator[ServerProcess]:
    """A server for this test alone, to be killed, paused and filled as it likes."""
    with ServerProcess() as server:
        yield server


@pytest.fixture(params=["stalled", "crashed"])
def outage(request: pytest.FixtureRequest, scratch_server: ServerProcess) -> Iterator[Outage]:
    """Takes that server away, in both ways."""
    make: Callable[[ServerProcess], Outage] = getattr(Outage, request.param)
    outage = make(scratch_server)
    yield outage
    outage.end()
