"""The shared breakers of a hub: one replica of each name and policy, however many objects name it."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

from riskscale._core.base import BaseHub
from riskscale._core.keys import check_name
from riskscale._core.mailbox import BREAKERS, channel
from riskscale.breaker.calls import BreakerKeys
from riskscale.breaker.policy import BreakerPolicy
from riskscale.breaker.replica import log
from riskscale.breaker.shared import SharedReplica
from riskscale.errors import ArgumentError, StateError

MOST_OF_A_NAME = 16
"""Replicas; more are a mistake, since they stay for as long as the hub."""


class Replicas:
    """What the asyncio reporter shares with the blocking one."""

    _wake: Any
    """An event of the reporter's kind."""

    def __init__(self, hub: BaseHub) -> None:
        self._base_hub = hub
        self._replicas: dict[tuple[str, BreakerPolicy], SharedReplica] = {}
        self._crowded: set[str] = set()
        self.channel = channel(hub.root, BREAKERS)

    def __iter__(self) -> Iterator[SharedReplica]:
        return iter(list(self._replicas.values()))

    def replica(self, name: str | None, policy: BreakerPolicy) -> SharedReplica:
        """Of the breaker of that name; ArgumentError where it cannot be shared."""
        hub = self._base_hub
        if name is None:
            raise ArgumentError("name", "is needed for a breaker that replicas share")
        if policy.window_calls is not None:
            raise ArgumentError("policy", "has a window by count, which replicas cannot share: use window_seconds")
        known = self._replicas.get((check_name(name, "name"), policy))
        if known is not None:
            return known
        keys = BreakerKeys.of(hub.key(name))
        made = SharedReplica(name, policy, keys, self.channel, hub.monotonic, inline=not hub.lasting)
        made.wake = partial(self._look_after, made)
        self._enlist(made)
        self._watch_for_many(name)
        return self._replicas.setdefault((name, policy), made)

    def _enlist(self, replica: SharedReplica) -> None:
        """Before its first call."""
        raise NotImplementedError

    def _watch_for_many(self, name: str) -> None:
        if name not in self._crowded and sum(each.name == name for each in self) >= MOST_OF_A_NAME:
            self._crowded.add(name)
            message = "breaker %r has more than %d policies, and all are kept: is a failure_result made anew each time?"
            log.warning(message, name, MOST_OF_A_NAME)

    def _look_after(self, replica: SharedReplica) -> None:
        """It has something to do at once."""
        if self.is_home:
            self._wake.set()
        else:
            replica.strand()

    @property
    def is_home(self) -> bool:
        """Whether this is where its reports come from: nothing that runs in the background survives a fork."""
        return not self._base_hub.is_forked

    def check_home(self) -> None:
        """StateError where no change would ever be told or heard."""
        if not self.is_home:
            raise StateError("a hub's breakers are of the process and event loop that first used it; make one for each")

    def end(self) -> None:
        """The hub is closed, or about to be."""
        for replica in self:
            replica.end()

    def pause(self) -> float:
        """Seconds until the next report is due."""
        return max(0.0, min((each.due_in for each in self), default=60.0))
