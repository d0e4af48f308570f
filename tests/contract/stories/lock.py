"""Locks: one holder, those who wait in order of arrival, fences that rise."""

from __future__ import annotations

from tests.contract.book import HOSTILE, HOUR, MAX_INT, MAX_NOW, SECOND, Book, Case, keys_of
from tests.contract.vectors import State

ROLES = ("lock", "queue", "wait")
JOB = keys_of(*ROLES)
TTL = 10 * SECOND


def write(book: Book) -> None:
    for tell in (
        alone, leases_end, refusals, in_order, unclaimed, silent_mailboxes, giving_up, racers, holds, clock_goes_back,
        fences, by_force, seen, all_or_none, many_renewals, names,
    ):  # fmt: skip
        tell(book)


def acquire(case: Case, owner: str, mailbox: str = "-", hold: str = "", metadata: str = "") -> None:
    case("lock.acquire", JOB, owner, TTL, mailbox, hold, metadata)


def release(case: Case, owner: str, hold: str = "") -> None:
    case("lock.release", JOB, owner, hold)


def inspect(case: Case, most: int = 10) -> None:
    case("lock.inspect", JOB, most)


def alone(book: Book) -> None:
    case = book.case("one owner takes, renews and releases, each of it twice")
    acquire(case, "a", metadata="host 7")
    case.wait(SECOND)
    acquire(case, "a")
    case("lock.renew", JOB[:1], "a", 2 * TTL)
    case("lock.renew", JOB[:1], "a", TTL)
    release(case, "a")
    release(case, "a")
    release(case, "b")
    inspect(case)


def leases_end(book: Book) -> None:
    case = book.case("a lease ends to the microsecond, and the next fence is higher")
    acquire(case, "a")
    case.wait(TTL - 1)
    acquire(case, "b")
    case("lock.renew", JOB[:1], "b", TTL)
    case.wait(1)
    case("lock.renew", JOB[:1], "a", TTL)
    acquire(case, "b")
    release(case, "a")
    release(case, "b")
    case = book.case("an owner whose lease ended takes it anew, with another fence")
    acquire(case, "a")
    case.wait(TTL)
    acquire(case, "a")


def refusals(book: Book) -> None:
    case = book.case("who does not queue is told how long the lease lasts yet")
    acquire(case, "a")
    case.wait(TTL - 500)
    acquire(case, "b")
    inspect(case)


def in_order(book: Book) -> None:
    case = book.case("waiters are served in order of arrival, and nobody passes them")
    acquire(case, "a")
    for owner in ("b", "c"):
        acquire(case, owner, mailbox="")
    acquire(case, "b", mailbox="")
    release(case, "a")
    inspect(case)
    acquire(case, "d")
    acquire(case, "c", mailbox="")
    acquire(case, "b", mailbox="")
    release(case, "b")
    acquire(case, "c", mailbox="")
    inspect(case)


def unclaimed(book: Book) -> None:
    case = book.case("a grant that nobody claims is over after a second, and goes to the next")
    acquire(case, "a")
    acquire(case, "b", mailbox="")
    acquire(case, "c", mailbox="")
    release(case, "a")
    case("lock.renew", JOB[:1], "b", TTL)
    case.wait(SECOND)
    acquire(case, "d")
    inspect(case)
    acquire(case, "c", mailbox="")
    acquire(case, "b", mailbox="")
    case = book.case("a poller that polls no more is forgotten after 2.5 s")
    acquire(case, "a")
    acquire(case, "b", mailbox="")
    case.wait(2_500_000)
    inspect(case)
    release(case, "a")
    acquire(case, "c")


def silent_mailboxes(book: Book) -> None:
    case = book.case("a mailbox that nobody listens on is passed over")
    acquire(case, "a")
    acquire(case, "b", mailbox="contract:nobody-1")
    acquire(case, "c", mailbox="contract:nobody-2")
    acquire(case, "d", mailbox="")
    release(case, "a")
    inspect(case)
    acquire(case, "d", mailbox="")
    acquire(case, "b", mailbox="contract:nobody-1")
    case.wait(30 * SECOND)
    inspect(case)


def giving_up(book: Book) -> None:
    case = book.case("a waiter that gives up leaves the queue; a grant it gives back goes on")
    acquire(case, "a")
    for owner in ("b", "c", "d"):
        acquire(case, owner, mailbox="")
    release(case, "c")
    release(case, "a")
    release(case, "b")
    acquire(case, "d", mailbox="")


def racers(book: Book) -> None:
    case = book.case("one that races is noted, and forgotten when it has it or gives up")
    acquire(case, "a")
    acquire(case, "b", mailbox="-contract:nobody-1")
    acquire(case, "c", mailbox="-contract:nobody-2")
    release(case, "c")
    case.wait(TTL)
    acquire(case, "b", mailbox="-contract:nobody-1")
    acquire(case, "d", mailbox="-contract:nobody-1")
    release(case, "b")


def holds(book: Book) -> None:
    case = book.case("a re-entrant owner lets go when all its holds are let go")
    acquire(case, "a", hold="h1")
    acquire(case, "a", hold="h1")
    case.wait(SECOND)
    acquire(case, "a", hold="h2", metadata="twice")
    inspect(case)
    case("lock.renew", JOB[:1], "a", 1000)
    case("lock.acquire", JOB, "a", 1000, "-", "h2", "")
    release(case, "a", hold="h3")
    release(case, "a", hold="h1")
    release(case, "a", hold="h1")
    inspect(case)
    release(case, "a", hold="h2")
    release(case, "a", hold="h2")
    case = book.case("without a hold named, all are let go")
    acquire(case, "a", hold="h1")
    acquire(case, "a", hold="h2")
    release(case, "a")


