"""What limits did to requests: pure counting."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

from riskscale.cli.screen import iso


@dataclass(slots=True)
class KeyTally:
    """One key's requests; the times of its first and last refusal, in microseconds."""

    key: str
    admitted: int = 0
    refused: int = 0
    first_refused_us: int | None = None
    last_refused_us: int | None = None

    def as_json(self) -> dict[str, Any]:
        """For ``--json``."""
        return {
            "key": self.key,
            "admitted": self.admitted,
            "refused": self.refused,
            "first_refused": iso(self.first_refused_us),
            "last_refused": iso(self.last_refused_us),
        }


@dataclass(slots=True)
class Tally:
    """All keys' requests under one algorithm."""

    algorithm: str
    by_key: dict[str, KeyTally] = field(default_factory=dict)

    def add(self, key: str, at_us: int, allowed: bool) -> None:
        """Count one request; requests come in order of time."""
        tally = self.by_key.get(key)
        if tally is None:
            tally = self.by_key[key] = KeyTally(key)
        if allowed:
            tally.admitted += 1
            return
        tally.refused += 1
        tally.last_refused_us = at_us
        if tally.first_refused_us is None:
            tally.first_refused_us = at_us

    @property
    def admitted(self) -> int:
        """Requests let through."""
        return sum(tally.admitted for tally in self.by_key.values())

    @property
    def refused(self) -> int:
        """Requests turned away."""
        return sum(tally.refused for tally in self.by_key.values())

    @property
    def keys_refused(self) -> int:
        """Keys that were refused at least once."""
        return sum(tally.refused > 0 for tally in self.by_key.values())

    def worst(self, top: int) -> list[KeyTally]:
        """The ``top`` keys, most refused first (0: all)."""
        ordered = sorted(self.by_key.values(), key=lambda tally: (-tally.refused, -tally.admitted, tally.key))
        return ordered[:top] if top else ordered


def batches(requests: Iterable[tuple[int, str]]) -> Iterator[tuple[int, list[str]]]:
    """The keys of each moment, in order: they see one time, so they can travel in one call."""
    for at_us, group in groupby(requests, key=lambda request: request[0]):
        yield at_us, [key for _, key in group]
