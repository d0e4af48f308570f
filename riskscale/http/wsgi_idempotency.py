"""The ``Idempotency-Key`` header field as WSGI middleware."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from io import BytesIO
from typing import TYPE_CHECKING, Any

from riskscale._core.durations import Duration
from riskscale.errors import ArgumentError, LeaseLost
from riskscale.http._idempotency import CLAIM, Answer, BaseIdempotency, Refusal
from riskscale.http.address import bounded
from riskscale.sync.idempotency import Claim, IdempotencyGuard

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

log = logging.getLogger("riskscale.http")


class WSGIIdempotency(BaseIdempotency):
    """Middleware: a request that carries an ``Idempotency-Key`` is carried out once; see
    :class:`riskscale.http.ASGIIdempotency`.

    Args:
        app: the WSGI application.
        guard: a :class:`riskscale.sync.IdempotencyGuard`.
        tenant, fingerprint: of an environ; the rest as there. A guarded response is gathered whole before it is sent.

    Raises:
        ArgumentError: an argument is malformed.

    The application finds its claim as ``environ["riskscale.idempotency"]``.
    """

    def __init__(
        self,
        app: WSGIApplication,
        guard: IdempotencyGuard,
        *,
        tenant: Callable[[WSGIEnvironment], str | None],
        methods: Iterable[str] = ("POST", "PATCH"),
        exempt: Iterable[str] = (),
        required: bool = False,
        bare_keys: bool = False,
        wait: Duration = 0,
        fingerprint: Callable[[WSGIEnvironment, bytes], str | bytes] | None = None,
        is_result: Callable[[int], bool] | None = None,
        max_request: int = 1_048_576,
        documentation: str = "about:blank",
    ) -> None:
        if not isinstance(guard, IdempotencyGuard):
            raise ArgumentError("guard", "must be a riskscale.sync.IdempotencyGuard")
        self._app, self._guard = app, guard
        super().__init__(
            guard, tenant, methods, exempt, required, bare_keys, wait, fingerprint, is_result, max_request, None,
            documentation,
        )  # fmt: skip

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        fields = [environ["HTTP_IDEMPOTENCY_KEY"]] if "HTTP_IDEMPOTENCY_KEY" in environ else []
        method, path = environ["REQUEST_METHOD"], environ.get("SCRIPT_NAME", "") + environ.get("PATH_INFO", "")
        tenant = self._tenant(environ) if self._is_guarded(method, path, fields) else None
        if tenant is None:
            return self._app(environ, start_response)
        try:
            key, body = self._key(fields), self._body(environ)
        except Refusal as refusal:
            return _answer(start_response, refusal.answer)
        target = path.encode("latin-1"), environ.get("QUERY_STRING", "").encode("latin-1")
        request = self._request(environ, method, target, body)
        begun = self._guard.begin(bounded(tenant), key, request, wait=self._wait)
        if not isinstance(begun, Claim):
            return _answer(start_response, self._answer(begun))
        again = {"wsgi.input": BytesIO(body), "CONTENT_LENGTH": str(len(body)), CLAIM: begun}
        return self._carry_out(begun, {**environ, **again}, start_response)

    def _carry_out(self, claim: Claim, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        gathered: _Gathered | None = None
        try:
            with claim:
                claim._attempt.left = "unknown"  # unless somebody says otherwise, nobody knows what it has done
                gathered = _Gathered(self._app, environ)
                self._keep(claim, gathered.answer)
        except Exception as error:
            if gathered is None:
                raise
            if isinstance(error, LeaseLost):  # another's response is the one that is kept
                gathered.answer = self._in_progress()
                gathered.line = gathered.answer.line
            else:
                log.warning("a response is not kept: %s", type(error).__name__)
        start_response(gathered.line, gathered.answer.headers)
        return gathered

    def _keep(self, claim: Claim, answer: Answer) -> None:
        if claim.released_at is not None:  # by the application
            return
        if self._is_result(answer.status):
            claim.complete(answer.packed(), strict=False)
        else:
            claim.abandon()

    def _body(self, environ: WSGIEnvironment) -> bytes:
        length = environ.get("CONTENT_LENGTH") or "0"
        known = int(length) if length.isdecimal() else 0
        if known > self._max_request:
            raise self._too_large()
        most = self._max_request + 1 if environ.get("wsgi.input_terminated") else known
        body = bytearray()
        while part := environ["wsgi.input"].read(most - len(body)) if len(body) < most else b"":
            body += part
        if len(body) > self._max_request:
            raise self._too_large()
        if len(body) < known:  # the client has gone; to the application it would look whole
            rule = f"{len(body)} of {known} bytes have come."
            raise self._refusal(400, "The request is incomplete", rule)
        return bytes(body)


class _Gathered:
    """What the application answers, whole; closed by the server, after it was sent."""

    def __init__(self, app: WSGIApplication, environ: WSGIEnvironment) -> None:
        self.line = ""
        headers: list[tuple[str, str]] = []
        parts: list[bytes] = []

        def start(line: str, own: list[tuple[str, str]], error: Any = None) -> Callable[[bytes], object]:
            if error and any(parts):  # WSGI's rule, for what has begun: it cannot be taken back
                raise error[1].with_traceback(error[2])
            self.line, headers[:] = line, own
            return write

        def write(part: bytes) -> None:
            parts.append(part)

        self._body = app(environ, start)
        try:
            for part in self._body:
                write(part)
            self.answer = Answer(int(self.line[:3]), headers, b"".join(parts))
        except BaseException:
            self.close()
            raise

    def __iter__(self) -> Iterator[bytes]:
        yield self.answer.body

    def close(self) -> None:
        """Now the application does what it left for after its response."""
        getattr(self._body, "close", lambda: None)()


def _answer(start_response: StartResponse, answer: Answer) -> Iterable[bytes]:
    start_response(answer.line, answer.headers)
    return [answer.body]
