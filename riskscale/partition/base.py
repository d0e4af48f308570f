"""What the asyncio groups and routers share with the blocking ones: everything that does not wait."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any

from riskscale._core.base import BaseHub
from riskscale._core.call import Cleanup, Finish, Flow
from riskscale._core.durations import MICRO, Duration, integer, microseconds, seconds
from riskscale._core.keys import check_name
from riskscale._core.mailbox import PARTITIONS, channel
from riskscale.errors import ArgumentError, StateError, WrongOwner
from riskscale.lease.grant import lease_us
from riskscale.partition.assignment import Assignment, News
from riskscale.partition.calls import MOST, GroupCalls, GroupInfo
from riskscale.partition.member import GroupSpec, Member, log
from riskscale.partition.partitioner import Strategy, WorkloadPartitioner
from riskscale.partition.table import Route, Table

ANSWER = 1.0
"""Seconds that a router waits for the server."""
Heard = Callable[[list[Assignment]], Any]
"""Called with partitions; in asyncio it may be a coroutine function."""


class BasePartitionGroup:
    """See :class:`riskscale.PartitionGroup`."""

    def __init__(
        self,
        hub: BaseHub,
        group: str,
        num_partitions: int,
        ttl: Duration,
        address: str,
        on_assigned: Heard | None,
        on_revoked: Heard | None,
        drain: Duration,
        strategy: Strategy,
    ) -> None:
        self._base_hub = hub
        self._spec = GroupSpec(
            name=check_name(group, "group"),
            calls=GroupCalls.of(hub.key(group, None, "group"), channel(hub.root, PARTITIONS)),
            partitions=integer(num_partitions, "num_partitions", 1, MOST),
            ttl_us=lease_us(ttl),
            address=_check_address(address),
            drain=seconds(drain, "drain"),
        )
        for callback, argument in ((on_assigned, "on_assigned"), (on_revoked, "on_revoked")):
            if callback is not None and not callable(callback):
                raise ArgumentError(argument, "must be callable")
        self._on_assigned, self._on_revoked = on_assigned, on_revoked
        self._partitioner = WorkloadPartitioner(num_partitions, strategy=strategy)
        self._member: Member | None = None

    @property
    def name(self) -> str:
        """Of the group."""
        return self._spec.name

    @property
    def num_partitions(self) -> int:
        """How many there are, from 0 on."""
        return self._spec.partitions

    @property
    def heartbeat(self) -> float:
        """Seconds between two beats: a third of the ttl."""
        return self._spec.heartbeat

    @property
    def member(self) -> str | None:
        """This replica's name in the group, a new one each time that it joins; None while it is not in it."""
        member = self._member  # once: another thread may close the group
        return None if member is None else member.name

    @property
    def partitions(self) -> dict[int, int]:
        """What this replica owns at this moment: the epoch of each partition. No round trip."""
        member = self._member
        held = {} if member is None else member.held.copy()
        return {each.partition: each.epoch for each in held.values() if not each.lost}

    def partition_of(self, tenant_id: str) -> int:
        """The partition of a tenant; see :class:`riskscale.WorkloadPartitioner`."""
        return self._partitioner.get_partition(tenant_id)

    def check(self, partition: int, epoch: int | None = None) -> Assignment:
        """The assignment of a partition that this replica owns. No round trip: its own reckoning decides.

        Args:
            partition: which one.
            epoch: under which whoever asks believes it to be owned; an owner of an older one refuses.

        Raises:
            WrongOwner: it is another's, nobody's, or may be by now.
            ArgumentError: there is no such partition.
        """
        integer(partition, "partition", 0, self._spec.partitions - 1)
        if epoch is not None:
            integer(epoch, "epoch", 0)
        if (member := self._member) is None:
            raise WrongOwner(partition, 0)
        return member.check(partition, epoch)

    def __repr__(self) -> str:
        return f"<{type(self).__module__}.{type(self).__name__} {self.name!r} owning {len(self.partitions)}>"

    def _new_member(self) -> Member:
        if self._member is not None:
            raise StateError(f"this replica is in group {self.name!r} already")
        return Member(self._spec, self._base_hub.monotonic)

    def _joining(self, member: Member) -> Flow[None]:
        """The first beat; where its outcome is not known, the member leaves after it."""
        try:
            member.answered((yield Finish(member.beat())))
        except GeneratorExit:
            raise
        except BaseException:
            yield Cleanup(self._spec.calls.leave(member.name), awaited=False)
            raise

    def _callback(self, news: News) -> tuple[Heard | None, list[Assignment]]:
        """Whom to call, if anybody, with what."""
        return self._on_assigned if news.assigned else self._on_revoked, news.to_tell()

    def _callback_failed(self, news: News) -> None:
        log.exception("%s of group %r failed", "on_assigned" if news.assigned else "on_revoked", self.name)

    def _not_left(self, error: Exception) -> None:
        log.warning("group %r could not be left (%s): its lease ends by itself", self.name, type(error).__name__)

    def _count(self, member: Member) -> None:
        """What has become of it."""
        meter = self._base_hub.meter
        if meter is None:
            return
        meter.gauge("partitions_owned", len(member.held), group=self.name)
        lost, member.lost = member.lost, 0
        if lost:
            meter.increment("partitions_lost", lost, group=self.name)


class BasePartitionRouter:
    """See :class:`riskscale.PartitionRouter`."""

    def __init__(self, group: BasePartitionGroup, kind: type[BasePartitionGroup], refresh: Duration) -> None:
        if not isinstance(group, kind):
            where = "riskscale.sync" if kind.__module__.startswith("riskscale.sync") else "riskscale"
            raise ArgumentError("group", f"must be a {where}.PartitionGroup")
        every = microseconds(refresh, "refresh", 1000, 86_400 * MICRO) / MICRO
        self._group = group
        self._table = Table(group._spec.calls, every, group._base_hub.monotonic)
        self._is_gone = False

    @property
    def age(self) -> float:
        """Seconds since the server last confirmed the whole table: at most ``refresh`` and a round trip while it
        answers; infinite before the first time."""
        return self._table.age

    def route(self, tenant_id: str) -> Route:
        """Where a tenant's work belongs, by the local table: (partition, owner, address, epoch). No round trip.

        Raises:
            ArgumentError: the id is empty or no text.
            StateError: the router was not started.
        """
        if self._table.age == math.inf:
            raise StateError("the router knows nothing yet: start() it, or enter it")
        return self._table.route(self._group.partition_of(tenant_id))

    def _found(self, info: GroupInfo, sent: float) -> None:
        self._table.found(info, sent)
        self._is_gone = False

    def _not_read(self, error: Exception) -> None:
        if not self._is_gone:
            self._is_gone = True
            log.warning("the router of group %r goes on with what it knows: %s", self._group.name, type(error).__name__)

    def __repr__(self) -> str:
        return f"<{type(self).__module__}.{type(self).__name__} of {self._group.name!r} version={self._table.version}>"


def _check_address(address: str) -> str:
    if not isinstance(address, str) or not re.fullmatch(r"[!-~]{0,256}", address):
        raise ArgumentError("address", "must be at most 256 printable ASCII characters without spaces")
    return address
