"""The middleware as clients meet it, through Starlette and through a WSGI server's call; header fields parsed back."""

from __future__ import annotations

from typing import Any
from wsgiref.util import setup_testing_defaults
from wsgiref.validate import validator

import http_sf
import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route

import riskscale.sync
from riskscale import ArgumentError, Hub, Limit, MultiRateLimiter, RateLimiter
from riskscale.http import ASGILimit, Proxies, WSGILimit
from riskscale.http.headers import decision_headers, policy_headers, problem
from riskscale.rate.calls import Decision

TWO = Limit(2, per=60)
HOUR = Limit(100, per=3600, algorithm="gcra", burst=20)


async def greet(request: Any) -> PlainTextResponse:
    return PlainTextResponse("hello", headers={"RateLimit-Else": "own"})


def client(hub: Hub, **options: Any) -> httpx.AsyncClient:
    app = Starlette(routes=[Route("/", greet), Route("/healthz", greet)])
    limits = options.pop("limits", TWO)
    limiter = options.pop("limiter", None) or RateLimiter(hub, limits, name="api")
    app.add_middleware(ASGILimit, limiter=limiter, **options)
    transport = httpx.ASGITransport(app, client=options.get("client", ("198.51.100.1", 4711)))
    return httpx.AsyncClient(transport=transport, base_url="http://test")


def fields(response: httpx.Response) -> tuple[Any, Any]:
    """RateLimit-Policy and RateLimit, by a parser of structured fields."""
    return tuple(  # type: ignore[return-value]
        http_sf.parse(response.headers[name].encode(), tltype="list") for name in ("RateLimit-Policy", "RateLimit")
    )


async def test_admitted_and_refused(hub: Hub) -> None:
    async with client(hub) as http:
        first, second, third = [await http.get("/") for _ in range(3)]
        assert (first.status_code, first.text, first.headers["RateLimit-Else"]) == (200, "hello", "own")
        assert fields(first) == ([("api-60s", {"q": 2, "w": 60})], [("api-60s", {"r": 1, "t": 60})])
        assert fields(second)[1][0][1]["r"] == 0 and "Retry-After" not in second.headers
        assert third.status_code == 429 and third.headers["Content-Type"] == "application/problem+json"
        assert 1 <= int(third.headers["Retry-After"]) <= 60
        assert fields(third)[1] == [("api-60s", {"r": 0, "t": int(third.headers["Retry-After"])})]
        assert third.json()["violated-policies"] == ["api-60s"] and third.json()["status"] == 429
        assert int(third.headers["Content-Length"]) == len(third.content)


async def test_several_limiters_say_which_of_them_refused(hub: Hub) -> None:
    every = MultiRateLimiter([RateLimiter(hub, TWO, name="tenant"), RateLimiter(hub, Limit(3, per=1), name="all")])

    def key(scope: Any) -> Any:
        tenant = dict(scope["headers"]).get(b"x-tenant")
        return {"tenant": tenant.decode(), "all": "all"} if tenant else None

    async with client(hub, limiter=every, key=key) as http:
        first, _, third = [await http.get("/", headers={"X-Tenant": "a"}) for _ in range(3)]
        assert fields(first) == (
            [("tenant-60s", {"q": 2, "w": 60}), ("all-1s", {"q": 3, "w": 1})],
            [("tenant-60s", {"r": 1, "t": 60})],
        )
        assert third.status_code == 429 and third.json()["violated-policies"] == ["tenant-60s"]
        assert "RateLimit" not in (await http.get("/")).headers


async def test_health_is_exempt_and_keys_are_counted_apart(hub: Hub) -> None:
    options: dict[str, Any] = {
        "exempt": ["/healthz"],
        "key": lambda scope: dict(scope["headers"]).get(b"x-tenant", b"").decode("latin-1") or None,
        "cost": lambda scope: 2,
    }
    async with client(hub, **options) as http:
        assert [(await http.get("/healthz")).status_code for _ in range(5)] == [200] * 5
        assert [(await http.get("/")).status_code for _ in range(5)] == [200] * 5, "no key, no limit"
        for tenant in ("a", "b", "}{:%\xe9 \x01"):
            headers = {"X-Tenant": tenant.encode("latin-1")}
            assert [(await http.get("/", headers=headers)).status_code for _ in range(2)] == [200, 429]


