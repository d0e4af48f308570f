"""A rate limit as WSGI middleware."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from riskscale.errors import ArgumentError
from riskscale.http.address import Proxies, bounded
from riskscale.http.headers import PROBLEM, decision_headers, policy_headers, problem
from riskscale.rate.calls import check_cost
from riskscale.sync.rate import Limiter, MultiRateLimiter

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment


class WSGILimit:
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
        if isinstance(exempt, str):
            raise ArgumentError("exempt", "must be several paths, not one text")
        if key is not None and not callable(key):
            raise ArgumentError("key", "must be a callable of the environ")
        if not callable(cost):
            check_cost(cost)
        if key is None and isinstance(limiter, MultiRateLimiter):
            raise ArgumentError("key", "must give the keys of each limiter, where there are several")
        self._app, self._limiter = app, limiter
        self._key, self._cost = key or self._address, cost
        self._exempt, self._proxies = frozenset(exempt), proxies or Proxies()

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        path = environ.get("SCRIPT_NAME", "") + environ.get("PATH_INFO", "")
        key = None if path in self._exempt else self._key(environ)
        if key is None:
            return self._app(environ, start_response)
        decision = self._limiter.hit(bounded(key), self._cost(environ) if callable(self._cost) else self._cost)
        name, _ = self._limiter.policy_of(decision)
        headers = [*policy_headers(tuple(self._limiter.policies_of(decision))), *decision_headers(name, decision)]
        if decision.allowed:

            def telling(status: str, own: list[tuple[str, str]], *error: Any) -> Any:
                return start_response(status, [*own, *headers], *error)

            return self._app(environ, telling)
        body = problem(name, decision)
        headers += [("Content-Type", PROBLEM), ("Content-Length", str(len(body)))]
        start_response("429 Too Many Requests", headers)
        return [body]

    def _address(self, environ: WSGIEnvironment) -> str:
        forwarded = environ.get("HTTP_X_FORWARDED_FOR", "")
        return self._proxies.client(environ.get("REMOTE_ADDR", ""), [forwarded] if forwarded else []) or "unknown"
