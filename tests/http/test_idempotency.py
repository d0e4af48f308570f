"""Idempotency-Key as clients meet it: through Starlette, by bare ASGI messages, and through a WSGI server's call."""

from __future__ import annotations

import asyncio
import json
import logging
import sys
from io import BytesIO
from typing import Any
from wsgiref.util import setup_testing_defaults
from wsgiref.validate import validator

import http_sf
import httpx
import pytest
import redis
from hypothesis import given
from hypothesis import strategies as st
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

import riskscale.sync
from riskscale import ArgumentError, Hub, IdempotencyGuard
from riskscale.http import ASGIIdempotency, WSGIIdempotency
from riskscale.http._idempotency import Answer

PATIENCE = 20.0
TENANT = "tenant-7"


class Payments:
    """An application that counts what it did; what it answers depends on the path."""

    def __init__(self) -> None:
        self.done = 0
        self.unknown: list[int] = []
        self.began, self.may_end = asyncio.Event(), asyncio.Event()
        self.status = 201

    async def pay(self, request: Any) -> Response:
        self.done += 1
        self.unknown.append(request.scope["riskscale.idempotency"].unknown)
        body = await request.body()
        headers = {"Location": f"/payments/{self.done}", "X-Word": "caf\u00e9", "Date": "now", "RateLimit": "own"}
        return Response(b"\x00\xff paid %d: %s" % (self.done, body), self.status, headers, "application/octet-stream")

    async def slowly(self, request: Any) -> Response:
        self.began.set()
        await asyncio.wait_for(self.may_end.wait(), PATIENCE)
        return await self.pay(request)

    async def stream(self, request: Any) -> StreamingResponse:
        async def parts() -> Any:
            self.done += 1
            for n in range(int(request.query_params["parts"])):
                yield b"part %d\n" % n

        return StreamingResponse(parts(), media_type=request.query_params.get("type", "text/plain"))

    async def fail(self, request: Any) -> Response:
        self.unknown.append(request.scope["riskscale.idempotency"].unknown)
        raise OSError("in the middle")

    def __call__(self, guard: IdempotencyGuard, **options: Any) -> httpx.AsyncClient:
        paths = {"/pay": self.pay, "/slowly": self.slowly, "/stream": self.stream, "/fail": self.fail}
        app = Starlette(routes=[Route(path, of, methods=["POST", "PUT"]) for path, of in paths.items()])
        app.add_middleware(ASGIIdempotency, guard=guard, **{"tenant": lambda _: TENANT} | options)
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        return httpx.AsyncClient(transport=transport, base_url="http://test")


@pytest.fixture
def guard(hub: Hub) -> IdempotencyGuard:
    return IdempotencyGuard(hub, "api")


@pytest.fixture
def payments() -> Payments:
    return Payments()


def key(text: str) -> dict[str, str]:
    return {"Idempotency-Key": http_sf.ser(text)}


def problem(response: httpx.Response) -> tuple[int, str]:
    assert response.headers["Content-Type"] == "application/problem+json"
    assert response.json()["status"] == response.status_code and response.json()["detail"]
    assert int(response.headers["Content-Length"]) == len(response.content)
    return response.status_code, response.json()["title"]


async def test_a_replay_is_the_same_to_the_byte(payments: Payments, guard: IdempotencyGuard) -> None:
    async with payments(guard) as http:
        first, second = [await http.post("/pay?to=bob", content=b"10", headers=key("k")) for _ in range(2)]
        assert payments.done == 1 and first.content == second.content == b"\x00\xff paid 1: 10"
        assert first.status_code == second.status_code == 201
        own = {(b"date", b"now"), (b"ratelimit", b"own")}
        assert set(first.headers.raw) - own == set(second.headers.raw) - {(b"idempotent-replayed", b"true")}
        assert "Idempotent-Replayed" not in first.headers and second.headers["X-Word"] == "caf\u00e9"
        assert (await http.post("/pay?to=bob", content=b"10", headers=key("another"))).content.startswith(
            b"\x00\xff paid 2"
        )


