"""What is known of limits that are read elsewhere, and how old that is. Pure, but for a clock.

It is as old as the request was sent that read it, or that said that nothing has changed since: each change raises a
version, so one small reply vouches for all keys that were read at that version.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from itertools import islice

from riskscale.errors import HubClosed
from riskscale.rate.fallback import RETRY
from riskscale.rate.limit import Limit

log = logging.getLogger("riskscale.limits")

FRESH = 1.0
"""Seconds for which what is known is used."""
EARLY = 0.5
"""Seconds after which it is looked at again where it is still used, while nobody needs to wait for that."""
BY_HAND = 60.0
"""Seconds after which a key is read again though the version is the same: somebody may write without raising it."""
MOST = 65_536
"""Keys that are remembered; of more, those that were read first are read again."""
WARNINGS = 1000

Limits = tuple[Limit, ...]


class Entry:
    """The limits of one key."""

    __slots__ = ("limits", "sent", "version")

    def __init__(self, limits: Limits, sent: float, version: int | None) -> None:
        self.limits, self.sent, self.version = limits, sent, version


class Known:
    """Of one source."""

    patience = 1.0
    """Seconds without an answer after which what is known is used, however old."""

    def __init__(self, default: Limits, monotonic: Callable[[], float]) -> None:
        self.default, self._monotonic = default, monotonic
        self._entries: OrderedDict[str, Entry] = OrderedDict()
        self._version, self._vouched = -1, -1e9
        self._before = self._version, self._vouched
        self._begun: float | None = None
        self._again_at, self._failed = -1e9, False
        self._warned: set[tuple[str, str]] = set()

    def of(self, keys: Sequence[str]) -> list[Limits]:
        """The limits of each, however old; the default of those that were never read."""
        return [self.default if (entry := self._entries.get(key)) is None else entry.limits for key in keys]

    def age(self, keys: Sequence[str]) -> float:
        """Of what is known least of, in seconds."""
        now = self._monotonic()
        return self._age(keys[0], now) if len(keys) == 1 else max([self._age(key, now) for key in keys])

    def older(self, keys: Sequence[str], than: float) -> dict[str, None]:
        """Those of which what is known is so old, or older."""
        now = self._monotonic()
        return {key: None for key in keys if self._age(key, now) >= than}

    @property
    def is_blind(self) -> bool:
        """Whether nobody should wait for an answer: the last attempt failed, or takes very long."""
        return self._failed or (self._begun is not None and self._monotonic() - self._begun > self.patience)

    @property
    def may_ask(self) -> bool:
        """Whether it is time for an attempt."""
        return self._monotonic() >= self._again_at

    def to_read(self, wanted: Mapping[str, None], most: int) -> list[str]:
        """What to read next of ``wanted``: what no version vouches for, else any one key, for the version."""
        unread = (key for key in wanted if not self._is_vouched(key))
        return list(islice(unread, most)) or list(islice(wanted, 1))

    def settle(self, wanted: dict[str, None], read: Sequence[str]) -> None:
        """Take from ``wanted`` what was read, and what the version vouches for now."""
        done = set(read)
        for key in [key for key in wanted if key in done or self._is_vouched(key)]:
            del wanted[key]

    def begin(self) -> float:
        """An attempt is sent now; the time of that."""
        self._begun = self._monotonic()
        return self._begun

    def store(self, found: Mapping[str, Limits], sent: float, version: int | None = None) -> None:
        """The answer to what was asked at ``sent``; where there are versions, that of all keys at that time."""
        self._begun = None
        if self._failed:
            log.warning("limits are read again")
            self._failed = False
        if version is not None and not self._is_news(version, sent):
            return
        for key, limits in found.items():
            self._entries[key] = Entry(limits, sent, version)  # at no time without: other threads look
            self._entries.move_to_end(key)
        while len(self._entries) > MOST:
            self._entries.popitem(last=False)

    def failed(self, error: Exception) -> None:
        """There was no answer: what is known goes on."""
        self._begun, self._again_at = None, self._monotonic() + RETRY
        if not self._failed and not isinstance(error, HubClosed):
            log.warning("limits cannot be read, the last known go on: %s", type(error).__name__)
        self._failed = True

    def doubt(self, key: str, why: str, instead: str = "the default goes on") -> Limits:
        """What is said of the limits of ``key`` makes no sense: the default, and one warning."""
        if (key, why) not in self._warned:
            if len(self._warned) >= WARNINGS:
                self._warned.clear()
            self._warned.add((key, why))
            log.warning("%s for %r: %r", instead, key[:80], why[:200])
        return self.default

    def _is_news(self, version: int, sent: float) -> bool:
        """Whether it is no late answer. A lower version that was asked for later: what there was is lost."""
        if version == self._version:
            self._vouched = max(self._vouched, sent)
            return True
        if version < self._version and sent < self._vouched:
            return False
        self._before = self._version, self._vouched
        self._version, self._vouched = version, sent
        return True

    def _age(self, key: str, now: float) -> float:
        entry = self._entries.get(key)
        if entry is None:
            return float("inf")
        vouched = entry.sent
        if entry.version == self._version:
            vouched = self._vouched
        elif entry.version == self._before[0]:
            vouched = self._before[1]
        return max(now - vouched, (now - entry.sent) * (FRESH / BY_HAND))

    def _is_vouched(self, key: str) -> bool:
        entry = self._entries.get(key)
        by_hand = BY_HAND * (EARLY / FRESH)
        return entry is not None and entry.version == self._version and self._monotonic() - entry.sent < by_hand
