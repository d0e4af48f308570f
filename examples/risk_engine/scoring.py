"""The rules: velocity, amount and geography of one device, in points from 0 to 100. Pure.

The features are those of what the device did *before* the event, by the event's own time, so that a repeat of the same
event finds the same.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from statistics import fmean

from risk_engine.events import Decision, Event, Reason

MINUTE_US = 60_000_000
HOUR_US = 60 * MINUTE_US
REVIEW, DECLINE = 40, 70
HIGH_AMOUNT = Decimal(10_000)
HIGH_RISK = frozenset({"KP", "IR", "MM"})
"""On the FATF's list of high-risk jurisdictions."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What is remembered of an event."""

    at_us: int
    event_id: str
    amount: Decimal
    country: str
    merchant: str


@dataclass(frozen=True, slots=True)
class Features:
    """What the device did before."""

    in_ten_minutes: int
    known: int
    mean_amount: float
    last_country: str
    minutes_since: float
    knows_merchant: bool


@dataclass(frozen=True, slots=True)
class Score:
    """0 is harmless."""

    points: int
    reasons: tuple[Reason, ...]

    @property
    def decision(self) -> Decision:
        """What to do about it."""
        if self.points >= DECLINE:
            return "decline"
        return "review" if self.points >= REVIEW else "approve"


def features(event: Event, history: Iterable[Seen]) -> Features:
    """Of the events that came before this one."""
    order = (event.at_us, event.event_id)
    before = sorted((each for each in history if (each.at_us, each.event_id) < order), key=lambda each: each.at_us)
    last = before[-1] if before else None
    return Features(
        in_ten_minutes=sum(each.at_us > event.at_us - 10 * MINUTE_US for each in before),
        known=len(before),
        mean_amount=fmean(float(each.amount) for each in before) if before else 0.0,
        last_country=last.country if last else "",
        minutes_since=(event.at_us - last.at_us) / MINUTE_US if last else 0.0,
        knows_merchant=any(each.merchant == event.merchant for each in before),
    )


def score(event: Event, seen: Features) -> Score:
    """The points of all rules that apply, 100 at the most."""
    reasons = tuple(_reasons(event, seen))
    return Score(min(100, sum(each.points for each in reasons)), reasons)


def _reasons(event: Event, seen: Features) -> Iterable[Reason]:
    if seen.in_ten_minutes >= 10:
        yield Reason(rule="velocity", points=45, why=f"{seen.in_ten_minutes} events of the device in ten minutes")
    elif seen.in_ten_minutes >= 5:
        yield Reason(rule="velocity", points=25, why=f"{seen.in_ten_minutes} events of the device in ten minutes")
    if seen.known >= 3 and float(event.amount) > 5 * seen.mean_amount:
        yield Reason(rule="unusual_amount", points=30, why=f"over 5 times the device's mean of {seen.mean_amount:.2f}")
    if event.amount >= HIGH_AMOUNT:
        yield Reason(rule="high_amount", points=25, why=f"{HIGH_AMOUNT} or more")
    if seen.last_country not in ("", event.country) and seen.minutes_since < 60:
        yield Reason(
            rule="travel",
            points=40,
            why=f"{seen.last_country} was {seen.minutes_since:.0f} minutes before {event.country}",
        )
    if event.country in HIGH_RISK:
        yield Reason(rule="country", points=30, why=f"{event.country} is on the list of high-risk jurisdictions")
    if seen.known and not seen.knows_merchant and event.amount >= 1000:
        yield Reason(rule="new_merchant", points=10, why="1000 or more to a merchant that the device never paid")
