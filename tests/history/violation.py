"""What is wrong with a history."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Violation:
    """``kind`` of it, on which lock ('': on none), at which time of the server's clock."""

    kind: str
    name: str
    at: int
    text: str

    def __str__(self) -> str:
        return f"{self.kind} on {self.name or 'the whole'} at {self.at}: {self.text}"
