"""Several replicas of one group in one process, each with a hub of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from riskscale import Assignment, Hub, PartitionGroup

LONG = 3600.0
"""A ttl whose beats are too far apart to bring anything about: what happens, happens by push."""


async def until(condition: Callable[[], object]) -> None:
    """It holds; the test's time-out is the only limit."""
    while not condition():
        await asyncio.sleep(0.001)


class Story:
    """What all replicas were told, in order."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, str, dict[int, int]]] = []

    def callbacks(self, who: str) -> dict[str, Any]:
        """Of one replica."""

        def heard(what: str) -> Callable[[list[Assignment]], None]:
            return lambda items: self.lines.append((what, who, {each.partition: each.epoch for each in items}))

        return {"on_assigned": heard("assigned"), "on_revoked": heard("revoked")}

    def said(self, what: str, who: str) -> dict[int, int]:
        """All of that together."""
        return {
            partition: epoch
            for each, name, items in self.lines
            if (each, name) == (what, who)
            for partition, epoch in items.items()
        }

    def owners(self) -> dict[int, str]:
        """By the story; fails where a partition was assigned before it was revoked elsewhere, or its epoch fell."""
        owners: dict[int, str] = {}
        epochs: dict[int, int] = {}
        for what, who, items in self.lines:
            for partition, epoch in items.items():
                if what == "revoked":
                    assert owners.pop(partition) == who
                else:
                    assert partition not in owners and epoch > epochs.get(partition, 0)
                    owners[partition], epochs[partition] = who, epoch
        return owners


def shares(*groups: PartitionGroup) -> list[int]:
    return [len(group.partitions) for group in groups]


def is_quiet(group: PartitionGroup) -> bool:
    """It waits for news, and for its next beat; the first look after a subscription is over."""
    member = group._member
    return member is not None and member._sent_at is None and not member._inbox and (member.pause() or 0) > 1


async def joined(hub: Hub, group: str, many: int, who: str, story: Story, ttl: float = LONG) -> PartitionGroup:
    """A replica that is in the group, and hears."""
    made = PartitionGroup(hub, group, many, ttl, address=f"{who}:80", **story.callbacks(who))
    await made.start()
    await until(lambda: hub.mailbox.channel)
    return made