@pytest.mark.parametrize(
    "other",
    [
        {"content": b"11"},
        {"url": "/pay?to=eve"},
        {"url": "/slowly?to=bob"},
        {"url": "/pay?to=bob1", "content": b"0"},
    ],
    ids=["body", "query", "path", "border"],
)
async def test_another_request_with_the_key(payments: Payments, guard: IdempotencyGuard, other: Any) -> None:
    async with payments(guard, documentation="https://example.com/keys") as http:
        request: dict[str, Any] = {"url": "/pay?to=bob", "content": b"10", "headers": key("k")}
        await http.post(**request)
        refused = await http.post(**request | other)
    assert problem(refused) == (422, "Idempotency-Key is already used")
    assert refused.json()["type"] == "https://example.com/keys" and payments.done == 1


async def test_a_request_in_progress(payments: Payments, guard: IdempotencyGuard) -> None:
    async with payments(guard) as http, payments(guard, wait=PATIENCE) as waiting:
        first = asyncio.create_task(http.post("/slowly", headers=key("k")))
        await payments.began.wait()
        conflict = await http.post("/slowly", headers=key("k"))
        assert problem(conflict)[0] == 409 and conflict.headers["Retry-After"] == "1"
        later = asyncio.create_task(waiting.post("/slowly", headers=key("k")))
        payments.may_end.set()
        assert (await first).content == (await later).content
    assert payments.done == 1


@pytest.mark.parametrize(
    "field",
    [
        "", "k", '"k', 'k"', '"k" "l"', '"k", "l"', '"k";a=1', "'k'", '"\\k"', '"\xe9"', '""', "5", "?1", ":aw==:",
        f'"{"x" * 256}"',
    ],
)  # fmt: skip
async def test_keys_that_are_none(payments: Payments, guard: IdempotencyGuard, field: str, raw_client: Any) -> None:
    async with payments(guard) as http:
        refused = await http.post("/pay", headers={"Idempotency-Key": field.encode("latin-1")})  # type: ignore[dict-item]
        twice = await http.post("/pay", headers=[("Idempotency-Key", '"k"'), ("Idempotency-Key", '"k"')])
    assert problem(refused) == problem(twice) == (400, "Idempotency-Key is malformed") and not payments.done
    assert not list(raw_client.scan_iter("*idempotency*"))


@given(text=st.text(st.characters(min_codepoint=32, max_codepoint=126), min_size=1, max_size=255))
def test_every_string_of_a_structured_field_is_a_key(text: str) -> None:
    middleware: Any = object.__new__(ASGIIdempotency)
    middleware._bare_keys = False
    assert middleware._key([http_sf.ser(text)]) == text
    middleware._bare_keys = True
    assert middleware._key([http_sf.ser(text)]) == text
    if not set(text) & set(' ",\\'):
        assert middleware._key([text]) == text


async def test_bare_keys(payments: Payments, guard: IdempotencyGuard) -> None:
    async with payments(guard, bare_keys=True) as http:
        uuid = "8e03978e-40d5-43e8-bc93-6894a57f9324"
        answers = [await http.post("/pay", headers={"Idempotency-Key": text}) for text in (uuid, f'"{uuid}"')]
        assert answers[0].content == answers[1].content and payments.done == 1
        assert problem(await http.post("/pay", headers={"Idempotency-Key": "a,b"}))[0] == 400


async def test_who_is_not_guarded(payments: Payments, guard: IdempotencyGuard) -> None:
    async def plain(request: Any) -> PlainTextResponse:
        payments.done += 1
        return PlainTextResponse("hello")

    app = Starlette(routes=[Route(path, plain, methods=["POST", "PUT"]) for path in ("/", "/exempt")])
    tenants = {b"a": "a"}
    app.add_middleware(
        ASGIIdempotency,
        guard=guard,
        tenant=lambda scope: tenants.get(dict(scope["headers"]).get(b"x-tenant", b"")),
        exempt=["/exempt"],
        required=True,
    )
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as http:
        tenant = {"X-Tenant": "a"}
        assert problem(await http.post("/", headers=tenant)) == (400, "Idempotency-Key is missing")
        for _ in range(2):
            assert (await http.post("/")).text == "hello", "no tenant"
            assert (await http.put("/", headers=tenant | key("k"))).text == "hello", "another method"
            assert (await http.post("/exempt", headers=tenant | key("k"))).text == "hello"
        assert payments.done == 6
        payments.done = 0
        assert [(await http.post("/", headers=tenant | key("k"))).text for _ in range(2)] == ["hello"] * 2
        assert payments.done == 1


