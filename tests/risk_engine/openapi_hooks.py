"""For schemathesis: what a description in OpenAPI cannot say.

A timestamp is recent, and an event's id or key that was used belongs to the event that used it. So what is valid of
them otherwise is made new; what is not stays as it is.
"""

from __future__ import annotations

import itertools
import re
from datetime import UTC, datetime
from typing import Any

import schemathesis

NUMBERS = itertools.count(1)
TIMESTAMP = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)")
EVENT_ID = re.compile(r"[A-Za-z0-9_.:-]{1,128}")


@schemathesis.hook
def before_call(context: Any, case: Any, kwargs: Any) -> None:
    body, number = case.body, next(NUMBERS)
    if isinstance(body, dict):
        _replace(body, "timestamp", TIMESTAMP, datetime.now(UTC).isoformat())
        _replace(body, "event_id", EVENT_ID, f"e-{number}")
    if case.headers and 1 <= len(case.headers.get("idempotency-key") or "") <= 255:
        case.headers["idempotency-key"] = f"key-{number}"


def _replace(body: dict[str, Any], name: str, valid: re.Pattern[str], new: str) -> None:
    if isinstance(body.get(name), str) and valid.fullmatch(body[name]):
        body[name] = new
