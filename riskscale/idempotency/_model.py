"""One key in plain Python, the tests' oracle. The same steps as ``lua/idempotency``."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from riskscale.idempotency.calls import IN_PROGRESS, MISMATCH, NEW, REPLAY


class Begun(NamedTuple):
    """The reply of ``idempotency.begin``, without ``at_us``."""

    outcome: int
    fence: int
    lease_us: int
    unknown: int
    expires_us: int
    place: str = ""
    response: bytes = b""


@dataclass(slots=True)
class RecordModel:
    """One record; ``fingerprint`` is None where there is none."""

    fingerprint: str | None = None
    token: str = ""
    fence: int = 0
    end_us: int = 0
    lease_us: int = 0
    keep_us: int = 0
    unknown: int = 0
    done_us: int = 0
    place: str = ""
    response: bytes = b""
    previous: str = ""
    waiters: dict[str, str] = field(default_factory=dict)

    def expires_us(self, now_us: int) -> int:
        """For how long yet it is known."""
        if self.done_us:
            return min(self.done_us - now_us, 0) + self.keep_us
        return min(self.end_us - now_us, self.lease_us) + self.keep_us

    def is_live(self, now_us: int) -> bool:
        """Whether an attempt is under way."""
        return self.fingerprint is not None and not self.done_us and self.token != "" and self.end_us > now_us

    def begin(self, token: str, fingerprint: str, lease_us: int, keep_us: int, mailbox: str, now_us: int) -> Begun:
        """``idempotency.begin``."""
        self._look(now_us)
        if self.fingerprint not in (None, fingerprint):
            return self._begun(MISMATCH, now_us)
        if self.done_us:
            return self._begun(REPLAY, now_us)
        if self.is_live(now_us) and self.token != token:
            if mailbox:
                self.waiters[token] = mailbox
            return self._begun(IN_PROGRESS, now_us)
        if self.token not in ("", token):
            self.unknown += 1
        if not self.is_live(now_us):
            self.fence = max(self.fence + 1, now_us)
        self.token, self.fingerprint, self.previous = token, fingerprint, ""
        self.end_us, self.lease_us, self.keep_us = now_us + lease_us, lease_us, keep_us
        self.waiters.pop(token, None)
        return self._begun(NEW, now_us)

    def complete(self, token: str, fingerprint: str, keep_us: int, place: str, response: bytes, now_us: int) -> bool:
        """``idempotency.complete``."""
        self._look(now_us)
        if self.fingerprint is not None and self.token != token:
            return False
        if not self.done_us:
            self.token, self.fingerprint = token, fingerprint
            self.done_us, self.keep_us, self.place, self.response = max(now_us, 1), keep_us, place, response
            self.waiters.clear()
        return True

    def abandon(self, token: str, left: str, now_us: int) -> bool:
        """``idempotency.abandon``."""
        if self.fingerprint is None or self.expires_us(now_us) <= 0:
            return True
        self._look(now_us)
        if self.token != token:
            self.waiters.pop(token, None)
            return self.previous == token
        if self.done_us:
            return True
        self.waiters.clear()
        self.unknown += left == "unknown"
        if self.unknown:
            self.token, self.previous, self.end_us, self.lease_us = "", token, now_us, 0
        else:
            self.lose()
        return True

    def heartbeat(self, token: str, lease_us: int, now_us: int) -> int:
        """``idempotency.heartbeat`` of one attempt: its fence, or 0."""
        if token != self.token or self.fingerprint is None or self.done_us or self.end_us <= now_us:
            return 0
        self.end_us, self.lease_us = now_us + lease_us, lease_us
        return self.fence

    def lose(self) -> None:
        """The record is gone: abandoned, flushed, evicted."""
        self.__init__()  # type: ignore[misc]

    def _look(self, now_us: int) -> None:
        if self.fingerprint is None:
            return
        if self.expires_us(now_us) <= 0:
            fence = self.fence
            self.lose()
            self.fence = fence
        elif not self.done_us and self.end_us > now_us + self.lease_us:
            self.end_us = now_us + self.lease_us

    def _begun(self, outcome: int, now_us: int) -> Begun:
        left_us = self.end_us - now_us if self.is_live(now_us) else 0
        result = (self.place, self.response) if outcome == REPLAY else ("", b"")
        return Begun(outcome, self.fence, left_us, self.unknown, self.expires_us(now_us), *result)
