"""What the service fails with, and the class and HTTP status of every failure."""

from __future__ import annotations

import math
import sqlite3
from dataclasses import dataclass, replace
from enum import StrEnum

import redis

from riskscale import (
    AcquireTimeout,
    BulkheadFull,
    CircuitOpen,
    HubClosed,
    LeaseLost,
    RateLimitExceeded,
    RiskscaleError,
    StaleFence,
)


class RiskEngineError(Exception):
    """Base of the service's own errors."""


class DomainValidationError(RiskEngineError):
    """``field`` of an event breaks a rule of the domain."""

    def __init__(self, field: str, rule: str) -> None:
        super().__init__(field, rule)
        self.field, self.rule = field, rule

    def __str__(self) -> str:
        return f"{self.field} {self.rule}"


class IdempotencyConflictError(RiskEngineError):
    """The key, or the event's id, belongs to another event."""


class InProgressError(IdempotencyConflictError):
    """The same event is being worked on; ``retry_after`` seconds from now it may be over."""

    def __init__(self, message: str, retry_after: float) -> None:
        super().__init__(message, retry_after)
        self.message, self.retry_after = message, retry_after

    def __str__(self) -> str:
        return self.message


class MessagingFailureError(RiskEngineError):
    """The result could not be published, or nobody knows whether it was. Nothing is kept: send the event again."""


class ModelFailureError(RiskEngineError):
    """The model gave no score."""


class StateConflictError(RiskEngineError):
    """A newer holder of the workflow's lock has taken over."""


class FailureClass(StrEnum):
    """What kind of failure it was."""

    VALIDATION_ERROR = "VALIDATION_ERROR"
    WORKFLOW_ERROR = "WORKFLOW_ERROR"
    MESSAGING_ERROR = "MESSAGING_ERROR"
    LOCK_LOST = "LOCK_LOST"
    DEPENDENCY_OPEN = "DEPENDENCY_OPEN"
    TIMEOUT = "TIMEOUT"
    RATE_LIMITED = "RATE_LIMITED"
    OVERLOADED = "OVERLOADED"
    STORAGE_ERROR = "STORAGE_ERROR"
    INTERNAL_ERROR = "INTERNAL_ERROR"


@dataclass(frozen=True, slots=True)
class Failure:
    """How a failure is told: its class, HTTP status, title, and when to try again (None: as one likes)."""

    kind: FailureClass
    status: int
    title: str
    retry_after: float | None = None


SOON = 1.0
KNOWN: tuple[tuple[type[BaseException] | tuple[type[BaseException], ...], Failure], ...] = (
    (DomainValidationError, Failure(FailureClass.VALIDATION_ERROR, 422, "the request is not valid")),
    (InProgressError, Failure(FailureClass.WORKFLOW_ERROR, 409, "the event is being worked on", SOON)),
    (IdempotencyConflictError, Failure(FailureClass.WORKFLOW_ERROR, 422, "the key belongs to another event")),
    (CircuitOpen, Failure(FailureClass.DEPENDENCY_OPEN, 503, "a dependency is down", SOON)),
    (MessagingFailureError, Failure(FailureClass.MESSAGING_ERROR, 503, "the result was not published", SOON)),
    (ModelFailureError, Failure(FailureClass.WORKFLOW_ERROR, 503, "the model gave no score", SOON)),
    (
        (LeaseLost, StaleFence, StateConflictError),
        Failure(FailureClass.LOCK_LOST, 503, "another replica took the event over", SOON),
    ),
    (RateLimitExceeded, Failure(FailureClass.RATE_LIMITED, 429, "over the tenant's limit")),
    ((BulkheadFull, HubClosed), Failure(FailureClass.OVERLOADED, 503, "too much is under way", SOON)),
    (AcquireTimeout, Failure(FailureClass.TIMEOUT, 503, "the event's lock did not come free", SOON)),
    # Before TimeoutError: redis-py has one of its own.
    (redis.RedisError, Failure(FailureClass.STORAGE_ERROR, 503, "the storage does not answer", SOON)),
    (TimeoutError, Failure(FailureClass.TIMEOUT, 504, "it took too long", SOON)),
    ((OSError, sqlite3.Error), Failure(FailureClass.STORAGE_ERROR, 503, "the storage does not answer", SOON)),
    (RiskEngineError, Failure(FailureClass.WORKFLOW_ERROR, 500, "the workflow failed")),
)
EXPECTED = (RiskEngineError, RiskscaleError, redis.RedisError, TimeoutError, OSError, sqlite3.Error)
UNKNOWN = Failure(FailureClass.INTERNAL_ERROR, 500, "internal error")


def classify(error: BaseException) -> Failure:
    """The failure behind an exception. Its text is not told: it may hold what a client must not see."""
    failure = next((failure for types, failure in KNOWN if isinstance(error, types)), UNKNOWN)
    after = getattr(error, "retry_after", None)
    return replace(failure, retry_after=after) if after is not None and math.isfinite(after) else failure
