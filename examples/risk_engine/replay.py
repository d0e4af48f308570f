"""``python -m risk_engine.replay LOG``: a fleet under the traffic of a web server's log, where a client is a tenant."""

from __future__ import annotations

import argparse
import asyncio
import re
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from zlib import crc32

from risk_engine.driver import ATTEMPTS, Driver, Tally
from risk_engine.fleet import Replica, fleet
from riskscale.testing import ServerProcess

LINE = re.compile(r'^(\S+) \S+ \S+ \[([^\]]+)\] "(?:[A-Z]+ )?(\S*)[^"]*" (\d{3}) (\d+|-)')
COUNTRIES = ("SE", "DE", "JP", "BR", "US", "IN")
MOST_AT_ONCE = 500


@dataclass(frozen=True, slots=True)
class Request:
    """One line of the log; ``at`` in seconds since 1970."""

    at: float
    address: str
    path: str
    size: int


def read(log: Path) -> list[Request]:
    """The requests of a log in the common or combined format, by their time; other lines are left out."""
    found = []
    for line in log.read_text(errors="replace").splitlines():
        if match := LINE.match(line):
            address, at, path, _, size = match.groups()
            with suppress(ValueError):  # a date that is none
                when = datetime.strptime(at, "%d/%b/%Y:%H:%M:%S %z").timestamp()
                found.append(Request(when, address, path[:200] or "/", 0 if size == "-" else int(size)))
    return sorted(found, key=lambda request: request.at)


def event_of(number: int, request: Request) -> dict[str, Any]:
    """A payment for the page: its size is the amount, the address decides the country."""
    return {
        "event_id": f"line-{number}",
        "amount": f"{max(1, request.size) / 100:.2f}",
        "country": COUNTRIES[crc32(request.address.encode()) % len(COUNTRIES)],
        "merchant": request.path,
        "device": request.address,
        "timestamp": datetime.now(UTC).isoformat(),
    }


async def replay(urls: Sequence[str], requests: Sequence[Request], speed: float) -> tuple[Tally, list[tuple[str, str]]]:
    """Send them on the log's clock, ``speed`` times as fast; what became of them, and which accepted ones are lost."""
    places = asyncio.Semaphore(MOST_AT_ONCE)
    async with Driver(urls, attempts=ATTEMPTS) as driver:

        async def send(number: int, request: Request) -> None:
            try:
                await driver.send(request.address, event_of(number, request))
            finally:
                places.release()

        began, first = time.monotonic(), requests[0].at
        async with asyncio.TaskGroup() as group:
            for number, request in enumerate(requests, 1):
                await asyncio.sleep(max(0.0, began + (request.at - first) / speed - time.monotonic()))
                await places.acquire()
                group.create_task(send(number, request))
        return driver.tally, await driver.missing(driver.tally.accepted)


def report(tally: Tally, lost: Sequence[tuple[str, str]]) -> Iterator[str]:
    """For people: what was limited, queued and rejected, and that nothing was lost."""
    yield from tally.lines()
    limited = sorted(((c["RATE_LIMITED"], t) for t, c in tally.by_tenant.items() if c["RATE_LIMITED"]), reverse=True)
    yield f"limited    {sum(count for count, _ in limited)} events of {len(limited)} of {len(tally.by_tenant)} tenants"
    yield from (f"           {tenant} {count}" for count, tenant in limited[:5])
    yield f"rejected   {tally.attempts['OVERLOADED']} times, and sent again"
    yield f"lost       {len(lost)} of {len(tally.accepted)} accepted events; {tally.strangers} answers to a stranger"


def main() -> int:
    """See the module; 1 where an event was lost, or an answer went to another tenant."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("log", type=Path)
    parser.add_argument("--speed", type=float, default=5000.0, help="times the log's own")
    parser.add_argument("--replicas", type=int, default=3)
    parser.add_argument("--limit", default="5/second burst=10", help="of each tenant")
    args = parser.parse_args()
    if args.replicas < 1 or not args.speed > 0:
        parser.error("--replicas must be 1 or more, --speed above 0")
    if not args.log.is_file():
        parser.error(f"{args.log}: there is no such file")
    requests = read(args.log)
    if not requests:
        parser.error(f"{args.log}: no line of it is of the common or combined log format")
    replicas: list[Replica]
    with ServerProcess() as server, fleet(server.url, args.replicas, {"RISK_RATE_LIMIT": args.limit}) as replicas:
        print(f"{len(requests)} requests of {len({each.address for each in requests})} tenants, {args.limit} each")
        tally, lost = asyncio.run(replay([each.url for each in replicas], requests, args.speed))
    print(*report(tally, lost), sep="\n")
    return 1 if lost or tally.strangers or sum(tally.outcomes.values()) != len(requests) else 0


if __name__ == "__main__":
    sys.exit(main())