async def test_an_address_cannot_be_chosen(hub: Hub) -> None:
    async with client(hub) as http:
        codes = [(await http.get("/", headers={"X-Forwarded-For": f"203.0.113.{n}"})).status_code for n in range(3)]
    assert codes == [200, 200, 429]
    async with client(hub, proxies=Proxies(["198.51.100.0/24"])) as http:
        codes = [
            (await http.get("/", headers={"X-Forwarded-For": f"192.0.2.{n}, 203.0.113.1"})).status_code
            for n in range(3)
        ]
    assert codes == [200, 200, 429]


async def test_several_limits_and_a_request_that_never_fits(hub: Hub) -> None:
    async with client(hub, limits=[TWO, HOUR], cost=3) as http:
        refused = await http.get("/")
    assert refused.status_code == 429 and "Retry-After" not in refused.headers
    assert fields(refused)[0] == [("api-60s", {"q": 2, "w": 60}), ("api-3600s", {"q": 20, "w": 3600})]
    assert fields(refused)[1] == [("api-60s", {"r": 2})]


async def test_a_websocket_is_refused_before_it_opens(hub: Hub) -> None:
    async def talk(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "websocket.accept"})

    app = ASGILimit(talk, RateLimiter(hub, Limit(1, per=60), name="api"))
    scope = {"type": "websocket", "path": "/", "headers": [], "client": ("198.51.100.1", 1)}

    async def connect() -> list[Any]:
        sent: list[Any] = []

        async def receive() -> Any:
            return {"type": "websocket.connect"}

        async def send(message: Any) -> None:
            sent.append(message)

        await app(dict(scope), receive, send)
        return sent

    (accepted,) = await connect()
    assert accepted["type"] == "websocket.accept" and (b"ratelimit", b'"api-60s";r=0;t=60') in accepted["headers"]
    assert await connect() == [{"type": "websocket.close", "code": 1013}]


async def test_a_lifespan_passes(hub: Hub) -> None:
    called = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        called.append(scope)

    await ASGILimit(app, RateLimiter(hub, TWO))({"type": "lifespan"}, None, None)  # type: ignore[arg-type]
    assert called == [{"type": "lifespan"}]


def test_wsgi(sync_hub: riskscale.sync.Hub) -> None:
    def hello(environ: Any, start_response: Any) -> list[bytes]:
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [b"hello"]

    limiter = riskscale.sync.RateLimiter(sync_hub, TWO, name="api")
    app = validator(WSGILimit(hello, limiter, exempt=["/healthz"], proxies=Proxies(["10.0.0.0/8"])))

    def get(path: str, peer: str, forwarded: str = "") -> tuple[str, dict[str, str], bytes]:
        environ: dict[str, Any] = {
            "PATH_INFO": path,
            "QUERY_STRING": "",
            "SCRIPT_NAME": "",
            "REMOTE_ADDR": peer,
            "HTTP_X_FORWARDED_FOR": forwarded,
        }
        setup_testing_defaults(environ)
        seen: list[Any] = []
        body = app(environ, lambda *started: seen.append(started) or (lambda data: None))  # type: ignore[func-returns-value,arg-type]
        content = b"".join(body)
        body.close()  # type: ignore[attr-defined]
        return seen[0][0], dict(seen[0][1]), content

    assert get("/", "198.51.100.1")[1]["RateLimit"] == '"api-60s";r=1;t=60'
    assert get("/", "10.0.0.1", "198.51.100.1")[2] == b"hello"
    status, headers, body = get("/", "198.51.100.1", "6.6.6.6")
    assert (
        status == "429 Too Many Requests" and headers["Content-Type"] == "application/problem+json" and b"api" in body
    )
    assert get("/healthz", "198.51.100.1")[0] == "200 OK"


