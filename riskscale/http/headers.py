"""What a client is told: RateLimit header fields (the IETF's draft, version 10), and a refusal as RFC 9457 says."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence

from riskscale.rate.calls import Decision
from riskscale.rate.limit import Limit

PROBLEM = "application/problem+json"
QUOTA_EXCEEDED = "https://iana.org/assignments/http-problem-types#quota-exceeded"
REDUCED_CAPACITY = "https://iana.org/assignments/http-problem-types#temporary-reduced-capacity"
MOST = 999_999_999_999_999
"""The largest integer of a structured field."""

Headers = list[tuple[str, str]]


def policy_headers(policies: Sequence[tuple[str, Limit]]) -> Headers:
    """``RateLimit-Policy``, which does not change from request to request: each limit's quota and window in seconds."""
    texts = (f"{_policy(name, limit)};q={limit.capacity};w={_whole(limit.window_us / 1e6)}" for name, limit in policies)
    return [("RateLimit-Policy", ", ".join(texts))]


def decision_headers(name: str, decision: Decision) -> Headers:
    """``RateLimit``, and ``Retry-After`` for a refusal that ends; both in whole seconds, rounded up."""
    seconds = _whole(decision.reset_after if decision.allowed else decision.retry_after)
    timed = f";t={seconds}" if decision.allowed or math.isfinite(decision.retry_after) else ""
    headers = [("RateLimit", f"{_policy(name, decision.limit)};r={min(decision.remaining, MOST)}{timed}")]
    if not decision.allowed and timed:
        headers.append(("Retry-After", str(seconds)))
    return headers


def problem(name: str, decision: Decision) -> bytes:
    """The body of a 429."""
    body = {
        "type": REDUCED_CAPACITY if decision.degraded else QUOTA_EXCEEDED,
        "title": "Too many requests" if not decision.degraded else "Temporarily reduced capacity",
        "status": 429,
        "violated-policies": [_name(name, decision.limit)],
    }
    return json.dumps(body, separators=(",", ":")).encode()


def _whole(seconds: float) -> int:
    return min(max(1, math.ceil(seconds)), MOST) if math.isfinite(seconds) and seconds > 0 else 0


def _name(name: str, limit: Limit) -> str:
    return f"{name}-{limit.label}"


def _policy(name: str, limit: Limit) -> str:
    """A string of a structured field: printable ASCII, in quotes."""
    text = "".join(c if " " <= c <= "~" else "".join(f"%{byte:02X}" for byte in c.encode()) for c in _name(name, limit))
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
