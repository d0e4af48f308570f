"""The same in plain Python, the oracle of the tests: every request is kept, not its bucket."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(slots=True)
class Replica:
    """What is known of one."""

    sequence: int
    seen_us: int
    ttl_us: int
    observes: bool
    cpu_ppm: int | None
    queue: int | None


@dataclass(slots=True)
class FleetModel:
    """One group, of which all replicas have the same window."""

    window_us: int
    replicas: dict[str, Replica] = field(default_factory=dict)
    latencies: dict[int, list[int]] = field(default_factory=dict)
    """By the begin of the slice in which they ended, in microseconds."""
    failures: dict[int, int] = field(default_factory=dict)
    since_us: int | None = None
    last_us: int = 0
    swept_us: int | None = None

    def report(
        self,
        name: str,
        replica: Replica,
        age_us: int,
        latencies: list[int],
        failures: int,
        *,
        leaves: bool,
        now_us: int,
    ) -> bool:
        """Whether it was new; ``replica`` as it says it is."""
        known = self.replicas.get(name)
        if known is not None and replica.sequence <= known.sequence:
            return False
        self._sweep(now_us)
        kept_us = self.kept_us(now_us) if self.last_us + replica.ttl_us >= now_us else 0
        self.since_us, self.last_us = now_us - kept_us, now_us
        replica.seen_us, replica.ttl_us = now_us, 0 if leaves else replica.ttl_us
        self.replicas[name] = replica
        ended_us = max(0, now_us - age_us)
        begin = ended_us - ended_us % (self.window_us // 10)
        if self._is_recent(begin, self.window_us, now_us):
            self.latencies.setdefault(begin, []).extend(latencies)
            self.failures[begin] = self.failures.get(begin, 0) + failures
        return True

    def _sweep(self, now_us: int) -> None:
        """Once a slice: what has left the window, or is of a future from which the clock went back."""
        if self.swept_us is not None and self.swept_us <= now_us < self.swept_us + self.window_us // 10:
            return
        self.swept_us, window_us = now_us, self.window_us
        for begin in [each for each in self.latencies if not self._is_recent(each, window_us, now_us)]:
            del self.latencies[begin], self.failures[begin]
        for name, each in list(self.replicas.items()):
            if not self._is_recent(each.seen_us, each.ttl_us + window_us, now_us):
                del self.replicas[name]

    def kept_us(self, now_us: int) -> int:
        """For how long replicas have been kept, without a step of the clock."""
        return 0 if self.since_us is None or self.last_us > now_us else now_us - self.since_us

    def alive(self, now_us: int) -> dict[str, Replica]:
        """The replicas that are."""
        return {n: each for n, each in self.replicas.items() if self._is_recent(each.seen_us, each.ttl_us, now_us)}

    def within(self, now_us: int) -> tuple[list[int], int]:
        """The latencies within the window, sorted, and how many failed."""
        recent = [begin for begin in self.latencies if self._is_recent(begin, self.window_us, now_us)]
        found = sorted(us for begin in recent for us in self.latencies[begin])
        return found, sum(self.failures[begin] for begin in recent)

    @staticmethod
    def _is_recent(at_us: int, span_us: int, now_us: int) -> bool:
        return now_us - span_us < at_us < now_us + span_us


def nearest_rank(ordered: list[int], ppm: int) -> int | None:
    """The quantile by nearest rank; None of nothing."""
    return ordered[-(-len(ordered) * ppm // 1_000_000) - 1] if ordered else None
