"""What comes in and what goes out: an event of a tenant, and the assessment of its risk."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import cached_property
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationInfo,
    WithJsonSchema,
)

OLDEST = timedelta(days=365)
AHEAD = timedelta(minutes=5)
"""How far the sender's clock may be ahead of ours."""

Decision = Literal["approve", "review", "decline"]


KEPT = {"kept": True}
"""The context in which what was accepted once is read again: no matter how old it is by now, or by whose clock."""


def _plausible(at: datetime, info: ValidationInfo) -> datetime:
    try:
        at = at.astimezone(UTC)
    except OverflowError:  # a year that UTC does not have
        raise ValueError("is out of range") from None
    now = datetime.now(UTC)
    if info.context != KEPT and not now - OLDEST <= at <= now + AHEAD:
        raise ValueError("must be within the last 365 days, and at most 5 minutes ahead")
    return at


PLAIN = r"^(0\.(0[1-9]|[1-9][0-9]?)|[1-9][0-9]{0,8}(\.[0-9]{1,2})?)$"


def _plain(amount: Any) -> Any:
    if isinstance(amount, str) and not re.fullmatch(PLAIN, amount):
        raise ValueError("must be a number such as 12.50")
    return amount


def _in_cents(amount: Decimal) -> Decimal:
    return amount.quantize(Decimal("0.01"))  # 12.5 is 12.50


Amount = Annotated[
    Decimal,
    Field(gt=0, lt=10**9, decimal_places=2),
    BeforeValidator(_plain),
    AfterValidator(_in_cents),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 10**9, "multipleOf": 0.01},
                {"type": "string", "pattern": PLAIN},
            ]
        }
    ),
]
EventId = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_.:-]{1,128}$")]
Name = Annotated[str, StringConstraints(min_length=1, max_length=200)]


class Event(BaseModel):
    """A payment, as the tenant saw it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    event_id: EventId = Field(description="the tenant's name of it, unique for the tenant")
    amount: Amount = Field(description="in the tenant's currency")
    country: Annotated[str, StringConstraints(pattern=r"^[A-Z]{2}$")] = Field(description="ISO 3166, two letters")
    merchant: Name
    device: Name
    timestamp: Annotated[AwareDatetime, AfterValidator(_plausible)] = Field(description="when it happened, with zone")

    @property
    def at_us(self) -> int:
        """Microseconds since 1970."""
        return (self.timestamp - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)

    @cached_property
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