async def test_tenants_do_not_see_each_others_responses(payments: Payments, guard: IdempotencyGuard) -> None:
    hostile = ["a", "b", "", "x" * 1000, "\ud800", "a:b", "{a}", "a\x00"]
    asked = iter(hostile * 2)
    async with payments(guard, tenant=lambda _: next(asked)) as http:
        bodies = [(await http.post("/pay", headers=key("k"))).content for _ in hostile * 2]
    assert len(set(bodies)) == len(hostile) and bodies[: len(hostile)] == bodies[len(hostile) :]


@pytest.mark.parametrize("status", [200, 302, 400, 402, 404, 409, 422, 500, 502])
async def test_statuses_that_are_results(payments: Payments, guard: IdempotencyGuard, status: int) -> None:
    payments.status = status
    async with payments(guard) as http:
        answers = [await http.post("/pay", headers=key("k")) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [status] * 2 and payments.done == 1


@pytest.mark.parametrize("status", [401, 408, 421, 425, 429, 503])
async def test_statuses_after_which_it_is_carried_out_again(
    payments: Payments, guard: IdempotencyGuard, status: int
) -> None:
    payments.status = status
    async with payments(guard) as http:
        assert [(await http.post("/pay", headers=key("k"))).status_code for _ in range(2)] == [status] * 2
        payments.status = 201
        assert [(await http.post("/pay", headers=key("k"))).status_code for _ in range(2)] == [201] * 2
    assert payments.unknown == [0, 0, 0], "those were not begun, and everybody knows"
    payments.status = 500
    async with payments(guard, is_result=lambda status: status < 500) as http:
        assert [(await http.post("/pay", headers=key("l"))).status_code for _ in range(2)] == [500] * 2
    assert payments.done == 5


async def test_an_exception_leaves_the_outcome_unknown(payments: Payments, guard: IdempotencyGuard) -> None:
    async with payments(guard) as http:
        assert [(await http.post("/fail", headers=key("k"))).status_code for _ in range(3)] == [500] * 3
    assert payments.unknown == [0, 1, 2]


async def test_a_cancelled_request_leaves_the_outcome_unknown(payments: Payments, guard: IdempotencyGuard) -> None:
    async with payments(guard) as http:
        first = asyncio.create_task(http.post("/slowly", headers=key("k")))
        await payments.began.wait()
        first.cancel()
        await asyncio.wait({first})
        payments.may_end.set()
        assert (await http.post("/slowly", headers=key("k"))).status_code == 201
    assert payments.unknown == [1]


async def test_responses_in_parts(payments: Payments, guard: IdempotencyGuard) -> None:
    async with payments(guard) as http:
        bodies = [(await http.post("/stream?parts=100", headers=key("k"))).content for _ in range(2)]
    assert bodies[0] == bodies[1] == b"".join(b"part %d\n" % n for n in range(100)) and payments.done == 1


@pytest.mark.parametrize("query", ["parts=100", "parts=1&type=text/event-stream"])
async def test_responses_that_are_not_kept(payments: Payments, guard: IdempotencyGuard, query: str) -> None:
    async with payments(guard, max_response=100) as http:
        first, second = [await http.post(f"/stream?{query}", headers=key("k")) for _ in range(2)]
        assert first.status_code == 200 and first.content.startswith(b"part 0\n")
        assert len(first.content.splitlines()) == (100 if "100" in query else 1)
        assert problem(second) == (409, "The response was not kept") and "Retry-After" not in second.headers
    assert payments.done == 1


async def test_what_is_too_large_passes_while_it_is_made(guard: IdempotencyGuard) -> None:
    """The first messages are sent when they are too many; the last one when it is known that it was done."""
    sent: list[Any] = []
    seen: list[int] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200})
        for _ in range(3):
            await send({"type": "http.response.body", "body": b"x" * 40, "more_body": True})
            seen.append(len(sent))
        await send({"type": "http.response.body", "body": b""})
        seen.append(len(sent))

    await call(ASGIIdempotency(app, guard, tenant=lambda _: TENANT, max_response=100), sent)
    assert seen == [0, 0, 4, 5] == [0, 0, 4, len(sent)]