HOSTILE = [
    "a\r\nSet-Cookie: x=1", "\n", "\x00", "\xff\xfe", "{}%:", "\u4e2d\U0001f512", "\ud800", "caf\udce9",
    "x" * 511, "x" * 60_000,
]  # fmt: skip


@pytest.mark.parametrize("hostile", HOSTILE, ids=ascii)
async def test_hostile_keys_are_counted_apart_and_told_to_nobody(hub: Hub, hostile: str) -> None:
    """What an application may find in a header field, however it decodes it."""
    app = Starlette(routes=[Route("/", greet)])
    asked = iter([hostile] * 3 + [hostile + "y", "y" + hostile])
    app.add_middleware(ASGILimit, limiter=RateLimiter(hub, TWO, name="api"), key=lambda scope: next(asked))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as http:
        answers = [await http.get("/") for _ in range(5)]
    assert [answer.status_code for answer in answers] == [200, 200, 429, 200, 200]
    said = repr([*answers[2].headers.raw, answers[2].content])
    assert all(len(part) == 1 or part not in said for part in (hostile, "Set-Cookie"))


@pytest.mark.parametrize("hostile", HOSTILE, ids=ascii)
def test_hostile_keys_in_threads(sync_hub: riskscale.sync.Hub, hostile: str) -> None:
    limiter = riskscale.sync.RateLimiter(sync_hub, Limit(1, per=60), name="api")
    app = WSGILimit(lambda _, start: start("200 OK", []) or [], limiter, key=lambda environ: hostile)  # type: ignore[func-returns-value,list-item]
    said: list[tuple[Any, ...]] = []
    for _ in range(2):
        list(app({"PATH_INFO": "/"}, lambda *started: said.append(started)))  # type: ignore[arg-type,func-returns-value,return-value]
    assert [status for status, _ in said] == ["200 OK", "429 Too Many Requests"]
    assert all(f"{name}: {value}".isprintable() for _, headers in said for name, value in headers)


@pytest.mark.parametrize("hostile", HOSTILE, ids=ascii)
async def test_hostile_keys_of_several_limiters(hub: Hub, hostile: str) -> None:
    several = MultiRateLimiter([RateLimiter(hub, TWO, name="tenant"), RateLimiter(hub, Limit(9, per=60), name="all")])
    app = Starlette(routes=[Route("/", greet)])
    app.add_middleware(ASGILimit, limiter=several, key=lambda scope: {"tenant": hostile, "all": "all"})
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as http:
        assert [(await http.get("/")).status_code for _ in range(3)] == [200, 200, 429]


async def test_what_a_callable_gets_wrong_charges_nothing(hub: Hub) -> None:
    limiter = RateLimiter(hub, TWO, name="api")

    async def app(scope: Any, receive: Any, send: Any) -> None:
        raise AssertionError("it was let through")

    scope = {"type": "http", "path": "/", "headers": [], "client": ("198.51.100.1", 1)}
    for argument, options in [
        ("cost", {"cost": lambda scope: -1}), ("cost", {"cost": lambda scope: 1.5}),
        ("key", {"key": lambda scope: b"a"}),
    ]:  # fmt: skip
        with pytest.raises(ArgumentError, match=argument):
            await ASGILimit(app, limiter, **options)(dict(scope), None, None)  # type: ignore[arg-type]
    assert (await limiter.peek("198.51.100.1")).remaining == 2


