"""What a group of partitions costs the server: ``python -m benchmarks.partitions``, on a server of its own.

The server's own microseconds, from INFO commandstats; one client, which is every member in turn.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import redis

from benchmarks.report import Row, table
from benchmarks.wire import cost
from riskscale._core.scripts import script
from riskscale.partition.calls import Beat, GroupCalls
from riskscale.testing import ServerProcess

PARTITIONS, TTL_US = 1024, 3_600_000_000


class Members:
    """Of one group, and what each has heard."""

    def __init__(self, client: redis.Redis, name: str) -> None:
        self.client, self.calls = client, GroupCalls.of(f"rs1:{{{name}}}", "rs1:partitions")
        self.seen: dict[str, int] = {}
        self.owned: dict[str, dict[int, int]] = {}

    def run(self, call: Any) -> Any:
        """The decoded reply, by the server's clock."""
        words = (script(call.script).sha, len(call.keys), *call.keys, *call.args, "")
        return call.decode(self.client.evalsha(*words))

    def beat(self, name: str) -> Beat:
        """One, in the state in which its last one left it."""
        call = self.calls.beat(name, True, PARTITIONS, TTL_US, self.seen.get(name, 0), "10.0.0.7:8080")
        reply: Beat = self.run(call)
        self.seen[name] = reply.changed
        if reply.owned is not None:
            self.owned[name] = reply.owned
        return reply

    def settle(self, names: list[str]) -> int:
        """All beat, and give back what is too much, until nobody has anything to do; how many partitions moved."""
        before = {number: epoch for owned in self.owned.values() for number, epoch in owned.items()}
        is_quiet = False
        while not is_quiet:
            replies = {name: self.beat(name) for name in names}
            for name, reply in replies.items():
                if reply.held > reply.share:
                    newest = sorted(self.owned[name].items(), key=lambda each: -each[1])
                    self.run(self.calls.release(name, newest[: reply.held - reply.share]))
            is_quiet = all(each.held == each.share for each in replies.values())
        after = {number: epoch for owned in self.owned.values() for number, epoch in owned.items()}
        return sum(after[number] != epoch for number, epoch in before.items())


def measure(client: redis.Redis, replicas: int) -> list[Row]:
    """One group of so many replicas."""
    rows: list[Row] = []

    def timed(what: str, work: Callable[[], object], calls: int = 1) -> None:
        us = cost(client, work).total_us
        rows.append({"replicas": replicas, "what": what, "us_per_call": us / calls, "ms_in_all": us / 1000})

    members = Members(client, f"bench{replicas}")
    names = [f"host-7f9c-{number:06}" for number in range(replicas)]
    timed("the first joins and takes all", lambda: members.beat(names[0]))
    timed(
        "it gives all back, in one call",
        lambda: members.run(members.calls.release(names[0], list(members.owned[names[0]].items()))),
    )
    timed("all others join", lambda: [members.beat(name) for name in names[1:]], replicas - 1)
    members.settle(names)
    timed("a beat, nothing to do", lambda: [members.beat(name) for name in names], replicas)
    timed("all partitions are read", lambda: members.run(members.calls.read(0)))
    timed("the same, nothing changed", lambda: members.run(members.calls.read(max(members.seen.values()))))
    moved: list[int] = []
    timed("one leaves", lambda: members.run(members.calls.leave(names[7])))
    timed("and all that follows", lambda: moved.append(members.settle(names[:7] + names[8:])))
    timed("it joins again", lambda: members.beat(names[7]))
    members.owned[names[7]] = {}
    timed("and all that follows", lambda: moved.append(members.settle(names)))
    for row, what in zip((rows[-3], rows[-1]), moved, strict=True):
        row["moved"] = what
    return rows


def groups(client: redis.Redis, sizes: Sequence[int]) -> list[Row]:
    """A group of 1,024 partitions for each number of replicas."""
    for name in ("beat", "release", "leave", "read"):
        client.script_load(script(f"partition.{name}").text)
    return [row for replicas in sizes for row in measure(client, replicas)]


def main() -> None:
    """Two groups."""
    with ServerProcess() as server, redis.Redis.from_url(server.url) as client:
        print(table(f"{PARTITIONS} partitions, server time", groups(client, (100, 1000))))


if __name__ == "__main__":
    main()
