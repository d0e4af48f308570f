"""The ``Idempotency-Key`` header field as ASGI middleware; it needs no framework."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterable
from functools import partial

from riskscale._core.durations import Duration
from riskscale.errors import ArgumentError, LeaseLost
from riskscale.http._idempotency import CLAIM, Answer, BaseIdempotency, Refusal
from riskscale.http.address import bounded
from riskscale.http.asgi import App, Message, Receive, Scope, Send, encoded
from riskscale.idempotency import Claim, IdempotencyGuard

log = logging.getLogger("riskscale.http")


class ASGIIdempotency(BaseIdempotency):
    """Middleware: a request that carries an ``Idempotency-Key`` is carried out once, and its response is everybody's.

    ::

        app = ASGIIdempotency(app, guard, tenant=lambda scope: scope["user"].account)
        app.add_middleware(ASGIIdempotency, guard=guard, tenant=account_of)  # Starlette, FastAPI

    Args:
        app: the ASGI application.
        guard: keeps the responses.
        tenant: of a scope: whose keys they are, by who was authenticated: a response is given to everybody of that
            tenant who sends its key. None: the request is not guarded.
        methods: those that are guarded.
        exempt: paths that are not, such as those that answer with streams without end.
        required: whether a request without the field gets 400.
        bare_keys: whether keys without quotes are taken too, as many clients send them. The draft has it quoted.
        wait: seconds to wait for a request in progress with the same key, before 409.
        fingerprint: of a scope and body: what tells requests apart. Default: method, path, query and body.
        is_result: of a status: whether the response is kept. Default: all but 401, 408, 421, 425, 429 and 503, after
            which the same request is carried out again.
        max_request: bytes of a body that is guarded; 413 above.
        max_response: bytes of a response that is held back until it is kept; a larger one, and ``text/event-stream``,
            passes through and is not kept. None: what ``guard`` keeps in Redis.
        documentation: a URI that explains the keys and how long they are known, the ``type`` of problem documents.

    Raises:
        ArgumentError: an argument is malformed.

    400: the field is absent or malformed; 409: the request is in progress, or its response was not kept; 422: the key
    was used for another request; as problem documents (RFC 9457). The application finds its :class:`riskscale.Claim`
    as ``scope["riskscale.idempotency"]``: ``unknown`` says whether an earlier attempt may have done the work.
    """

    def __init__(
        self,
        app: App,
        guard: IdempotencyGuard,
        *,
        tenant: Callable[[Scope], str | None],
        methods: Iterable[str] = ("POST", "PATCH"),
        exempt: Iterable[str] = (),
        required: bool = False,
        bare_keys: bool = False,
        wait: Duration = 0,
        fingerprint: Callable[[Scope, bytes], str | bytes] | None = None,
        is_result: Callable[[int], bool] | None = None,
        max_request: int = 1_048_576,
        max_response: int | None = None,
        documentation: str = "about:blank",
    ) -> None:
        if not isinstance(guard, IdempotencyGuard):
            raise ArgumentError("guard", "must be a riskscale.IdempotencyGuard")
        self._app, self._guard = app, guard
        super().__init__(
            guard, tenant, methods, exempt, required, bare_keys, wait, fingerprint, is_result, max_request,
            max_response, documentation,
        )  # fmt: skip

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        tenant = None
        if scope["type"] == "http":
            fields = [value.decode("latin-1") for name, value in scope["headers"] if name == b"idempotency-key"]
            if self._is_guarded(scope["method"], scope["path"], fields):
                tenant = self._tenant(scope)
        if tenant is None:
            await self._app(scope, receive, send)
            return
        try:
            key, body = self._key(fields), await self._body(receive)
        except Refusal as refusal:
            await _answer(send, refusal.answer)
            return
        if body is None:  # the client has gone
            return
        target = scope["path"].encode(errors="surrogatepass"), scope.get("query_string", b"")
        request = self._request(scope, scope["method"], target, body)
        begun = await self._guard.begin(bounded(tenant), key, request, wait=self._wait)
        if isinstance(begun, Claim):
            await self._carry_out(begun, scope, _again(body, receive), send)
        else:
            await _answer(send, self._answer(begun))

    async def _carry_out(self, claim: Claim, scope: Scope, receive: Receive, send: Send) -> None:
        held, returned = _Held(send, self._max_response, partial(self._answered, claim)), False
        extensions = {name: of for name, of in (scope.get("extensions") or {}).items() if "http.response" not in name}
        try:
            async with claim:
                claim._attempt.left = "unknown"  # unless somebody says otherwise, nobody knows what it has done
                await self._app({**scope, "extensions": extensions, CLAIM: claim}, receive, held)
                returned = True
        except Exception as error:
            if not returned:
                raise
            log.warning("a response is not kept: %s", type(error).__name__)
        await held.let_go()

    async def _answered(self, claim: Claim, held: _Held) -> None:
        """The response is whole. What the application does yet does not hold it back."""
        try:
            await self._keep(claim, held)
        except Exception as error:
            if isinstance(error, LeaseLost) and not held.passes:  # another's response is the one that is kept
                await held.let_go(self._in_progress())
                return
            log.warning("a response is not kept: %s", type(error).__name__)
        await held.let_go()

    async def _keep(self, claim: Claim, held: _Held) -> None:
        if claim.released_at is not None:  # by the application
            return
        if not self._is_result(held.status):
            await claim.abandon()
        elif held.passes:
            await claim.complete(None)
        else:
            await claim.complete(held.answer().packed(), strict=False)

    async def _body(self, receive: Receive) -> bytes | None:
        body = bytearray()
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                return None
            body += message.get("body", b"")
            if len(body) > self._max_request:
                raise self._too_large()
            if not message.get("more_body", False):
                return bytes(body)


class _Held:
    """What the application sends, held back until its result is kept; of what is too large, the last message."""

    def __init__(self, send: Send, most: int, answered: Callable[[_Held], Awaitable[None]]) -> None:
        self.passes = self._is_whole = False
        self._send, self._most, self._answered = send, most, answered
        self._messages: list[Message] = []
        self._start: Message = {}
        self._size = 0

    async def __call__(self, message: Message) -> None:
        if self._is_whole:  # one too many, which the server will say
            await self._send(message)
            return
        if message["type"] == "http.response.start":
            fields = [*message.get("headers", ())]  # an iterable, and all that follows reads them anew
            message = self._start = {**message, "headers": fields}
            kind = {name.lower(): value for name, value in fields}.get(b"content-type", b"")
            self.passes = kind.lower().startswith(b"text/event-stream")
        self._messages.append(message)
        self._size += len(message.get("body", b""))
        self._is_whole = message["type"] == "http.response.body" and not message.get("more_body", False)
        self.passes = self.passes or self._size > self._most
        if self._is_whole:
            await self._answered(self)
        elif self.passes:
            await self.let_go()

    @property
    def status(self) -> int:
        """Of the response."""
        return int(self._start["status"])

    def answer(self) -> Answer:
        """The whole of it."""
        headers = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in self._start["headers"]]
        return Answer(self.status, headers, b"".join(message.get("body", b"") for message in self._messages))

    async def let_go(self, instead: Answer | None = None) -> None:
        """Send what is held, or another answer in its place."""
        messages, self._messages = self._messages, []
        if instead is not None:
            await _answer(self._send, instead)
            return
        for message in messages:
            await self._send(message)


def _again(body: bytes, receive: Receive) -> Receive:
    """The request's body once more, and then what comes after it."""
    messages: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def again() -> Message:
        return messages.pop() if messages else await receive()

    return again


async def _answer(send: Send, answer: Answer) -> None:
    headers = encoded(answer.headers)
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    await send({"type": "http.response.body", "body": answer.body})
