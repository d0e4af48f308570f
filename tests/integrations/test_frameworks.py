"""Flask-Limiter and slowapi themselves, on our storage: their users change two lines."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import flask_limiter
import httpx
import pytest
import slowapi
import slowapi.errors
import slowapi.middleware
import slowapi.util
from flask import Flask, request
from limits.strategies import STRATEGIES
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route

import riskscale.integrations.limits  # noqa: F401 - registers the scheme
from riskscale.testing import ServerProcess

# slowapi asks asyncio for what Python 3.14 has in inspect alone.
pytestmark = pytest.mark.filterwarnings("ignore:.*iscoroutinefunction:DeprecationWarning")
every_strategy = pytest.mark.parametrize("strategy", list(STRATEGIES))
Flasks = Callable[..., tuple[flask_limiter.Limiter, Callable[..., Any]]]


@pytest.fixture
def flask(scratch_server: ServerProcess) -> Iterator[Flasks]:
    """``flask(strategy, **options)``: the limiter of an application, and its GET."""
    with ExitStack() as stack:

        def make(strategy: str, **options: Any) -> Any:
            app = Flask(__name__)
            options = {"default_limits": ["3/minute"], "headers_enabled": True, **options}
            limiter = flask_limiter.Limiter(
                lambda: request.headers.get("X-Tenant", ""),
                app=app,
                storage_uri=f"riskscale+{scratch_server.url}",
                strategy=strategy,
                **options,
            )
            stack.callback(limiter.storage._connection.close)  # type: ignore[attr-defined]

            @app.get("/")
            def index() -> str:
                return "hello"

            @app.get("/costly")
            @limiter.limit(lambda: request.headers["X-Limit"], cost=lambda: int(request.headers["X-Cost"]))
            def costly() -> str:
                return "costly"

            def get(path: str = "/", tenant: str = "a", **headers: Any) -> Any:
                sent = {"X-Tenant": tenant, **{f"X-{name.title()}": str(value) for name, value in headers.items()}}
                return app.test_client().get(path, headers=sent)

            return limiter, get

        yield make


@every_strategy
def test_flask_limiter(flask: Flasks, strategy: str) -> None:
    limiter, get = flask(strategy)
    answers = [get() for _ in range(4)]
    assert [(each.status_code, each.headers["X-RateLimit-Remaining"]) for each in answers] == [
        (200, "2"), (200, "1"), (200, "0"), (429, "0"),
    ]  # fmt: skip
    assert 0 < int(answers[3].headers["Retry-After"]) <= 60
    assert time.time() < int(answers[3].headers["X-RateLimit-Reset"]) <= time.time() + 61
    assert get(tenant="b").status_code == 200
    limiter.reset()
    assert get().status_code == 200


@every_strategy
def test_costs_and_limits_that_change_under_flask_limiter(flask: Flasks, strategy: str) -> None:
    """A tenant moves to a larger plan, and back: what it used stays used."""
    _, get = flask(strategy, storage_options={"keep_state": True})

    def ask(limit: str, cost: int) -> tuple[int, str]:
        answer = get("/costly", limit=limit, cost=cost)
        return answer.status_code, answer.headers["X-RateLimit-Remaining"]

    assert ask("10/minute", 7) == (200, "3")
    assert ask("10/minute", 4) == (429, "3"), "a refusal was charged"
    assert ask("10/minute", 0) == (200, "3")
    assert ask("20/minute", 4) == (200, "9")
    assert ask("10/minute", 1) == (429, "0")
    assert ask("1/minute", 1)[0] == 429 and ask("11/minute", 1) == (429, "0") and ask("12/minute", 1) == (200, "0")


def test_flask_limiter_falls_back_and_returns(flask: Flasks, scratch_server: ServerProcess) -> None:
    _, get = flask("moving-window", in_memory_fallback=["1/minute"])
    assert get().status_code == 200
    scratch_server.kill()
    assert [get().status_code for _ in range(2)] == [200, 429], "its own limiter, in memory"
    scratch_server.start()
    while get().status_code == 429:  # it looks again after a pause of its own
        time.sleep(0.01)
    assert get().headers["X-RateLimit-Limit"] == "3"


def test_flask_limiter_without_a_fallback(flask: Flasks, scratch_server: ServerProcess) -> None:
    _, strict = flask("fixed-window")
    _, lenient = flask("fixed-window", swallow_errors=True)
    scratch_server.kill()
    assert strict().status_code == 500 and lenient().status_code == 200
    scratch_server.start()
    assert strict().status_code == lenient().status_code == 200


@pytest.mark.parametrize("tenant", ["\xff\xfe", "{}%:", "x" * 8000])
def test_hostile_headers_under_flask_limiter(flask: Flasks, tenant: str) -> None:
    _, get = flask("moving-window")
    assert [get(tenant=tenant).status_code for _ in range(4)] == [200, 200, 200, 429]


async def greet(_: Any) -> PlainTextResponse:
    return PlainTextResponse("hello")


@every_strategy
def test_slowapi(scratch_server: ServerProcess, strategy: str) -> None:
    limiter = slowapi.Limiter(
        slowapi.util.get_remote_address,
        default_limits=["3/minute"],
        headers_enabled=True,
        strategy=strategy,
        storage_uri=f"riskscale+{scratch_server.url}",
    )
    app = Starlette(routes=[Route("/", greet)])
    app.state.limiter = limiter
    app.add_exception_handler(slowapi.errors.RateLimitExceeded, slowapi._rate_limit_exceeded_handler)  # type: ignore[arg-type]
    app.add_middleware(slowapi.middleware.SlowAPIASGIMiddleware)

    async def answers(many: int) -> list[httpx.Response]:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as http:
            return [await http.get("/") for _ in range(many)]

    found = asyncio.run(answers(4))
    assert [(each.status_code, each.headers["X-RateLimit-Remaining"]) for each in found] == [
        (200, "2"), (200, "1"), (200, "0"), (429, "0"),
    ]  # fmt: skip
    assert 0 < int(found[3].headers["Retry-After"]) <= 60
    limiter.reset()
    assert asyncio.run(answers(1))[0].status_code == 200
    limiter._storage._connection.close()  # type: ignore[attr-defined]
