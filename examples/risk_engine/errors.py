"""What the service fails with, and the class and HTTP status of every failure."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum

import redis
from riskscale import (
    AcquireTimeout,
    BulkheadFull,
    CircuitOpen,
    HubClosed,
    IdempotencyConflict,
    LeaseLost,
    RateLimitExceeded,
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
    """The key was used for another event, or its work is still under way; ``retry_after`` seconds, or None: never."""

    def __init__(self, message: str, retry_after: float | None = None) -> None:
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


def classify(error: BaseException) -> Failure:
    """The failure behind an exception. Its text is not told: it may hold what a client must not see."""
    match error:
        case DomainValidationError():
            return Failure(FailureClass.VALIDATION_ERROR, 422, "the event is not valid")
        case IdempotencyConflictError(retry_after=None):
            return Failure(FailureClass.WORKFLOW_ERROR, 422, "the key belongs to another event")
        case IdempotencyConflictError(retry_after=after):
            return Failure(FailureClass.WORKFLOW_ERROR, 409, "the event is being worked on", after)
        case IdempotencyConflict():
            return Failure(FailureClass.WORKFLOW_ERROR, 409, "the event is being worked on", error.retry_after)
        case CircuitOpen():
            return Failure(FailureClass.DEPENDENCY_OPEN, 503, "a dependency is down", error.retry_after)
        case MessagingFailureError():
            return Failure(FailureClass.MESSAGING_ERROR, 503, "the result could not be published", 1.0)
        case LeaseLost() | StaleFence() | StateConflictError():
            return Failure(FailureClass.LOCK_LOST, 503, "another replica took the event over", 1.0)
        case RateLimitExceeded():
            after = error.retry_after if math.isfinite(error.retry_after) else None
            return Failure(FailureClass.RATE_LIMITED, 429, "too many requests of the tenant", after)
        case BulkheadFull() | HubClosed():
            return Failure(FailureClass.OVERLOADED, 503, "too much is under way", 1.0)
        case AcquireTimeout():
            return Failure(FailureClass.TIMEOUT, 503, "the event's lock did not come free", 1.0)
        case redis.RedisError():  # before TimeoutError: redis-py's own is one of a connection
            return Failure(FailureClass.STORAGE_ERROR, 503, "the storage does not answer", 1.0)
        case TimeoutError():
            return Failure(FailureClass.TIMEOUT, 504, "it took too long", 1.0)
        case ModelFailureError():
            return Failure(FailureClass.WORKFLOW_ERROR, 503, "the model gave no score", 1.0)
        case OSError():
            return Failure(FailureClass.STORAGE_ERROR, 503, "the storage does not answer", 1.0)
        case RiskEngineError():
            return Failure(FailureClass.WORKFLOW_ERROR, 500, "the workflow failed")
        case _:
            return Failure(FailureClass.INTERNAL_ERROR, 500, "internal error")
