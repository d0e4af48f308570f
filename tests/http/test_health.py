"""Health over HTTP, asked as a probe asks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

import riskscale
import riskscale.sync
from riskscale import ArgumentError
from riskscale.http import ASGIHealth, WSGIHealth


def checked(monitor: Any, ready: Callable[[], Any]) -> Any:
    monitor.add_check("loop", lambda: None, timeout=60, groups=("live",))
    monitor.add_check("db", ready, timeout=60)
    return monitor


async def greet(request: Request) -> PlainTextResponse:
    return PlainTextResponse("hello")


def asgi(monitor: riskscale.HealthMonitor, **options: Any) -> httpx.AsyncClient:
    app = Starlette(routes=[Route("/", greet)])
    app.add_middleware(ASGIHealth, monitor=monitor, **options)
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test")


def wsgi(monitor: riskscale.sync.HealthMonitor, **options: Any) -> httpx.Client:
    def app(environ: Any, start_response: Any) -> Any:
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [b"hello"]

    return httpx.Client(transport=httpx.WSGITransport(WSGIHealth(app, monitor, **options)), base_url="http://test")


def same(live: httpx.Response, ready: httpx.Response, every: httpx.Response) -> None:
    assert [response.status_code for response in (live, ready, every)] == [200, 503, 503]
    for response in (live, ready, every):
        assert response.headers["Content-Type"] == "application/health+json"
        assert response.headers["Cache-Control"] == "no-store"
        assert int(response.headers["Content-Length"]) == len(response.content)
    assert live.json()["status"] == "pass" and list(live.json()["checks"]) == ["loop:responseTime"]
    assert ready.json()["status"] == "fail" and list(ready.json()["checks"]) == ["db:responseTime"]
    assert list(every.json()["checks"]) == ["loop:responseTime", "db:responseTime"]


async def test_probes_of_an_asgi_application() -> None:
    async with asgi(checked(riskscale.HealthMonitor(), lambda: False)) as http:
        same(*[await http.get(path) for path in ("/livez", "/readyz", "/healthz")])
        assert (await http.get("/")).text == "hello"
        head, post = await http.head("/readyz"), await http.post("/readyz")
    assert (head.status_code, head.content) == (503, b"") and int(head.headers["Content-Length"]) > 0
    assert (post.status_code, post.headers["Allow"]) == (405, "GET, HEAD")


def test_probes_of_a_wsgi_application() -> None:
    with wsgi(checked(riskscale.sync.HealthMonitor(), lambda: False)) as http:
        same(*[http.get(path) for path in ("/livez", "/readyz", "/healthz")])
        assert http.get("/").text == "hello"
        head, post = http.head("/readyz"), http.post("/readyz")
    assert (head.status_code, head.content) == (503, b"") and int(head.headers["Content-Length"]) > 0
    assert (post.status_code, post.headers["Allow"]) == (405, "GET, HEAD")


async def test_a_warning_is_200_and_paths_can_be_chosen() -> None:
    monitor = checked(riskscale.HealthMonitor(), lambda: "warn")
    async with asgi(monitor, paths={"/up": "ready"}) as http:
        up, other = await http.get("/up"), await http.get("/readyz")
    assert (up.status_code, up.json()["status"], other.status_code) == (200, "warn", 404)


@pytest.mark.parametrize("paths", [{"/up": "reday"}, {"up": "ready"}])
def test_paths_that_lead_nowhere(paths: Any) -> None:
    with pytest.raises(ArgumentError, match=r"^paths"):
        WSGIHealth(None, riskscale.sync.HealthMonitor(), paths=paths)  # type: ignore[arg-type]
    with pytest.raises(ArgumentError, match=r"^paths"):
        ASGIHealth(None, riskscale.HealthMonitor(), paths=paths)  # type: ignore[arg-type]


def test_each_takes_its_own_kind_of_monitor() -> None:
    with pytest.raises(ArgumentError, match=r"must be a riskscale\.HealthMonitor"):
        ASGIHealth(None, riskscale.sync.HealthMonitor())  # type: ignore[arg-type]
    with pytest.raises(ArgumentError, match=r"must be a riskscale\.sync\.HealthMonitor"):
        WSGIHealth(None, riskscale.HealthMonitor())  # type: ignore[arg-type]