async def call(app: Any, sent: list[Any], messages: Any = ({"type": "http.request"},)) -> None:
    """One request, by ASGI's own messages."""
    waiting = iter([*messages, {"type": "http.disconnect"}])

    async def receive() -> Any:
        return next(waiting)

    async def send(message: Any) -> None:
        sent.append(message)

    headers = [(b"idempotency-key", b'"k"')]
    extensions = {"http.response.pathsend": {}, "tls": {}}
    await app(
        {"type": "http", "method": "POST", "path": "/", "headers": headers, "extensions": extensions}, receive, send
    )


async def test_bodies_in_parts_too_large_and_cut_off(guard: IdempotencyGuard) -> None:
    bodies: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        bodies.append([await receive(), await receive()])
        assert scope["extensions"] == {"tls": {}}, "a file that the server sends could not be kept"
        await send({"type": "http.response.start", "status": 200})
        await send({"type": "http.response.body", "body": b"done"})

    middleware = ASGIIdempotency(app, guard, tenant=lambda _: TENANT, max_request=6)
    parts = [{"type": "http.request", "body": b"abc", "more_body": True}, {"type": "http.request", "body": b"def"}]
    cut: list[Any] = []
    await call(middleware, cut, parts[:1])
    assert not cut and not bodies
    large: list[Any] = []
    await call(middleware, large, [parts[0], parts[0], parts[0]])
    assert large[0]["status"] == 413 and not bodies
    sent: list[Any] = []
    await call(middleware, sent, parts)
    assert bodies == [[{"type": "http.request", "body": b"abcdef", "more_body": False}, {"type": "http.disconnect"}]]
    assert [message["type"] for message in sent] == ["http.response.start", "http.response.body"]
    assert sent[0]["status"] == 200 and sent[1]["body"] == b"done"


async def test_an_answer_that_ends_in_the_middle(guard: IdempotencyGuard) -> None:
    unknown = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        unknown.append(scope["riskscale.idempotency"].unknown)
        await send({"type": "http.response.start", "status": 200})

    middleware = ASGIIdempotency(app, guard, tenant=lambda _: TENANT)
    for _ in range(2):
        sent: list[Any] = []
        await call(middleware, sent)
        assert [message["type"] for message in sent] == ["http.response.start"]
    assert unknown == [0, 1]


async def test_the_application_may_end_its_claim_itself(guard: IdempotencyGuard) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await scope["riskscale.idempotency"].abandon()
        await send({"type": "http.response.start", "status": 200})
        await send({"type": "http.response.body", "body": b"nothing done"})

    middleware = ASGIIdempotency(app, guard, tenant=lambda _: TENANT)
    for _ in range(2):
        sent: list[Any] = []
        await call(middleware, sent)
        assert sent[-1]["body"] == b"nothing done"


