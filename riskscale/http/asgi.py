"""A rate limit as ASGI middleware; it needs no framework."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any

from riskscale.http._gate import Gate
from riskscale.http.address import Proxies
from riskscale.http.headers import Headers
from riskscale.rate.limiter import Limiter
from riskscale.rate.multi import MultiRateLimiter

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

TRY_AGAIN_LATER = 1013


class ASGILimit(Gate[Scope, Limiter[Any, Any]]):
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
        super().__init__(limiter, Limiter, MultiRateLimiter, key, cost, exempt, proxies)
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        asks = self._asks(scope["path"], scope) if scope["type"] in ("http", "websocket") else None
        if asks is None:
            await self._app(scope, receive, send)
            return
        decision = await self._limiter.hit(*asks)
        headers = self._headers(decision)
        if decision.allowed:
            await self._app(scope, receive, _telling(send, headers))
        elif scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.close", "code": TRY_AGAIN_LATER})
        else:
            more, body = self._refusal(decision)
            await send({"type": "http.response.start", "status": 429, "headers": encoded([*headers, *more])})
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
