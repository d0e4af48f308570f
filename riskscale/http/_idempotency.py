"""What the ``Idempotency-Key`` header field means (the IETF's draft, version 7), and what is answered. No I/O."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Sequence
from http import HTTPStatus
from typing import Any, NamedTuple

from riskscale._core.durations import Duration, integer, seconds
from riskscale.errors import ArgumentError
from riskscale.http.headers import PROBLEM, Headers
from riskscale.idempotency.base import LONGEST_KEY, BaseGuard
from riskscale.idempotency.calls import InProgress, Mismatch, Replay

CLAIM = "riskscale.idempotency"
"""Where the application finds its claim, in the scope or environ."""
UNTOUCHED = frozenset({401, 408, 421, 425, 429, 503})
"""Statuses that say that the work was not begun; any other is its result, also of an error."""
OWN = frozenset(
    {
        "connection", "date", "keep-alive", "proxy-authenticate", "proxy-connection", "ratelimit", "ratelimit-policy",
        "server", "te", "trailer", "transfer-encoding", "upgrade",
    }
)  # fmt: skip
"""Header fields of one answer or connection, not of the result."""

_STRING = re.compile(r' *"((?:[ !#-\[\]-~]|\\["\\])*)" *')
_BARE = re.compile(r" *([!#-+\--\[\]-~]+) *")


class Answer(NamedTuple):
    """A response: its header fields as text, as latin-1 has it."""

    status: int
    headers: Headers
    body: bytes

    def packed(self) -> bytes:
        """As it is kept: a line of JSON, and the body as it is."""
        kept = [(name, value) for name, value in self.headers if name.lower() not in OWN]
        return json.dumps([self.status, kept], separators=(",", ":")).encode() + b"\n" + self.body

    @classmethod
    def unpacked(cls, data: bytes) -> Answer | None:
        """As it was kept; None: it is no response, so somebody else has completed the claim."""
        head, end, body = data.partition(b"\n")
        try:
            status, headers = json.loads(head)
            return cls(int(status), [(name, value) for name, value in headers], body) if end else None
        except (ValueError, TypeError):
            return None

    @property
    def line(self) -> str:
        """Its status as WSGI has it."""
        known = self.status in HTTPStatus._value2member_map_
        return f"{self.status} {HTTPStatus(self.status).phrase if known else 'Status'}"


class Refusal(Exception):
    """The request is answered without the application."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(answer.status)
        self.answer = answer


class BaseIdempotency:
    """See :class:`riskscale.http.ASGIIdempotency`."""

    def __init__(
        self,
        guard: BaseGuard,
        tenant: Callable[[Any], str | None],
        methods: Iterable[str],
        exempt: Iterable[str],
        required: bool,
        bare_keys: bool,
        wait: Duration,
        fingerprint: Callable[[Any, bytes], str | bytes] | None,
        is_result: Callable[[int], bool] | None,
        max_request: int,
        max_response: int | None,
        documentation: str,
    ) -> None:
        for name, function in (("tenant", tenant), ("fingerprint", fingerprint), ("is_result", is_result)):
            if not callable(function) and (function is not None or name == "tenant"):
                raise ArgumentError(name, "must be a callable")
        for name, texts in (("methods", methods), ("exempt", exempt)):
            if isinstance(texts, str):
                raise ArgumentError(name, "must be several, not one text")
        self._tenant, self._fingerprint = tenant, fingerprint
        self._methods, self._exempt = frozenset(method.upper() for method in methods), frozenset(exempt)
        self._required, self._bare_keys = required, bare_keys
        self._wait = seconds(wait, "wait")
        self._is_result = is_result or (lambda status: status not in UNTOUCHED)
        self._max_request = integer(max_request, "max_request", 0)
        most = guard._max_bytes if max_response is None else max_response
        self._max_response = integer(most, "max_response", 0)
        self._documentation = documentation

    def _is_guarded(self, method: str, path: str, fields: Sequence[str]) -> bool:
        return method.upper() in self._methods and path not in self._exempt and (self._required or len(fields) > 0)

    def _key(self, fields: Sequence[str]) -> str:
        """The key that the header fields of that name give; Refusal."""
        if not fields:
            raise self._refusal(400, "Idempotency-Key is missing", "This operation needs one: a string in quotes.")
        field = ", ".join(fields)  # several lines of a field are one list, which is no string
        quoted = _STRING.fullmatch(field)
        bare = _BARE.fullmatch(field) if self._bare_keys else None
        if quoted is None and bare is None:
            raise self._refusal(400, "Idempotency-Key is malformed", "It must be one string in quotes.")
        key = re.sub(r"\\(.)", r"\1", quoted[1]) if quoted else bare[1] if bare else ""
        if not 1 <= len(key) <= LONGEST_KEY:
            rule = f"It must be 1 to {LONGEST_KEY} characters, not {len(key)}."
            raise self._refusal(400, "Idempotency-Key is malformed", rule)
        return key

    def _too_large(self) -> Refusal:
        return self._refusal(413, "Content too large", f"At most {self._max_request} bytes, with an Idempotency-Key.")

    def _request(self, given: Any, method: str, target: Iterable[bytes], body: bytes) -> str | bytes:
        """What tells one request from another."""
        if self._fingerprint is not None:
            return self._fingerprint(given, body)
        digest = hashlib.sha256()
        for part in (method.encode(), *target, body):
            digest.update(b"%d:" % len(part))
            digest.update(part)
        return digest.digest()

    def _answer(self, seen: Replay | InProgress | Mismatch) -> Answer:
        """Where the work is not this request's to do."""
        match seen:
            case Mismatch():
                detail = "This key was used for another request. Repeat that one, or take a new key."
                return self._refusal(422, "Idempotency-Key is already used", detail).answer
            case InProgress():
                return self._in_progress()
        answer = None if seen.response is None else Answer.unpacked(seen.response)
        if answer is None:
            detail = "The request was carried out, and its response was not kept. Do not repeat it with a new key."
            return self._refusal(409, "The response was not kept", detail).answer
        answer.headers.append(("Idempotent-Replayed", "true"))
        return answer

    def _in_progress(self) -> Answer:
        answer = self._refusal(409, "A request with this Idempotency-Key is in progress", "Repeat it later.").answer
        answer.headers.append(("Retry-After", "1"))
        return answer

    def _refusal(self, status: int, title: str, detail: str) -> Refusal:
        document = {"type": self._documentation, "title": title, "status": status, "detail": detail}
        body = json.dumps(document, separators=(",", ":")).encode()
        return Refusal(Answer(status, [("Content-Type", PROBLEM), ("Content-Length", str(len(body)))], body))