@pytest.mark.parametrize("kept", [b"", b"receipt", b"[200]\n", b"[200,[]]", b'{"a":1,"b":2}\n'])
async def test_a_result_that_is_no_response(guard: IdempotencyGuard, payments: Payments, kept: bytes) -> None:
    """The application, or another user of the same guard, has completed the claim itself."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await scope["riskscale.idempotency"].complete(kept)
        await send({"type": "http.response.start", "status": 200})
        await send({"type": "http.response.body", "body": b"done"})

    first, second = [], []  # type: ignore[var-annotated]
    for sent in (first, second):
        await call(ASGIIdempotency(app, guard, tenant=lambda _: TENANT), sent)
    assert first[-1]["body"] == b"done"
    assert second[0]["status"] == 409 and b"not kept" in second[1]["body"]


@pytest.mark.parametrize("fails", [False, True])
async def test_what_follows_a_response_does_not_hold_it_back(guard: IdempotencyGuard, fails: bool) -> None:
    """Such as Starlette's background tasks: the response is the client's, whatever becomes of them."""
    sent: list[Any] = []
    seen = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 201})
        await send({"type": "http.response.body", "body": b"done"})
        seen.append(len(sent))
        if fails:
            raise OSError("in the background")

    middleware = ASGIIdempotency(app, guard, tenant=lambda _: TENANT)
    if fails:
        with pytest.raises(OSError, match="in the background"):
            await call(middleware, sent)
    else:
        await call(middleware, sent)
    assert seen == [2] == [len(sent)]
    await call(middleware, sent)
    assert sent[2]["status"] == 201 and sent[3]["body"] == b"done" and len(seen) == 1


async def test_header_fields_that_can_be_read_once(guard: IdempotencyGuard) -> None:
    """ASGI has them as an iterable."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        fields = [(b"location", b"/payments/1"), (b"set-cookie", b"a=1"), (b"set-cookie", b"b=2")]
        await send({"type": "http.response.start", "status": 201, "headers": iter(fields)})
        await send({"type": "http.response.body", "body": b"done"})

    first, second = [], []  # type: ignore[var-annotated]
    for sent in (first, second):
        await call(ASGIIdempotency(app, guard, tenant=lambda _: TENANT), sent)
    fields = [(b"location", b"/payments/1"), (b"set-cookie", b"a=1"), (b"set-cookie", b"b=2")]
    assert list(first[0]["headers"]) == fields
    assert second[0]["headers"] == [*fields, (b"idempotent-replayed", b"true")]


async def test_what_fails_after_the_work_leaves_the_outcome_unknown(guard: IdempotencyGuard, caplog: Any) -> None:
    """The application has done it, and its client has the response: nobody may take it for not begun."""
    unknown = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        unknown.append(scope["riskscale.idempotency"].unknown)
        await send({"type": "http.response.start", "status": 201})
        await send({"type": "http.response.body", "body": b"done"})

    def is_result(status: int) -> bool:
        raise LookupError(status)

    for _ in range(2):
        sent: list[Any] = []
        await call(ASGIIdempotency(app, guard, tenant=lambda _: TENANT, is_result=is_result), sent)
        assert sent[-1]["body"] == b"done" and "a response is not kept: LookupError" in caplog.text
    assert unknown == [0, 1]