@given(
    name=st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20),
    remaining=st.integers(0, 10**15),
    retry=st.floats(0.000001, 10**9) | st.just(float("inf")),
    allowed=st.booleans(),
)
def test_whatever_a_limiter_is_called_the_fields_parse(name: str, remaining: int, retry: float, allowed: bool) -> None:
    limit = Limit(10**9, per=0.001, algorithm="gcra", name='n\\"é')
    decision = Decision(allowed, remaining, 0.0 if allowed else retry, 0.5, limit, 0.0, "a", 1, "")
    for field, value in [*policy_headers(((name, limit), (name, limit))), *decision_headers(name, decision)]:
        assert value.isascii() and value.isprintable()
        if field != "Retry-After":
            assert http_sf.parse(value.encode(), tltype="list")
        else:
            assert int(value) >= retry
    assert b'"status":429' in problem(name, decision)


@pytest.mark.parametrize(
    ("argument", "options"),
    [
        ("exempt", {"exempt": "/healthz"}),
        ("key", {"key": "ip"}),
        ("cost", {"cost": -1}),
        ("cost", {"cost": 0.5}),
        ("proxies", {"proxies": "10.0.0.0/8"}),
    ],
)
def test_bad_arguments(hub: Hub, sync_hub: riskscale.sync.Hub, argument: str, options: dict[str, Any]) -> None:
    with pytest.raises(ArgumentError, match=argument):
        ASGILimit(Starlette(), RateLimiter(hub, TWO), **options)
    with pytest.raises(ArgumentError, match=argument):
        WSGILimit(lambda *_: [], riskscale.sync.RateLimiter(sync_hub, TWO), **options)


def test_the_other_kind_of_limiter_is_refused(hub: Hub, sync_hub: riskscale.sync.Hub) -> None:
    with pytest.raises(ArgumentError, match=r"limiter must be a limiter of riskscale\.rate\.limiter, not of .*sync"):
        ASGILimit(Starlette(), riskscale.sync.RateLimiter(sync_hub, TWO))  # type: ignore[arg-type]
    with pytest.raises(ArgumentError, match=r"limiter must be a limiter of riskscale\.sync\.rate, not of "):
        WSGILimit(lambda *_: [], RateLimiter(hub, TWO))  # type: ignore[arg-type]


def test_several_limiters_need_a_key(hub: Hub, sync_hub: riskscale.sync.Hub) -> None:
    with pytest.raises(ArgumentError, match="key"):
        ASGILimit(Starlette(), MultiRateLimiter([RateLimiter(hub, TWO)]))
    several = riskscale.sync.MultiRateLimiter([riskscale.sync.RateLimiter(sync_hub, TWO)])
    with pytest.raises(ArgumentError, match="key"):
        WSGILimit(lambda *_: [], several)
    app = WSGILimit(lambda *_: [], several, key=lambda environ: {"default": environ["REMOTE_ADDR"]})
    seen: list[Any] = []
    for _ in range(3):
        app({"PATH_INFO": "/", "REMOTE_ADDR": "::1"}, lambda status, headers: seen.append(status))  # type: ignore[arg-type,return-value]
    assert seen == ["429 Too Many Requests"]


@pytest.mark.parametrize("key", ["", {"api": ""}])
async def test_an_empty_key_is_one_as_any_other(hub: Hub, key: Any) -> None:
    """Clients choose it where it comes out of a header field: it must not switch the limit off."""
    limiter: Any = RateLimiter(hub, TWO, name="api")
    limiter = MultiRateLimiter([limiter]) if isinstance(key, dict) else limiter
    async with client(hub, limiter=limiter, key=lambda _: key) as http:
        assert [(await http.get("/")).status_code for _ in range(3)] == [200, 200, 429]


def test_an_empty_key_of_an_environ(sync_hub: riskscale.sync.Hub) -> None:
    app = WSGILimit(
        lambda _, start: [start("200 OK", []) or b""], riskscale.sync.RateLimiter(sync_hub, TWO), key=lambda _: ""
    )
    seen: list[str] = []
    for _ in range(3):
        environ: dict[str, Any] = {}
        setup_testing_defaults(environ)
        app(environ, lambda status, *_: seen.append(status))  # type: ignore[arg-type]
    assert [status[:3] for status in seen] == ["200", "200", "429"]
