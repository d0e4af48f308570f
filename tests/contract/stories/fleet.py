"""Fleets: what replicas report of themselves, and what that adds up to."""

from __future__ import annotations

from tests.contract.book import HOSTILE, HOUR, MAX_INT, MAX_NOW, MINUTE, SECOND, Book, Case, Word, keys_of
from tests.contract.vectors import State

FLEET = keys_of("fleet", "fleet-window", name="api")
TTL = 15 * SECOND
P99 = 990_000


def write(book: Book) -> None:
    for tell in (alone, quantiles, together, repeats, late, windows, unknown, clock_goes_back, poisoned, edges):
        tell(book)


def report(case: Case, name: str, sequence: int, *pairs: int, failures: int = 0, **said: Word) -> None:
    words = {"age_us": 0, "cpu_ppm": 500_000, "queue": 7, "observes": 1, "leaves": 0, **said}
    case("fleet.report", FLEET, name, sequence, TTL, MINUTE, *words.values(), failures, *(pairs or (0, 0)))


def snapshot(case: Case, quantile_ppm: int = P99) -> None:
    case("fleet.snapshot", FLEET, MINUTE, quantile_ppm)


def alone(book: Book) -> None:
    case = book.case("one replica: alive until its ttl after the last report, or until it leaves")
    snapshot(case)
    report(case, "a", 1)
    case.wait(SECOND)
    snapshot(case)
    case.wait(TTL - SECOND - 1)
    snapshot(case)
    case.wait(1)
    snapshot(case)
    report(case, "a", 2)
    report(case, "a", 3, leaves=1)
    snapshot(case)


def quantiles(book: Book) -> None:
    case = book.case("a quantile is the middle of the bucket of its rank")
    report(case, "a", 1, 5, 90, 64, 9, 300, 1, failures=2)
    for ppm in (1, 500_000, 900_000, 900_001, P99, 990_001, 1_000_000):
        snapshot(case, ppm)
    report(case, "a", 2, 1023, 10**9)
    snapshot(case)


def together(book: Book) -> None:
    case = book.case("the requests of all are added up, of the dead too")
    report(case, "a", 1, 10, 2, 10, 3, failures=1, leaves=1)
    report(case, "b", 1, 10, 4, 20, 1, failures=2)
    snapshot(case)


def repeats(book: Book) -> None:
    case = book.case("of a sequence number not above the last nothing is taken over")
    report(case, "a", 2, 10, 1)
    report(case, "a", 2, 10, 1)
    report(case, "a", 1, 10, 1, cpu_ppm=1)
    snapshot(case)


def late(book: Book) -> None:
    case = book.case("requests count in the slice in which they ended, and not at all where that is over")
    report(case, "a", 1, 10, 1, age_us=30 * SECOND)
    report(case, "a", 2, 11, 1, age_us=MINUTE)
    report(case, "a", 3, 12, 1, age_us=MAX_INT)
    snapshot(case)


def windows(book: Book) -> None:
    case = book.case("requests leave the window in tenths")
    report(case, "a", 1, 10, 1)
    case.wait(7 * SECOND)
    report(case, "a", 2, 11, 1)
    case.wait(52 * SECOND)
    snapshot(case)
    case.wait(5 * SECOND)
    report(case, "a", 3)
    snapshot(case)
    case.wait(HOUR)
    report(case, "b", 1)
    snapshot(case)


def unknown(book: Book) -> None:
    case = book.case("what a replica does not know, and one that does not tell of every request")
    report(case, "a", 1, cpu_ppm="", queue="", observes=0)
    snapshot(case)


def clock_goes_back(book: Book) -> None:
    case = book.case("where the clock goes back, who is alive is in doubt")
    report(case, "a", 1, 10, 1)
    case.wait(-SECOND)
    snapshot(case)
    case.wait(-HOUR)
    snapshot(case)
    report(case, "a", 2, 11, 1)
    snapshot(case)


def poisoned(book: Book) -> None:
    case = book.case("what was written there by hand harms no reader")
    case.given({FLEET[0]: State("hash", {"a": b"nothing of ours", "": b"x"})})
    case.given({FLEET[1]: State("hash", {"b": b"1", "1000000000000000|7": b"many", "swept_us": b"x"})})
    snapshot(case)
    report(case, "a", 1, 10, 1)
    snapshot(case)


def edges(book: Book) -> None:
    case = book.case("1024 pairs, and one more; the greatest of everything; a hostile name")
    report(case, "a", 1, *[word for bucket in range(1024) for word in (bucket, 1)])
    pairs = [word for bucket in range(1025) for word in (bucket % 1024, 1)]
    head = ["a", 2, TTL, MINUTE, 0, "", "", 1, 0, 0]
    case.refuses("RSARG ARGV", "fleet.report", FLEET, [*head, *pairs, case.now])
    keys, name = keys_of("fleet", "fleet-window", name=HOSTILE), "A-z_0.9:" * 16
    most = [MAX_INT, HOUR, HOUR, 0, 10**9, 10**15, 1, 0, 10**9, 1023, 10**9]
    case("fleet.report", keys, name, *most, now=MAX_NOW)
    case("fleet.snapshot", keys, HOUR, 1_000_000, now=MAX_NOW)