async def test_who_was_taken_over_does_not_answer(hub: Hub, guard: IdempotencyGuard, raw_client: Any) -> None:
    """Its response would not be the one that is repeated."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        (record,) = raw_client.scan_iter(f"{hub.root}:*:idempotency:*")
        raw_client.hset(record, "token", "another")
        await send({"type": "http.response.start", "status": 200})
        await send({"type": "http.response.body", "body": b"mine"})

    sent: list[Any] = []
    await call(ASGIIdempotency(app, guard, tenant=lambda _: TENANT), sent)
    assert sent[0]["status"] == 409 and b"in progress" in sent[1]["body"]


async def test_done_and_the_server_is_gone(hub: Hub, guard: IdempotencyGuard, monkeypatch: Any, caplog: Any) -> None:
    """The client has its answer; whoever repeats it takes over when the lease has ended."""

    async def evalsha(*args: Any) -> Any:
        raise redis.ConnectionError("gone")

    async def app(scope: Any, receive: Any, send: Any) -> None:
        monkeypatch.setattr(hub.client, "evalsha", evalsha)
        await send({"type": "http.response.start", "status": 200})
        await send({"type": "http.response.body", "body": b"done"})

    sent: list[Any] = []
    with caplog.at_level(logging.WARNING):
        await call(ASGIIdempotency(app, guard, tenant=lambda _: TENANT), sent)
    assert sent[-1]["body"] == b"done" and "a response is not kept: ConnectionError" in caplog.text
    with pytest.raises(redis.ConnectionError):
        await call(ASGIIdempotency(app, guard, tenant=lambda _: TENANT), sent)
    assert len(sent) == 2, "without an answer of the server nothing is carried out"


async def test_what_is_no_request_passes(guard: IdempotencyGuard) -> None:
    called = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        called.append(scope["type"])

    middleware = ASGIIdempotency(app, guard, tenant=lambda _: TENANT)
    for kind in ("lifespan", "websocket"):
        await middleware({"type": kind, "headers": [(b"idempotency-key", b'"k"')]}, None, None)  # type: ignore[arg-type]
    assert called == ["lifespan", "websocket"]


@given(
    status=st.integers(100, 999),
    headers=st.lists(st.tuples(st.text("ab-", min_size=1), st.text(st.characters(max_codepoint=255)))),
    body=st.binary(),
)
def test_an_answer_is_unpacked_as_it_was_packed(status: int, headers: Any, body: bytes) -> None:
    answer = Answer(status, [*headers, ("x", "\n")], body)
    assert Answer.unpacked(answer.packed()) == answer
    assert answer.line.startswith(f"{status} ")


def test_wsgi(sync_hub: riskscale.sync.Hub) -> None:
    done: list[bytes] = []
    status = ["201 Made"]

    def pay(environ: Any, start_response: Any) -> Any:
        done.append(environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"])))
        assert environ["riskscale.idempotency"].unknown == (environ["PATH_INFO"] == "/fail" and len(done) > 1)
        if environ["PATH_INFO"] == "/fail":
            raise OSError("in the middle")
        start_response(status[0], [("Content-Type", "text/plain"), ("X-Number", str(len(done)))])
        yield b"paid "
        yield done[-1]

    guard = riskscale.sync.IdempotencyGuard(sync_hub, "api")
    options: dict[str, Any] = {"max_request": 10, "required": True}
    app = validator(WSGIIdempotency(pay, guard, tenant=lambda _: TENANT, **options))

    def post(key: str | None, content: bytes = b"10", path: str = "/") -> tuple[str, dict[str, str], bytes]:
        environ: dict[str, Any] = {"REQUEST_METHOD": "POST", "PATH_INFO": path, "QUERY_STRING": "", "SCRIPT_NAME": ""}
        environ |= {"wsgi.input": BytesIO(content), "CONTENT_LENGTH": str(len(content)), "CONTENT_TYPE": "text/plain"}
        environ |= {} if key is None else {"HTTP_IDEMPOTENCY_KEY": key}
        setup_testing_defaults(environ)
        seen: list[Any] = []
        body = app(environ, lambda *started: seen.append(started) or (lambda data: None))  # type: ignore[func-returns-value,arg-type]
        content = b"".join(body)
        body.close()  # type: ignore[attr-defined]
        return seen[0][0], dict(seen[0][1]), content

    first, second = post('"k"'), post('"k"')
    assert first == ("201 Made", {"Content-Type": "text/plain", "X-Number": "1"}, b"paid 10")
    assert second == ("201 Created", first[1] | {"Idempotent-Replayed": "true"}, first[2]) and len(done) == 1
    for expected, call in [
        (400, (None,)), (400, ("k",)), (413, ('"l"', b"x" * 11)), (422, ('"k"', b"11")),
    ]:  # fmt: skip
        line, headers, body = post(*call)
        assert line.startswith(str(expected)) and headers["Content-Type"] == "application/problem+json"
        assert json.loads(body)["status"] == expected
    status[0] = "503 Service Unavailable"
    assert [post('"m"')[0] for _ in range(2)] == status * 2 and len(done) == 3
    done.clear()
    for _ in range(2):
        with pytest.raises(OSError, match="in the middle"):
            post('"fails"', path="/fail")


def wsgi_environ(content: bytes = b"10", **environ: Any) -> dict[str, Any]:
    environ = {
        "REQUEST_METHOD": "POST", "PATH_INFO": "/", "QUERY_STRING": "", "SCRIPT_NAME": "", "CONTENT_TYPE": "text/plain",
        "HTTP_IDEMPOTENCY_KEY": '"k"', "wsgi.input": BytesIO(content), "CONTENT_LENGTH": str(len(content)),
    } | environ  # fmt: skip
    setup_testing_defaults(environ)
    return environ


def wsgi_call(app: Any, content: bytes = b"10", **environ: Any) -> tuple[str, dict[str, str], bytes]:
    """One request, by WSGI's own words."""
    seen: list[Any] = []
    body = app(wsgi_environ(content, **environ), lambda *started: seen.append(started))
    whole = b"".join(body)
    getattr(body, "close", lambda: None)()
    return seen[0][0], dict(seen[0][1]), whole


