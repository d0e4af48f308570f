"""A rate limit as ASGI middleware; it needs no framework."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any

from riskscale.errors import ArgumentError
from riskscale.http.address import Proxies, bounded
from riskscale.http.headers import PROBLEM, Headers, decision_headers, policy_headers, problem
from riskscale.rate.calls import check_cost
from riskscale.rate.limiter import Limiter
from riskscale.rate.multi import MultiRateLimiter

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

TRY_AGAIN_LATER = 1013


class ASGILimit:
    """Middleware: asks the limiter before the application is called, and tells the client in the header fields.

    ::

        app = ASGILimit(app, limiter, proxies=Proxies(["10.0.0.0/8"]))
        app.add_middleware(ASGILimit, limiter=limiter)  # Starlette, FastAPI

    Args:
        app: the ASGI application.
        limiter: a :class:`riskscale.RateLimiter` or :class:`riskscale.MultiRateLimiter`; its ``on_error`` says what
            happens while the server is gone.
        key: of a scope: whose request it is, as the limiter takes it (a MultiRateLimiter: a mapping of keys); None: it
            is not limited. Default: the client's address. A very long one, or no UTF-8, becomes its digest.
        cost: units of a request; a number, or a callable of the scope.
        exempt: paths that are never limited, such as those of health checks.
        proxies: who may say which address a request came from.

    Raises:
        ArgumentError: an argument is malformed.

    A refused request gets 429 with a problem document (RFC 9457); a refused WebSocket is closed before it opens.
    """

    def __init__(
        self,
        app: App,
        limiter: Limiter[Any, Any],
        *,
        key: Callable[[Scope], Any] | None = None,
        cost: int | Callable[[Scope], int] = 1,
        exempt: Iterable[str] = (),
        proxies: Proxies | None = None,
    ) -> None:
        if isinstance(exempt, str):
            raise ArgumentError("exempt", "must be several paths, not one text")
        if key is not None and not callable(key):
            raise ArgumentError("key", "must be a callable of the scope")
        if not callable(cost):
            check_cost(cost)
        if key is None and isinstance(limiter, MultiRateLimiter):
            raise ArgumentError("key", "must give the keys of each limiter, where there are several")
        self._app, self._limiter = app, limiter
        self._key, self._cost = key or self._address, cost
        self._exempt, self._proxies = frozenset(exempt), proxies or Proxies()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket") or scope["path"] in self._exempt:
            await self._app(scope, receive, send)
            return
        key = self._key(scope)
        if key is None:
            await self._app(scope, receive, send)
            return
        decision = await self._limiter.hit(bounded(key), self._cost(scope) if callable(self._cost) else self._cost)
        name, _ = self._limiter.policy_of(decision)
        headers = [*policy_headers(tuple(self._limiter.policies_of(decision))), *decision_headers(name, decision)]
        if decision.allowed:
            await self._app(scope, receive, _telling(send, headers))
        elif scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.close", "code": TRY_AGAIN_LATER})
        else:
            body = problem(name, decision)
            headers += [("Content-Type", PROBLEM), ("Content-Length", str(len(body)))]
            await send({"type": "http.response.start", "status": 429, "headers": encoded(headers)})
            await send({"type": "http.response.body", "body": body})

    def _address(self, scope: Scope) -> str:
        peer = (scope.get("client") or ("",))[0]
        forwarded = (value.decode("latin-1") for name, value in scope["headers"] if name == b"x-forwarded-for")
        return self._proxies.client(peer, forwarded) or "unknown"


def encoded(headers: Headers) -> list[tuple[bytes, bytes]]:
    """As ASGI has header fields."""
    return [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers]


def _telling(send: Send, headers: Headers) -> Send:
    async def telling(message: Message) -> None:
        if message["type"] in ("http.response.start", "websocket.accept"):
            message["headers"] = [*message.get("headers", ()), *encoded(headers)]
        await send(message)

    return telling
