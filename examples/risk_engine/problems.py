"""Failures as problem documents (RFC 9457), with the class of the failure and the tenant they belong to."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any

from fastapi import Request
from fastapi.responses import Response

from risk_engine.errors import DomainValidationError, Failure, FailureClass, classify
from risk_engine.tenants import tenant_or_none

PROBLEM = "application/problem+json"


def problem(failure: Failure, tenant: str | None, errors: Sequence[dict[str, str]] = ()) -> Response:
    """The response; ``errors`` name the fields that are wrong."""
    body: dict[str, Any] = {
        "type": f"urn:risk-engine:{failure.kind.lower()}",
        "title": failure.title,
        "status": failure.status,
        "class": failure.kind,
        "tenant_id": tenant,
    }
    if errors:
        body["errors"] = list(errors)
    headers = {}
    if failure.retry_after is not None:
        body["retry_after"] = round(failure.retry_after, 3)
        headers["Retry-After"] = str(max(1, math.ceil(failure.retry_after)))
    return Response(json.dumps(body), failure.status, headers, PROBLEM)


async def on_failure(request: Request, error: Exception) -> Response:
    """Anything that the service raised."""
    errors = [{"field": error.field, "message": error.rule}] if isinstance(error, DomainValidationError) else []
    return problem(classify(error), tenant_or_none(request.headers), errors=errors)


async def on_invalid(request: Request, error: Any) -> Response:
    """What FastAPI found wrong: each field by its name, and no value, which may be secret or not even text."""
    found = error.errors()
    malformed = any(each["type"] == "json_invalid" for each in found)
    errors = [{"field": _field(each["loc"]), "message": str(each["msg"])} for each in found]
    title = "the body is no JSON" if malformed else "the request is not valid"
    failure = Failure(FailureClass.VALIDATION_ERROR, 400 if malformed else 422, title)
    return problem(failure, tenant_or_none(request.headers), errors=errors)


async def on_http(request: Request, error: Any) -> Response:
    """What the framework refuses: 404, 405 and the like."""
    kind = FailureClass.VALIDATION_ERROR if error.status_code < 500 else FailureClass.INTERNAL_ERROR
    # The framework says 400 of a body that it could not even decode.
    errors = [{"field": "body", "message": "must be JSON in UTF-8"}] if error.status_code == 400 else []
    failure = Failure(kind, error.status_code, str(error.detail))
    response = problem(failure, tenant_or_none(request.headers), errors=errors)
    response.headers.update(error.headers or {})
    return response


def _field(where: Sequence[int | str]) -> str:
    """Without the part of the request; a JSON error's place is a number there."""
    return ".".join(str(each) for each in where[1:] if isinstance(each, str)) or str(where[0])
