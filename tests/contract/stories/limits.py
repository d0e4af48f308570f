"""Limits that keys have of their own: set, read, listed."""

from __future__ import annotations

from tests.contract.book import HOSTILE, HOUR, MAX_INT, MAX_NOW, Book, keys_of
from tests.contract.vectors import State

LIMITS = keys_of("limits", name="api")


def write(book: Book) -> None:
    case = book.case("set, read, listed, changed, taken back")
    case("limits.read", LIMITS, "tenant-7")
    case("limits.list", LIMITS, 0, 100)
    case("limits.set", LIMITS, "tenant-7", "500/minute")
    case("limits.read", LIMITS, "tenant-7", "tenant-8", "tenant-7")
    case("limits.list", LIMITS, 0, 1000)
    case.wait(1)
    case("limits.set", LIMITS, "tenant-7", "10/second burst=20; 1000/hour")
    case("limits.set", LIMITS, "tenant-7", "")
    case("limits.set", LIMITS, "tenant-7", "")
    case("limits.read", LIMITS, "tenant-7")

    case = book.case("the version rises when the clock goes back, or the hash was lost")
    case("limits.set", LIMITS, "a", "1/s")
    case.wait(-HOUR)
    case("limits.set", LIMITS, "b", "1/s")
    case("limits.read", LIMITS, "a")
    case.wait(2 * HOUR)
    case.given(dict.fromkeys(LIMITS))
    case("limits.read", LIMITS, "a")
    case("limits.set", LIMITS, "a", "2/s")

    case = book.case("the highest version that is exact, and the latest time")
    case("limits.set", LIMITS, "a", "1/s", now=MAX_NOW)
    case.given({LIMITS[0]: State("hash", {"": b"%d" % (MAX_INT - 1)}, expires=False)})
    case("limits.set", LIMITS, "a", "1/s")
    case("limits.read", LIMITS, "a")

    case = book.case("a key is any bytes but none")
    case("limits.set", LIMITS, HOSTILE, "1/s")
    case("limits.read", LIMITS, HOSTILE, "nobody")
    case("limits.list", LIMITS, 0, 100)
    case.refuses("RSARG key", "limits.set", LIMITS, ["", "1/s", case.now])
    case.refuses("RSARG key", "limits.read", LIMITS, ["", case.now])
    case.refuses("RSARG key", "limits.read", LIMITS, ["a", "", case.now])
    for text in ("1/s\n", "ü", "\x00", "~" * 1025):
        case.refuses("RSARG limits", "limits.set", LIMITS, ["a", text, case.now])
    case("limits.set", keys_of("limits", name=HOSTILE), "a", "~ " * 512)

    case = book.case("what was written there by hand harms no reader")
    by_hand = {"a": "ü\x00".encode(), "b": b"x" * 1025, "": b"many"}
    case.given({LIMITS[0]: State("hash", by_hand, expires=False)})
    case("limits.read", LIMITS, "a", "b")
    case("limits.set", LIMITS, "a", "1/s")

    case = book.case("512 keys, and one more")
    case("limits.read", LIMITS, *["k"] * 512)
    case.refuses("RSARG ARGV", "limits.read", LIMITS, [*["k"] * 513, case.now])
