"""What comes in and what goes out: an event of a tenant, and the assessment of its risk."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Annotated, Literal

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field, StringConstraints

OLDEST = timedelta(days=365)
AHEAD = timedelta(minutes=5)
"""How far the sender's clock may be ahead of ours."""

Decision = Literal["approve", "review", "decline"]


def _plausible(at: datetime) -> datetime:
    now = datetime.now(UTC)
    if not now - OLDEST <= at.astimezone(UTC) <= now + AHEAD:
        raise ValueError("must be within the last 365 days, and at most 5 minutes ahead")
    return at.astimezone(UTC)


def _aware_range(at: datetime) -> datetime:
    try:
        return _plausible(at)
    except OverflowError:  # a year that UTC does not have
        raise ValueError("is out of range") from None


EventId = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_.:-]{1,128}$")]
Name = Annotated[str, StringConstraints(min_length=1, max_length=200)]


class Event(BaseModel):
    """A payment, as the tenant saw it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    event_id: EventId = Field(description="the tenant's name of it, unique for the tenant")
    amount: Annotated[Decimal, Field(gt=0, le=10**9, decimal_places=2)] = Field(description="in the tenant's currency")
    country: Annotated[str, StringConstraints(pattern=r"^[A-Z]{2}$")] = Field(description="ISO 3166, two letters")
    merchant: Name
    device: Name
    timestamp: Annotated[AwareDatetime, AfterValidator(_aware_range)] = Field(description="when it happened, with zone")

    @property
    def at_us(self) -> int:
        """Microseconds since 1970."""
        return (self.timestamp - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)

    def fingerprint(self) -> bytes:
        """The same for the same event, however its JSON was written."""
        return self.model_dump_json().encode()


class Reason(BaseModel):
    """Why the score is what it is."""

    model_config = ConfigDict(frozen=True)

    rule: str
    points: int
    why: str


class Assessment(BaseModel):
    """What the engine thinks of an event."""

    model_config = ConfigDict(frozen=True)

    tenant_id: str
    event_id: str
    decision: Decision
    score: int
    reasons: tuple[Reason, ...]
