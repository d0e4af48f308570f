"""What can go wrong, as a tree.

::

    RiskscaleError
    ├── ArgumentError (ValueError)       an argument is malformed; nothing was sent or written
    ├── StateError (RuntimeError)        a key holds something else, or an object is used where it does not belong
    │   └── HubClosed                    the hub was closed
    ├── AcquireTimeout (TimeoutError)    a lock, or a place in a bulkhead, did not come free in time
    ├── LeaseLost                        a lease ended, or was taken, before its holder let go
    ├── StaleFence                       a guarded value has seen a newer holder
    ├── WrongOwner                       a partition is asked of a replica that does not own it
    ├── IdempotencyConflict              the work of a key is under way, or another's, or its result is not kept
    ├── CircuitOpen                      a breaker refused the call: what it guards is broken
    ├── BulkheadFull (RuntimeError)      as much runs and waits as may
    └── RateLimitExceeded                a request was refused by a limit

Errors of the Redis client (its connection, its time-outs, READONLY, OOM) pass through as themselves. All of these
pickle, and carry what they say as fields.
"""

from __future__ import annotations

from typing import Literal


class RiskscaleError(Exception):
    """Base of every error that riskscale raises of its own accord."""


class ArgumentError(RiskscaleError, ValueError):
    """``argument`` (its name) breaks ``rule``."""

    def __init__(self, argument: str, rule: str) -> None:
        super().__init__(argument, rule)
        self.argument = argument
        self.rule = rule

    def __str__(self) -> str:
        return f"{self.argument} {self.rule}"


class StateError(RiskscaleError, RuntimeError):
    """A key holds another type, or an object is used in another task, loop, process or mode than its own."""


class HubClosed(StateError):
    """The hub was closed; it takes no more calls."""

    def __init__(self, message: str = "the hub is closed") -> None:
        super().__init__(message)


class AcquireTimeout(RiskscaleError, TimeoutError):
    """Lock ``name``, or ``what`` else it is, did not come free within ``timeout`` seconds, or ``reason`` else why it is
    not held."""

    def __init__(self, name: str, timeout: float, reason: str = "did not come free", what: str = "lock") -> None:
        # One argument: an OSError, which a TimeoutError is, would take two for its errno and strerror.
        super().__init__(f"{what} {name!r} {reason} within {timeout:g} s")
        self.name = name
        self.timeout = timeout
        self.reason = reason
        self.what = what

    def __reduce__(self) -> tuple[type[AcquireTimeout], tuple[str, float, str, str]]:
        return type(self), (self.name, self.timeout, self.reason, self.what)


class LeaseLost(RiskscaleError):
    """The lease on ``name``, with fence ``fence``, is no longer held. ``what`` it is of: a lock, a semaphore, a
    bulkhead, an election, or idempotency, whose ``name`` is the key."""

    def __init__(self, name: str, fence: int, what: str = "lock") -> None:
        super().__init__(name, fence, what)
        self.name = name
        self.fence = fence
        self.what = what

    def __str__(self) -> str:
        return f"the {self.what} lease on {self.name!r} (fence {self.fence}) is no longer held"


class StaleFence(RiskscaleError):
    """Guarded ``name`` refused ``fence``: ``mark``, a newer one, has read or written it."""

    def __init__(self, name: str, fence: int, mark: int) -> None:
        super().__init__(name, fence, mark)
        self.name = name
        self.fence = fence
        self.mark = mark

    def __str__(self) -> str:
        return f"{self.name!r} refused fence {self.fence}: the newer fence {self.mark} has read or written it"


class WrongOwner(RiskscaleError):
    """This replica does not own ``partition``; ``epoch`` is the newest of its owners that it knows of, 0 if of none."""

    def __init__(self, partition: int, epoch: int) -> None:
        super().__init__(partition, epoch)
        self.partition = partition
        self.epoch = epoch

    def __str__(self) -> str:
        return f"wrong owner of partition {self.partition}, epoch {self.epoch}"


class IdempotencyConflict(RiskscaleError):
    """The work of ``key`` was not done by this call, and there is no result to give. ``reason`` is ``in_progress`` (in
    ``retry_after`` seconds it may be taken over), ``mismatch`` (the key was used for another request) or ``not_kept``
    (it is done)."""

    def __init__(
        self, key: str, reason: Literal["in_progress", "mismatch", "not_kept"], retry_after: float = 0
    ) -> None:
        super().__init__(key, reason, retry_after)
        self.key = key
        self.reason = reason
        self.retry_after = retry_after

    def __str__(self) -> str:
        return {
            "in_progress": f"the work of key {self.key!r} is under way, for {self.retry_after:g} s at the most",
            "mismatch": f"key {self.key!r} was used for another request",
            "not_kept": f"the work of key {self.key!r} is done, and its result is not kept",
        }[self.reason]


class BulkheadFull(RiskscaleError, RuntimeError):
    """In bulkhead ``name`` as much runs and waits as may: altogether, or of one tenant, which ``message`` says then."""

    def __init__(self, message: str = "Bulkhead: max concurrent and queue full", name: str = "") -> None:
        super().__init__(message, name)
        self.message = message
        self.name = name

    def __str__(self) -> str:
        return self.message


class RateLimitExceeded(RiskscaleError):
    """``key`` used up ``limit``; ``retry_after`` seconds from then it would pass (``inf``: never)."""

    def __init__(self, key: str, limit: str, retry_after: float) -> None:
        super().__init__(key, limit, retry_after)
        self.key = key
        self.limit = limit
        self.retry_after = retry_after

    def __str__(self) -> str:
        return f"{self.key!r} is over {self.limit}; retry after {self.retry_after:g} s"


class CircuitOpen(RiskscaleError):
    """Breaker ``name`` refused the call; ``retry_after`` seconds from then it may let one pass."""

    def __init__(self, name: str, retry_after: float) -> None:
        super().__init__(name, retry_after)
        self.name = name
        self.retry_after = retry_after

    def __str__(self) -> str:
        return f"breaker {self.name!r} is open; retry after {self.retry_after:g} s"
