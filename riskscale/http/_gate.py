"""What the middlewares share: whose request it is, what it costs, and what its answer says."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Generic, TypeVar

from riskscale.errors import ArgumentError
from riskscale.http.address import Proxies, bounded
from riskscale.http.headers import PROBLEM, Headers, decision_headers, policy_headers, problem
from riskscale.rate._facade import BaseLimiter
from riskscale.rate.calls import Decision, check_cost

R = TypeVar("R")
"""A request, as the protocol gives it."""
L = TypeVar("L", bound=BaseLimiter)


class Gate(Generic[R, L]):
    """One limiter in front of an application."""

    def __init__(
        self,
        limiter: L,
        kind: type[BaseLimiter],
        several: type[BaseLimiter],
        key: Callable[[R], Any] | None,
        cost: int | Callable[[R], int],
        exempt: Iterable[str],
        proxies: Proxies | None,
    ) -> None:
        if not isinstance(limiter, kind):
            raise ArgumentError("limiter", f"must be a limiter of {kind.__module__}, not of {type(limiter).__module__}")
        if isinstance(exempt, str):
            raise ArgumentError("exempt", "must be several paths, not one text")
        if key is not None and not callable(key):
            raise ArgumentError("key", "must be a callable of the request")
        if not callable(cost):
            check_cost(cost)
        if proxies is not None and not isinstance(proxies, Proxies):
            raise ArgumentError("proxies", "must be a Proxies")
        if key is None and isinstance(limiter, several):
            raise ArgumentError("key", "must give the keys of each limiter, where there are several")
        self._limiter, self._key, self._cost = limiter, key or self._address, cost
        self._exempt, self._proxies = frozenset(exempt), proxies or Proxies()

    def _address(self, request: R) -> str:
        raise NotImplementedError

    def _asks(self, path: str, request: R) -> tuple[Any, int] | None:
        """What to ask the limiter: a key and a cost; None where the request is not limited."""
        key = None if path in self._exempt else self._key(request)
        if key is None:
            return None
        return bounded(key), self._cost(request) if callable(self._cost) else self._cost

    def _headers(self, decision: Decision) -> Headers:
        name, _ = self._limiter.policy_of(decision)
        return [*policy_headers(tuple(self._limiter.policies_of(decision))), *decision_headers(name, decision)]

    def _refusal(self, decision: Decision) -> tuple[Headers, bytes]:
        """The header fields and the body of a 429."""
        body = problem(self._limiter.policy_of(decision)[0], decision)
        return [("Content-Type", PROBLEM), ("Content-Length", str(len(body)))], body
