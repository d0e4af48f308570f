"""The same decisions in plain Python: who owns which partitions, as the scripts decide it."""

from __future__ import annotations

from dataclasses import dataclass, field

from riskscale.partition.calls import Change


@dataclass(slots=True)
class Member:
    """One that is in the group."""

    name: str
    end_us: int = 0
    stays: bool = True
    share: int = 0
    changed: int = 0
    address: str = ""
    owned: list[int] = field(default_factory=list)


@dataclass(slots=True)
class Group:
    """One group; ``told`` are the changes that it published."""

    partitions: int = 0
    version: int = 0
    shares: int = 0
    staying: int = 0
    seen_us: int = 0
    shift_us: int = 0
    members: dict[str, Member] = field(default_factory=dict)
    free: list[int] = field(default_factory=list)
    epochs: dict[int, int] = field(default_factory=dict)
    told: list[Change] = field(default_factory=list)
    _before: int = 0
    _freed: list[int] = field(default_factory=list)
    _taken: list[tuple[int, int]] = field(default_factory=list)

    def time_us(self, now_us: int) -> int:
        """The group's own time, which never runs backwards."""
        return max(now_us + self.shift_us, self.seen_us)

    def beat(self, name: str, stays: bool, partitions: int, ttl_us: int, address: str, now_us: int) -> Member | None:
        """Join or stay, and take what is free; ValueError where the group has another number of partitions."""
        time_us = self.time_us(now_us)
        ended = [each for each in self.members.values() if each.end_us <= time_us]
        if self.partitions not in (0, partitions) and len(ended) < len(self.members):
            raise ValueError(self.partitions)
        self._begin()
        for each in ended:
            self._drop(each, now_us)
        me, is_new = self.members.get(name), False
        if me is None and stays:
            me, is_new = Member(name), True
            self.members[name] = me
            if self.partitions != partitions:
                self.partitions, self.free = partitions, list(range(partitions))
            me.changed = self._changes(now_us)
        if me is not None and me.stays is not stays:
            self._changes(now_us)
            me.stays, is_new = stays, True
        if ended or is_new:
            self._reshare()
        if me is not None:
            me.end_us, me.address = time_us + ttl_us, address
            self._take(me, now_us)
        if me is not None or ended:
            self._set_clock(now_us)
            self._tell(name, address)
        return me

    def release(self, name: str, items: list[tuple[int, int]], now_us: int) -> list[bool]:
        """Give some back."""
        me, released = self.members.get(name), []
        self._begin()
        for partition, epoch in items:
            is_owned = me is not None and partition in me.owned and self.epochs[partition] == epoch
            if me is not None and is_owned:
                me.owned.remove(partition)
                me.changed = self._changes(now_us)
                self._freed.append(partition)
            released.append(is_owned)
        if me is not None and self._freed:
            self.free += self._freed
            self._set_clock(now_us)
            self._tell(name, me.address)
        return released

    def leave(self, name: str, now_us: int) -> int | None:
        """Give everything back; how many, None where it is not there."""
        me = self.members.get(name)
        if me is None:
            return None
        self._begin()
        self._drop(me, now_us)
        self._reshare()
        self._set_clock(now_us)
        self._tell(name, me.address)
        return len(me.owned)

    def owned(self, name: str) -> dict[int, int]:
        """The epochs of what a member owns."""
        return {number: self.epochs[number] for number in self.members[name].owned}

    def _begin(self) -> None:
        self._before, self._freed, self._taken = self.version, [], []

    def _changes(self, now_us: int) -> int:
        if self.version == self._before:
            self.version = max(self._before + 1, now_us)
        return self.version

    def _drop(self, member: Member, now_us: int) -> None:
        self._changes(now_us)
        del self.members[member.name]
        self.free += member.owned
        self._freed += member.owned

    def _reshare(self) -> None:
        staying = sorted(
            (each for each in self.members.values() if each.stays), key=lambda each: (-len(each.owned), each.name)
        )
        for each in self.members.values():
            each.share = 0
        for at, each in enumerate(staying):
            each.share = self.partitions // len(staying) + (at < self.partitions % len(staying))
        self.shares, self.staying = self.version, len(staying)

    def _take(self, me: Member, now_us: int) -> None:
        room = max(0, me.share - len(me.owned))
        numbers, self.free = self.free[:room], self.free[room:]
        for number in numbers:
            self.epochs[number] = max(self.epochs.get(number, 0) + 1, now_us)
            self._taken.append((number, self.epochs[number]))
        if numbers:
            me.owned += numbers
            me.changed = self._changes(now_us)

    def _set_clock(self, now_us: int) -> None:
        self.seen_us = self.time_us(now_us)
        self.shift_us = self.seen_us - now_us

    def _tell(self, name: str, address: str) -> None:
        if self.version != self._before:
            self.told.append(
                Change(
                    self.version,
                    self._before,
                    self.shares,
                    self.staying,
                    len(self.free),
                    name,
                    self._freed,
                    self._taken,
                    address,
                )
            )
