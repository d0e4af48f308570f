"""Writes tests/data/sample.log: a made-up access log in Combined Log Format, the same at every run.

Ten hours of ordinary visitors, a crawler in bursts, a feed reader by the clock, and an attack on the login page. Lines
are written when a request ends, so some are out of order in time; a few are damaged, as in any real log.
"""

from __future__ import annotations

import argparse
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random

TARGET = Path(__file__).resolve().parent.parent / "tests" / "data" / "sample.log"
START = datetime(2026, 3, 2, 8, 0, 0, tzinfo=UTC)
HOURS = 10
MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
PAGES = ("/", "/pricing", "/docs/start", "/docs/limits", "/docs/locks", "/blog/fences", "/search?q=lease", "/style.css")
BROWSER = "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0"
DAMAGED = (
    "",
    "203.0.113.7 - - [02/Mar/2026:09:",
    '203.0.113.8 - - [31/Foo/2026:09:10:11 +0000] "GET / HTTP/1.1" 200 12 "-" "-"',
    "\\x16\\x03\\x01\\x02\\x00\\x01\\x00\\x01\\xfc\\x03\\x03",
    'worker process 4711 exited on signal 11, "core dumped"',
)


def line(second: float, ip: str, request: str, status: int, agent: str, user: str = "-") -> tuple[float, str]:
    """When a line is written, and the line; the zone is not always UTC."""
    zone = 60 if ip.startswith("198.51.100.") else 0
    at = START + timedelta(seconds=int(second), minutes=zone)
    stamp = f"{at.day:02}/{MONTHS[at.month - 1]}/{at.year}:{at:%H:%M:%S} +{zone // 60:02}00"
    return second, f'{ip} - {user} [{stamp}] "{request} HTTP/1.1" {status} {len(request) * 97} "-" "{agent}"'


def visitors(random: Random) -> list[tuple[float, str]]:
    """Sessions of a few pages each."""
    lines = []
    for _ in range(420):
        ip = f"{random.choice(('192.0.2', '198.51.100'))}.{random.randint(1, 180)}"
        user = random.choice(("-", "-", "-", "ada", "grace"))
        second = random.uniform(0, HOURS * 3600)
        for _ in range(random.randint(1, 9)):
            lines.append(line(second, ip, f"GET {random.choice(PAGES)}", 200, BROWSER, user))
            second += random.expovariate(1 / 8)
    return lines


def machines(random: Random) -> list[tuple[float, str]]:
    """A crawler in bursts, a feed reader, and somebody who tries passwords."""
    lines = []
    for burst in range(12):
        start = burst * 3000 + random.uniform(0, 600)
        pages = ((start + at * 0.8, f"GET /docs/page-{burst}-{at}") for at in range(40))
        lines += [line(second, "203.0.113.40", request, 200, "ExampleBot/2.1") for second, request in pages]
    feeds = range(3, HOURS * 3600, 300)
    lines += [line(second, "203.0.113.90", "GET /feed.xml", 304, "FeedReader/1.4") for second in feeds]
    tries = (14000 + at * 0.35 + random.uniform(0, 0.2) for at in range(600))
    return lines + [line(second, "203.0.113.66", "POST /login", 401, "curl/8.5.0") for second in tries]


def sample(seed: int = 20260302) -> str:
    """The whole log."""
    random = Random(seed)  # noqa: S311 - made up, and meant to be the same again
    written = [(at + (random.uniform(0, 30) if random.random() < 0.2 else 0), text) for at, text in visitors(random)]
    written += machines(random)
    written.sort(key=lambda pair: pair[0])
    texts = [text for _, text in written]
    for at, damaged in enumerate(DAMAGED, 1):
        texts.insert(at * len(texts) // (len(DAMAGED) + 1), damaged)
    return "\n".join(texts) + "\n"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 if the file is stale")
    if parser.parse_args().check:
        return 0 if TARGET.exists() and TARGET.read_text() == sample() else 1
    TARGET.parent.mkdir(parents=True, exist_ok=True)
    TARGET.write_text(sample())
    return 0


if __name__ == "__main__":
    sys.exit(main())
