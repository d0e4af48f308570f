"""What is told of a service's health: values, and their form as ``application/health+json``."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from riskscale.errors import ArgumentError

HEALTH_JSON = "application/health+json"
MOST_OUTPUT = 1000
"""Characters of what a check says; of more, the first."""


class HealthStatus(StrEnum):
    """``PASS``: healthy; ``WARN``: healthy, with something to look at; ``FAIL``: not healthy."""

    PASS = "pass"  # noqa: S105 - no password
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """What a check may return, where "it came to its end" does not say enough.

    Attributes:
        status: a :class:`HealthStatus`, or its text.
        output: what is wrong, for whoever may read the report; up to 1,000 characters. It is shown as it is, so it must
            hold no secret.
        measurement: what ``value`` is of, such as ``replicationLag``; needed with it.
        value: anything that JSON can say; None: the seconds that the check took are told.
        unit: of ``value``.

    Raises:
        ArgumentError: one of them is something else.
    """

    status: HealthStatus = HealthStatus.PASS
    output: str = ""
    measurement: str = ""
    value: Any = None
    unit: str = ""

    def __post_init__(self) -> None:
        if self.status not in list(HealthStatus):
            raise ArgumentError("status", f"must be one of pass, warn, fail, not {self.status!r}")
        for argument in ("output", "measurement", "unit"):
            if not isinstance(getattr(self, argument), str):
                raise ArgumentError(argument, "must be text")
        if (self.value is None) != (not self.measurement):
            raise ArgumentError("measurement", "and value go together")
        try:
            value = json.loads(json.dumps(self.value, allow_nan=False))
        except (TypeError, ValueError, RecursionError):
            raise ArgumentError("value", "must be something that JSON can say") from None
        object.__setattr__(self, "value", value)  # as it is now: a check may go on writing to it
        object.__setattr__(self, "status", HealthStatus(self.status))
        object.__setattr__(self, "output", self.output[:MOST_OUTPUT])


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckReport:
    """What one check found.

    Attributes:
        name: it was registered by.
        kind: of component: ``component`` or ``datastore``.
        status: of the component; a failure counts in the report's as ``critical`` says.
        critical: whether its failure is the service's; otherwise it is a warning.
        at: when it was found, in seconds of the epoch.
        measurement: what ``value`` is of: ``responseTime`` in ms, ``state`` of a breaker, ``places`` of a bulkhead, or
            what the check said.
        value: of that.
        unit: of ``value``.
        output: what is wrong: the class of an exception, or what the check said; '' where all is well.
    """

    name: str
    kind: str
    status: HealthStatus
    critical: bool
    at: float
    measurement: str
    value: Any
    unit: str
    output: str

    @property
    def counts_as(self) -> HealthStatus:
        """What it makes of the whole, if nothing else is worse."""
        return HealthStatus.WARN if self.status is HealthStatus.FAIL and not self.critical else self.status

    def as_dict(self) -> dict[str, Any]:
        """One element of the draft's ``checks``."""
        told = {
            "componentType": self.kind,
            "status": str(self.status),
            "critical": self.critical,
            "observedValue": self.value,
            "observedUnit": self.unit,
            "time": datetime.fromtimestamp(self.at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "output": self.output,
        }
        return {key: value for key, value in told.items() if value != ""}


@dataclass(frozen=True, slots=True, kw_only=True)
class HealthReport:
    """How a service is.

    Attributes:
        status: FAIL if a critical check failed; WARN if anything else is not well; else PASS.
        group: whose checks these are; None: all.
        at: when it was made, in seconds of the epoch; each check has a time of its own.
        checks: in the order in which they were registered.
    """

    status: HealthStatus
    group: str | None
    at: float
    checks: tuple[CheckReport, ...]

    @classmethod
    def of(cls, group: str | None, at: float, checks: tuple[CheckReport, ...]) -> HealthReport:
        """The worst of ``checks`` is the whole's."""
        worst = max((check.counts_as for check in checks), key=list(HealthStatus).index, default=HealthStatus.PASS)
        return cls(status=worst, group=group, at=at, checks=checks)

    @property
    def http_status(self) -> int:
        """200, also of a warning: a replica that works is not taken out; 503 of a failure."""
        return 503 if self.status is HealthStatus.FAIL else 200

    def as_dict(self) -> dict[str, Any]:
        """As https://datatracker.ietf.org/doc/html/draft-inadarei-api-health-check-06 has it.

        A key of ``checks`` is ``name:measurement``; in both a colon is written ``%3A``, and a percent sign ``%25``.
        """
        checks: dict[str, list[dict[str, Any]]] = {}
        for check in self.checks:
            key = ":".join(part.replace("%", "%25").replace(":", "%3A") for part in (check.name, check.measurement))
            checks.setdefault(key, []).append(check.as_dict())
        return {"status": str(self.status), "checks": checks}

    def as_json(self) -> bytes:
        """The same as a body of ``application/health+json``."""
        return json.dumps(self.as_dict(), separators=(",", ":")).encode()