@pytest.mark.parametrize("terminated", [False, True])
def test_wsgi_a_body_that_was_cut_off(sync_hub: riskscale.sync.Hub, raw_client: Any, terminated: bool) -> None:
    """A server gives what has come; to the application it would look whole."""
    done = []

    def pay(environ: Any, start_response: Any) -> Any:
        done.append(environ["wsgi.input"].read())
        start_response("201 Created", [])
        return [b"paid"]

    app = WSGIIdempotency(pay, riskscale.sync.IdempotencyGuard(sync_hub, "api"), tenant=lambda _: TENANT)
    more = {"wsgi.input_terminated": True} if terminated else {}
    line, headers, _ = wsgi_call(app, b"1", CONTENT_LENGTH="4", **more)
    assert line.startswith("400 ") and headers["Content-Type"] == "application/problem+json"
    assert not done and not list(raw_client.scan_iter("*idempotency*"))
    assert wsgi_call(app, b"1000", **more)[2] == b"paid" and done == [b"1000"]


@pytest.mark.parametrize("fails", [False, True])
def test_wsgi_what_follows_a_response_does_not_hold_it_back(sync_hub: riskscale.sync.Hub, fails: bool) -> None:
    """Such as Flask's ``call_on_close``: the response is the client's, whatever becomes of it."""
    order: list[str] = []

    class Body(list[bytes]):
        def close(self) -> None:
            order.append("closed")
            if fails:
                raise OSError("afterwards")

    def pay(environ: Any, start_response: Any) -> Any:
        order.append("done")
        start_response("201 Created", [])
        return Body([b"pa", b"id"])

    app = WSGIIdempotency(pay, riskscale.sync.IdempotencyGuard(sync_hub, "api"), tenant=lambda _: TENANT)
    environ = wsgi_environ()
    body: Any = app(environ, lambda status, headers, error=None: order.append(status))  # type: ignore[arg-type,misc]
    assert b"".join(body) == b"paid" and order == ["done", "201 Created"]
    if fails:
        with pytest.raises(OSError, match="afterwards"):
            body.close()
    else:
        body.close()
    assert order == ["done", "201 Created", "closed"]
    assert wsgi_call(app)[1] == {"Idempotent-Replayed": "true"} and order[3:] == []


@pytest.mark.parametrize("fails", ["begin", "middle", "no status"])
def test_wsgi_a_response_that_fails_is_closed(sync_hub: riskscale.sync.Hub, fails: str) -> None:
    closed = []

    class Body:
        def __iter__(self) -> Any:
            yield b"half"
            if fails == "middle":
                raise OSError(fails)

        def close(self) -> None:
            closed.append(fails)

    def pay(environ: Any, start_response: Any) -> Any:
        if fails == "begin":
            raise OSError(fails)
        if fails == "middle":
            start_response("201 Created", [])
        return Body()

    app = WSGIIdempotency(pay, riskscale.sync.IdempotencyGuard(sync_hub, "api"), tenant=lambda _: TENANT)
    with pytest.raises((OSError, ValueError)):
        wsgi_call(app)
    assert closed == ([] if fails == "begin" else [fails])


