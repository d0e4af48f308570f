"""A rate limit as WSGI middleware."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from riskscale.http._gate import Gate
from riskscale.http.address import Proxies
from riskscale.sync.rate import Limiter, MultiRateLimiter

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment


class WSGILimit(Gate["WSGIEnvironment", Limiter[Any, Any]]):
    """Middleware: asks the limiter before the application is called; see :class:`riskscale.http.ASGILimit`.

    Args:
        app: the WSGI application.
        limiter: a :class:`riskscale.sync.RateLimiter` or :class:`riskscale.sync.MultiRateLimiter`.
        key: of an environ: whose request it is, as the limiter takes it; None: it is not limited. Default: the client's
            address. One that is very long, or no UTF-8, is replaced by its digest.
        cost: units of a request; a number, or a callable of the environ.
        exempt: paths that are never limited.
        proxies: who may say which address a request came from.

    Raises:
        ArgumentError: an argument is malformed.
    """

    def __init__(
        self,
        app: WSGIApplication,
        limiter: Limiter[Any, Any],
        *,
        key: Callable[[WSGIEnvironment], Any] | None = None,
        cost: int | Callable[[WSGIEnvironment], int] = 1,
        exempt: Iterable[str] = (),
        proxies: Proxies | None = None,
    ) -> None:
        super().__init__(limiter, Limiter, MultiRateLimiter, key, cost, exempt, proxies)
        self._app = app

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        path = environ.get("SCRIPT_NAME", "") + environ.get("PATH_INFO", "")
        asks = self._asks(path, environ)
        if asks is None:
            return self._app(environ, start_response)
        decision = self._limiter.hit(*asks)
        headers = self._headers(decision)
        if decision.allowed:

            def telling(status: str, own: list[tuple[str, str]], *error: Any) -> Any:
                return start_response(status, [*own, *headers], *error)

            return self._app(environ, telling)
        more, body = self._refusal(decision)
        start_response("429 Too Many Requests", [*headers, *more])
        return [body]

    def _address(self, environ: WSGIEnvironment) -> str:
        forwarded = environ.get("HTTP_X_FORWARDED_FOR", "")
        return self._proxies.client(environ.get("REMOTE_ADDR", ""), [forwarded] if forwarded else []) or "unknown"
