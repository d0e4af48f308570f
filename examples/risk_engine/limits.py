"""A request's size is bounded before anything reads it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from starlette.datastructures import Headers

from risk_engine.errors import Failure, FailureClass
from risk_engine.problems import problem
from risk_engine.tenants import tenant_or_none

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[MutableMapping[str, Any], Receive, Send], Awaitable[None]]

TOO_LARGE = Failure(FailureClass.VALIDATION_ERROR, 413, "the body is too large")


class BodyLimit:
    """ASGI middleware: 413 for a body of more than ``most`` bytes, announced or not. It reads the body as a whole."""

    def __init__(self, app: App, most: int) -> None:
        self._app, self._most = app, most

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] in ("GET", "HEAD", "OPTIONS", "DELETE"):
            await self._app(scope, receive, send)
            return
        announced = next((value for name, value in scope["headers"] if name == b"content-length"), b"0")
        body, more = b"", announced.isdigit() and int(announced[:20]) <= self._most
        refused = not more
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            body += message.get("body", b"")
            more = message.get("more_body", False)
            if len(body) > self._most:
                refused, more = True, False
        if refused:
            errors = [{"field": "body", "message": f"must be {self._most} bytes at the most"}]
            response = problem(TOO_LARGE, tenant_or_none(Headers(scope=scope)), errors=errors)
            response.headers["Connection"] = "close"
            await response(scope, receive, send)
            return
        whole: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

        async def replayed() -> Message:
            return whole.pop() if whole else await receive()

        await self._app(scope, replayed, send)
