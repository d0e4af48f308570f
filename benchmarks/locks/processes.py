"""Crowds in processes of their own."""

from __future__ import annotations

import benchmarks.processes
from benchmarks.locks.crowd import Crowd, Held, Turn


class Processes(benchmarks.processes.Processes):
    """So many; they count grants in memory that they share."""

    def __init__(self, url: str, count: int) -> None:
        super().__init__(url, count, Crowd)
        self.grants = self.shared

    def contend(self, turn: Turn) -> list[Held]:
        """All at once."""
        return [each for several in self.all_do("contend", turn) for each in several]

    def bare(self, threads: bool, count: int) -> list[float]:
        """One alone, while the others do nothing."""
        taken: list[float] = self.one_does("bare", threads, count)
        return taken
