"""Which values of a label are the busiest, in bounded memory: the Space-Saving sketch, and a place for its winners."""

from __future__ import annotations

from collections.abc import Callable


class SpaceSaving:
    """The most frequent of any number of values, by ``size`` counters.

    Source: Metwally, Agrawal, El Abbadi, "Efficient Computation of Frequent and Top-k Elements in Data Streams" (2005).
    A value's count is never too low, and too high by at most its error, which is at most n / ``size`` after n events;
    so every value with more than n / ``size`` is among them. Each event costs the same: values of one count share a
    bucket, and the lowest bucket is known.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._counts: dict[str, int] = {}
        self._errors: dict[str, int] = {}
        self._buckets: dict[int, dict[str, None]] = {}
        self._lowest = 0

    def add(self, value: str) -> None:
        """One event more of ``value``; where there is no counter left, it takes over the lowest."""
        count = self._counts.get(value)
        if count is None:
            count = self._errors[value] = self._freed()
        else:
            self._leave(value, count)
        count += 1
        self._counts[value] = count
        bucket = self._buckets.get(count)
        if bucket is None:
            self._buckets[count] = {value: None}
        else:
            bucket[value] = None

    def most(self, value: str) -> int:
        """How many events it had at the most."""
        return self._counts.get(value, self._lowest if len(self._counts) == self._size else 0)

    def least(self, value: str) -> int:
        """How many it had for certain."""
        return self._counts.get(value, 0) - self._errors.get(value, 0)

    def halve(self) -> None:
        """Let the past count half."""
        counts = {value: count // 2 for value, count in self._counts.items() if count > 1}
        self._errors = {value: self._errors[value] // 2 for value in counts}
        self._counts, self._buckets = counts, {}
        for value, count in counts.items():
            self._buckets.setdefault(count, {})[value] = None
        self._lowest = min(self._buckets, default=0)

    def _freed(self) -> int:
        """What the counter stands at that a new value gets."""
        if len(self._counts) < self._size:
            self._lowest = 1
            return 0
        count = self._lowest
        loser = next(iter(self._buckets[count]))
        del self._counts[loser], self._errors[loser]
        self._leave(loser, count)
        return count

    def _leave(self, value: str, count: int) -> None:
        """Out of its bucket; it, or who takes its place, comes into the next, which is then the lowest at the most."""
        bucket = self._buckets[count]
        del bucket[value]
        if not bucket:
            del self._buckets[count]
            if count == self._lowest:
                self._lowest = count + 1


class Top:
    """The ``places`` busiest values go by their names, and all others together by another.

    Whoever comes while there is room has a place. Later a value takes the place of the least busy one once it has had
    more events for certain than that one at the most: a crowd that comes once each displaces nobody. Past events count
    half after every ``HALF_LIFE`` times ``places`` of them, so that yesterday's busiest make room for today's.
    """

    SPARE = 16
    """Counters to a place."""
    HALF_LIFE = 10_000

    def __init__(self, places: int, evicted: Callable[[str], None]) -> None:
        self._sketch = SpaceSaving(places * self.SPARE)
        self._places, self._evicted = places, evicted
        self._named: set[str] = set()
        self._bar = 0
        """At most what the least busy of those with a place had when somebody looked."""
        self._until_halving = places * self.HALF_LIFE

    def has(self, value: str) -> bool:
        """One event more of ``value``; whether it goes by its name."""
        self._until_halving -= 1
        if not self._until_halving:
            self._halve()
        sketch, named = self._sketch, self._named
        sketch.add(value)
        if value in named:
            return True
        if len(named) < self._places:
            named.add(value)
            return True
        return sketch.least(value) > self._bar and self._displaces(value)

    def _displaces(self, value: str) -> bool:
        loser = min(self._named, key=self._sketch.most)
        self._bar = self._sketch.most(loser)
        if self._sketch.least(value) <= self._bar:
            return False
        self._named.remove(loser)
        self._named.add(value)
        self._evicted(loser)
        return True

    def _halve(self) -> None:
        self._until_halving = self._places * self.HALF_LIFE
        self._sketch.halve()
        self._bar = 0