def test_wsgi_who_was_taken_over_does_not_answer(sync_hub: riskscale.sync.Hub, raw_client: Any) -> None:
    closed = []

    class Body(list[bytes]):
        def close(self) -> None:
            closed.append(1)

    def pay(environ: Any, start_response: Any) -> Any:
        (record,) = raw_client.scan_iter(f"{sync_hub.root}:*:idempotency:*")
        raw_client.hset(record, "token", "another")
        start_response("201 Created", [])
        return Body([b"mine"])

    app = WSGIIdempotency(pay, riskscale.sync.IdempotencyGuard(sync_hub, "api"), tenant=lambda _: TENANT)
    line, headers, body = wsgi_call(app)
    assert line.startswith("409 ") and headers["Retry-After"] == "1" and b"in progress" in body and closed == [1]


def test_wsgi_a_method_as_an_application_reads_it(sync_hub: riskscale.sync.Hub) -> None:
    """Some take ``post`` for POST."""
    done = []

    def pay(environ: Any, start_response: Any) -> Any:
        done.append(environ["REQUEST_METHOD"])
        start_response("201 Created", [])
        return [b"paid"]

    app = WSGIIdempotency(pay, riskscale.sync.IdempotencyGuard(sync_hub, "api"), tenant=lambda _: TENANT)
    assert [wsgi_call(app, REQUEST_METHOD="post")[2] for _ in range(2)] == [b"paid"] * 2 and done == ["post"]


def test_wsgi_what_fails_after_the_work_leaves_the_outcome_unknown(sync_hub: riskscale.sync.Hub) -> None:
    unknown = []

    def pay(environ: Any, start_response: Any) -> Any:
        unknown.append(environ["riskscale.idempotency"].unknown)
        start_response("201 Created", [])
        return [b"paid"]

    def is_result(status: int) -> bool:
        raise LookupError(status)

    guard = riskscale.sync.IdempotencyGuard(sync_hub, "api")
    app = WSGIIdempotency(pay, guard, tenant=lambda _: TENANT, is_result=is_result)
    assert [wsgi_call(app)[2] for _ in range(2)] == [b"paid"] * 2
    assert unknown == [0, 1]


@pytest.mark.parametrize("late", [False, True])
def test_wsgi_an_error_page_in_place_of_the_response(sync_hub: riskscale.sync.Hub, late: bool) -> None:
    """By start_response's third argument: nothing was sent yet, or, in the middle of a body, it is raised again."""
    unknown = []

    def pay(environ: Any, start_response: Any) -> Any:
        unknown.append(environ["riskscale.idempotency"].unknown)
        try:
            start_response("201 Created", [])
            if late:
                yield b"half of"
            raise OSError("in the middle")
        except OSError:
            start_response("500 Failed", [], sys.exc_info())
            yield b"failed"

    app = WSGIIdempotency(pay, riskscale.sync.IdempotencyGuard(sync_hub, "api"), tenant=lambda _: TENANT)
    for _ in range(2):
        if late:
            with pytest.raises(OSError, match="in the middle"):
                wsgi_call(app)
        else:
            line, _, body = wsgi_call(app)
            assert line.startswith("500 ") and body == b"failed"
    assert unknown == ([0, 1] if late else [0])


@pytest.mark.parametrize(
    "options",
    [
        {"tenant": "a"}, {"tenant": None}, {"methods": "POST"}, {"exempt": "/"}, {"wait": -1}, {"fingerprint": 5},
        {"is_result": 5}, {"max_request": -1}, {"guard": None},
    ],
)  # fmt: skip
def test_bad_arguments(hub: Hub, sync_hub: riskscale.sync.Hub, options: dict[str, Any]) -> None:
    (argument,) = options
    for middleware, guard in [
        (ASGIIdempotency, IdempotencyGuard(hub)),
        (WSGIIdempotency, riskscale.sync.IdempotencyGuard(sync_hub)),
    ]:
        with pytest.raises(ArgumentError) as caught:
            middleware(Starlette(), **{"guard": guard, "tenant": lambda _: "a"} | options)
        assert caught.value.argument == argument