def clock_goes_back(book: Book) -> None:
    case = book.case("where the clock goes back, no lease outlasts its length, and fences rise all the same")
    acquire(case, "a")
    case.wait(-HOUR)
    inspect(case)
    acquire(case, "b")
    case.wait(TTL)
    acquire(case, "b")


def fences(book: Book) -> None:
    case = book.case("fences rise after the keys are lost")
    acquire(case, "a")
    case.wait(1)
    case.given(dict.fromkeys(JOB))
    acquire(case, "b")
    case = book.case("the highest fence that is exact, and the latest time")
    case.given({JOB[0]: State("hash", {"fence": b"%d" % (MAX_INT - 1)})})
    acquire(case, "a")
    inspect(case)
    case("lock.acquire", keys_of(*ROLES, name="late"), "a", 31_622_400_000_000, "-", "", "", now=MAX_NOW)


def by_force(book: Book) -> None:
    case = book.case("an operator takes it from whoever holds it, or from the one that is meant")
    case("lock.force_release", JOB, "contract:lost", 0)
    acquire(case, "a")
    case("lock.force_release", JOB, "contract:lost", case.now - 1)
    case("lock.force_release", JOB, "contract:lost", case.now)
    case("lock.renew", JOB[:1], "a", TTL)
    release(case, "a")
    inspect(case)
    acquire(case, "b", hold="h1")
    acquire(case, "c", mailbox="")
    case("lock.force_release", JOB, "", 0)
    inspect(case)
    case("lock.force_release", JOB, "", 0)


def seen(book: Book) -> None:
    case = book.case("what is seen of a lock")
    inspect(case)
    acquire(case, "a", hold="h1", metadata="host 7, 'ü' | {x}")
    for owner in ("b", "c", "d"):
        acquire(case, owner, mailbox="")
        case.wait(SECOND)
    for most in (0, 2, 1000):
        inspect(case, most)
    case.wait(TTL)
    inspect(case)


def all_or_none(book: Book) -> None:
    case = book.case("several locks, all or none")
    locks = [key for name in ("x", "y", "z") for key in keys_of(*ROLES, name=name, tag="t")]
    case("lock.acquire", locks[3:6], "b", TTL, "-", "", "")
    case("lock.acquire_all", locks, "a", TTL, "host 7")
    case("lock.release", locks[3:6], "b", "")
    case("lock.acquire_all", locks, "a", TTL, "host 7")
    case.wait(1)
    case("lock.acquire_all", locks, "a", TTL, "")
    case("lock.acquire_all", locks, "b", TTL, "")
    case("lock.renew", locks[0::3], "a", TTL, "a", TTL, "b", TTL)
    case("lock.release", locks[3:6], "a", "")
    case("lock.acquire", locks[3:6], "w", TTL, "", "", "")
    case = book.case("it passes nobody who waits")
    acquire(case, "a")
    case.wait(TTL - SECOND)
    acquire(case, "b", mailbox="")
    case.wait(SECOND)
    case("lock.acquire_all", JOB, "c", TTL, "")
    case("lock.acquire_all", JOB, "b", TTL, "")
    case = book.case("64 locks at once, and one more")
    many = [f"{{k}}{role}{at}" for at in range(65) for role in "lqw"]
    case("lock.acquire_all", many[: 3 * 64], "a", TTL, "")
    case.refuses("RSARG KEYS", "lock.acquire_all", many, ["a", TTL, "", case.now])


def many_renewals(book: Book) -> None:
    case = book.case("renewals of many: held, lost, another's, never there, another type")
    locks = [keys_of(*ROLES, name=name, tag="t") for name in ("mine", "lost", "theirs", "none", "text")]
    case("lock.acquire", locks[0], "a", TTL, "-", "", "")
    case("lock.acquire", locks[1], "a", 1000, "-", "", "")
    case("lock.acquire", locks[2], "b", TTL, "-", "", "")
    case.wait(SECOND)
    case.given({locks[4][0]: State("string", b"text")})
    case("lock.renew", [each[0] for each in locks], *["a", TTL] * 5)
    case = book.case("512 renewals, and one more")
    many = [f"{{k}}{at}" for at in range(513)]
    case("lock.renew", many[:512], *["a", 1000] * 512)
    case.refuses("RSARG KEYS", "lock.renew", many, [*["a", 1000] * 513, case.now])


def names(book: Book) -> None:
    case = book.case("a hostile name; words of every length that is allowed")
    keys = keys_of(*ROLES, name=HOSTILE, tag="{t:ü} %")
    owner, hold = "x" * 128, "A-z_0.9:" * 16
    case("lock.acquire", keys, owner, TTL, "", hold, "ü" * 512)
    case("lock.acquire", keys, "b", TTL, ":", "", "")
    case("lock.inspect", keys, 10)
    case("lock.release", keys, owner, hold)
    case("lock.acquire", keys_of(*ROLES, name=HOSTILE), "a", TTL, "-", "", "\x00\n|")
