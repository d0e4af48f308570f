"""What the breaker's scripts decide for all replicas, in plain Python: the oracle of the tests. See ``_model.py``."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

from riskscale._core.durations import MICRO
from riskscale.breaker._model import Circuit, Item, Known, Step, why_to_trip
from riskscale.breaker.state import NOTHING, BreakerState, Counts
from riskscale.breaker.window import SLICES

KEEP_US = 3600 * MICRO


class Node(NamedTuple):
    """What is remembered of a replica: its last report, when that came, and whether it then found it bad."""

    sequence: int
    seen_us: int
    generation: int
    votes: bool


class Pool(Circuit):
    """What the scripts decide, from what all replicas report."""

    def __init__(self, changed: Callable[[], None] = lambda: None) -> None:
        super().__init__(changed)
        self.slices: dict[int, Counts] = {}
        self.nodes: dict[str, Node] = {}

    def meet(self, step: Step, known: Known) -> None:
        """Learn of a replica what may have been lost here; one that knows nothing makes no more than a beginning."""
        if known.generation > self.generation:
            self.take(known, step.now_us)
            if known.state is BreakerState.HALF_OPEN and not known.remaining_us and step.rules.half_open_us:
                self.until_us = step.now_us  # it is over
            self._note(step, "restored")
        elif not self.generation:
            self.take(Known(1), step.now_us)
            self.policy, self.since_us, self.by = step.rules, step.now_us, step.by
        self.settle(step)

    def report(
        self,
        step: Step,
        sequence: int,
        known: Known,
        run: int,
        votes: bool,
        items: Iterable[Item],
        probe: tuple[str, int | None] | None = None,
    ) -> bool:
        """Fold in what ``step.by`` saw, once and if it is of this generation, and decide; whether it was folded in."""
        self.meet(step, known)
        node, now_us = self.nodes.get(step.by), step.now_us
        if node is None:
            keep_us = max(KEEP_US, step.rules.window_us)
            self.nodes = {name: each for name, each in self.nodes.items() if each.seen_us > now_us - keep_us}
        elif sequence <= node.sequence:
            return False
        if probe is not None:
            self.finish(step, *probe)
        folds = known.generation == self.generation
        self.nodes[step.by] = Node(sequence, now_us, known.generation, votes and folds)
        if folds and self.state in (BreakerState.CLOSED, BreakerState.METRICS_ONLY):
            counts = self._fold(step, items)
            reason = why_to_trip(step.rules, run, counts, step.rules.minimum)
            quorum = step.rules.quorum
            if reason and self.state is BreakerState.CLOSED and (quorum == 1 or self._votes(step) >= quorum):
                self._open(step, reason, counts)
        return folds

    def take(self, known: Known, now_us: int) -> None:
        """Become what is known of a later generation."""
        super().take(known, now_us)
        self.slices.clear()

    def window(self, window_us: int, now_us: int) -> Counts:
        """All calls of the window."""
        live = [each for at, each in self.slices.items() if now_us - window_us < at <= now_us]
        return Counts(*(sum(each[place] for each in live) for place in range(3)))

    def _fold(self, step: Step, items: Iterable[Item]) -> Counts:
        window_us, now_us = step.rules.window_us, step.now_us
        for age_us, counts in items:
            at = max(0, now_us - age_us)
            at -= at % (window_us // SLICES)
            self.slices[at] = Counts(*map(sum, zip(self.slices.get(at, NOTHING), counts, strict=True)))
        self.slices = {at: each for at, each in self.slices.items() if now_us - window_us < at <= now_us}
        return self.window(window_us, now_us)

    def _votes(self, step: Step) -> int:
        since, now_us = step.now_us - step.rules.window_us, step.now_us
        return sum(
            each.votes and each.generation == self.generation and since < each.seen_us <= now_us
            for each in self.nodes.values()
        )
