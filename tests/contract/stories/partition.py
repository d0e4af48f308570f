"""Partitions that a group of replicas shares out: one owner each, an epoch at each change of hands."""

from __future__ import annotations

from tests.contract.book import HOSTILE, HOUR, MAX_INT, MAX_NOW, SECOND, Book, Case, Word, keys_of
from tests.contract.vectors import State

GROUP = keys_of("partitions", name="workers")
TTL = 10 * SECOND


def write(book: Book) -> None:
    for tell in (shared_out, hand_over, leaving, silent, unchanged, numbers, clock_goes_back, lost, many, edges):
        tell(book)


def beat(case: Case, name: str, *, stays: int = 1, partitions: int = 8, seen: int = 0) -> list[int]:
    reply: list[int] = case("partition.beat", GROUP, name, stays, partitions, TTL, seen, f"{name}:80", "")
    return reply


def release(case: Case, name: str, *pairs: Word) -> None:
    case("partition.release", GROUP, name, "", *pairs)


def leave(case: Case, name: str) -> None:
    case("partition.leave", GROUP, name, "")


def read(case: Case, seen: int = 0) -> None:
    case("partition.read", GROUP, seen)


def shared_out(book: Book) -> None:
    case = book.case("the first takes all, those who come after get what it gives back")
    read(case)
    beat(case, "a")
    beat(case, "b")
    owned = beat(case, "a")[9:]
    release(case, "a", *owned[8:])
    release(case, "a", *owned[8:10])
    beat(case, "b")
    read(case)


def hand_over(book: Book) -> None:
    case = book.case("an epoch rises with every owner; under another epoch nothing is given back")
    partition, epoch = beat(case, "a", partitions=1)[9:]
    release(case, "a", partition, epoch - 1)
    release(case, "b", partition, epoch)
    release(case, "a", partition, epoch)
    beat(case, "a", partitions=1)


def leaving(book: Book) -> None:
    case = book.case("who is about to leave takes nothing more; who has left owns nothing")
    beat(case, "a")
    beat(case, "a", stays=0)
    beat(case, "b")
    read(case)
    leave(case, "a")
    leave(case, "a")
    beat(case, "a", stays=0)
    beat(case, "b")
    read(case)


def silent(book: Book) -> None:
    case = book.case("of whose lease has ended, the next beat of anybody gives everything back")
    beat(case, "a")
    case.wait(SECOND)
    beat(case, "b")
    case.wait(TTL - SECOND - 1)
    beat(case, "b")
    case.wait(1)
    read(case)
    beat(case, "b")
    read(case)
    beat(case, "a")


def unchanged(book: Book) -> None:
    case = book.case("what has been seen is not replied again")
    reply = beat(case, "a", partitions=3)
    beat(case, "a", partitions=3, seen=reply[3])
    beat(case, "a", partitions=3, seen=reply[3] + 1)
    read(case, seen=reply[2])
    read(case, seen=reply[2] - 1)


def numbers(book: Book) -> None:
    case = book.case("a group has one number of partitions as long as somebody is there")
    beat(case, "a", partitions=3)
    case.refuses("RSARG partitions", "partition.beat", GROUP, ["b", 1, 4, TTL, 0, "", "", case.now])
    leave(case, "a")
    beat(case, "b", partitions=4)
    beat(case, "c", partitions=4, stays=0)


def clock_goes_back(book: Book) -> None:
    case = book.case("the group's own time never goes back")
    beat(case, "a", partitions=2)
    case.wait(-HOUR)
    beat(case, "b", partitions=2)
    case.wait(TTL)
    beat(case, "b", partitions=2)


def lost(book: Book) -> None:
    case = book.case("after the key is lost, versions and epochs rise all the same")
    beat(case, "a", partitions=2)
    case.wait(1)
    case.given(dict.fromkeys(GROUP))
    release(case, "a", 0, case.now - 1)
    beat(case, "a", partitions=2)


def many(book: Book) -> None:
    case = book.case("4096 partitions given back in one call, and one more")
    beat(case, "a", partitions=1)
    release(case, "a", *[0, case.now] * 4096)
    case.refuses("RSARG ARGV", "partition.release", GROUP, ["a", "", *[0, 0] * 4097, case.now])


def edges(book: Book) -> None:
    case = book.case("the latest time, a hostile name, the highest version that is exact")
    keys, name = keys_of("partitions", name=HOSTILE), "A-z_0.9:" * 16
    case("partition.beat", keys, name, 1, 2, 31_622_400_000_000, 0, "x" * 256, ":", now=MAX_NOW)
    case("partition.read", keys, 0, now=MAX_NOW)
    case("partition.leave", keys, name, "contract:nobody-1", now=MAX_NOW)
    for address in ("a b", "ü", "\x00"):
        case.refuses("RSARG address", "partition.beat", keys, ["a", 1, 2, TTL, 0, address, "", case.now])
    case.given({GROUP[0]: State("hash", {"version": b"%d" % (MAX_INT - 1)})})
    beat(case, "a", partitions=1)
