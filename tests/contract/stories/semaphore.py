"""Semaphores: weights below a limit, each with a lease; waiters in order of arrival; bulkheads; readers and writers."""

from __future__ import annotations

from tests.contract.book import HOSTILE, HOUR, MAX_INT, MAX_NOW, SECOND, Book, Case, keys_of
from tests.contract.vectors import State

ROLES = ("semaphore", "semaphore-leases", "semaphore-queue", "semaphore-wait")
JOB = keys_of(*ROLES)
TTL = 10 * SECOND


def write(book: Book) -> None:
    for tell in (
        alone, leases_end, in_order, grants, unclaimed, full_queues, shorter, clock_goes_back, releases, seen,
        lost_keys, readers_and_writers, many_renewals, edges, names,
    ):  # fmt: skip
        tell(book)


def acquire(case: Case, owner: str, weight: int = 1, mailbox: str = "-", limit: int = 3, most: int | str = "") -> None:
    case("semaphore.acquire", JOB, owner, TTL, mailbox, weight, limit, most, "")


def release(case: Case, owner: str) -> None:
    case("semaphore.release", JOB, owner)


def renew(case: Case, owner: str, ttl_us: int = TTL) -> None:
    case("semaphore.renew", JOB[:1], owner, ttl_us)


def inspect(case: Case, most: int = 10) -> None:
    case("semaphore.inspect", JOB, most)


def alone(book: Book) -> None:
    case = book.case("weights up to the limit, and no more")
    acquire(case, "a")
    acquire(case, "b", weight=2)
    acquire(case, "c")
    acquire(case, "a")
    acquire(case, "c", limit=4)
    renew(case, "a")
    release(case, "b")
    release(case, "b")
    inspect(case)


def leases_end(book: Book) -> None:
    case = book.case("a lease ends to the microsecond, and its weight is free")
    acquire(case, "a", weight=3)
    case.wait(TTL - 1)
    acquire(case, "b")
    case.wait(1)
    renew(case, "a")
    inspect(case)
    acquire(case, "b")
    release(case, "a")
    acquire(case, "a")


def in_order(book: Book) -> None:
    case = book.case("the first that does not fit stops those behind it")
    acquire(case, "a", weight=2)
    acquire(case, "b", weight=2, mailbox="")
    acquire(case, "c", weight=1, mailbox="")
    acquire(case, "d", weight=1)
    acquire(case, "c", weight=1, mailbox="")
    inspect(case)
    release(case, "b")
    acquire(case, "c", weight=1, mailbox="")


def grants(book: Book) -> None:
    case = book.case("several are granted at once where they fit; a claim makes the lease whole")
    acquire(case, "a", weight=3)
    for owner in ("b", "c", "d", "e"):
        acquire(case, owner, mailbox="")
    release(case, "a")
    inspect(case)
    acquire(case, "b", mailbox="")
    renew(case, "c")
    acquire(case, "c", mailbox="")
    inspect(case)
    acquire(case, "f")


def unclaimed(book: Book) -> None:
    case = book.case(
        "a grant that nobody claims is over after a second; a mailbox that nobody listens on is passed over"
    )
    acquire(case, "a", weight=3)
    acquire(case, "b", weight=3, mailbox="")
    acquire(case, "c", weight=3, mailbox="contract:nobody-1")
    acquire(case, "d", weight=3, mailbox="")
    release(case, "a")
    case.wait(SECOND)
    acquire(case, "d", weight=3, mailbox="")
    acquire(case, "b", mailbox="")
    case.wait(30 * SECOND)
    inspect(case)
    acquire(case, "e")


def full_queues(book: Book) -> None:
    case = book.case("a queue that is as long as it may be")
    acquire(case, "a", weight=3, most=1)
    acquire(case, "b", mailbox="", most=0)
    acquire(case, "b", mailbox="", most=1)
    acquire(case, "c", mailbox="", most=1)
    acquire(case, "b", mailbox="", most=0)
    acquire(case, "c", mailbox="", most=2)
    case.wait(3 * SECOND)
    acquire(case, "d", mailbox="", most=1)
    inspect(case)


def shorter(book: Book) -> None:
    case = book.case("a renewal may shorten a lease")
    acquire(case, "a", weight=3)
    renew(case, "a", ttl_us=SECOND)
    acquire(case, "b")
    case.wait(SECOND)
    renew(case, "a")
    acquire(case, "b")
    inspect(case)
    case = book.case("a renewal changes when it ends, and the next who takes looks there")
    acquire(case, "a", weight=3)
    renew(case, "a", ttl_us=3 * TTL)
    case.wait(2 * TTL)
    acquire(case, "b")
    case.wait(TTL)
    acquire(case, "b")


def clock_goes_back(book: Book) -> None:
    case = book.case("its own time never goes back")
    acquire(case, "a", weight=3)
    case.wait(-HOUR)
    acquire(case, "b")
    renew(case, "a")
    case.wait(TTL)
    inspect(case)
    acquire(case, "b")


def releases(book: Book) -> None:
    case = book.case("a release is remembered until 32 others were made")
    acquire(case, "first")
    release(case, "first")
    release(case, "nobody")
    for at in range(31):
        acquire(case, f"o{at}")
        release(case, f"o{at}")
    release(case, "first")
    acquire(case, "o31")
    release(case, "o31")
    release(case, "first")


def seen(book: Book) -> None:
    case = book.case("what is seen of a semaphore")
    inspect(case)
    case("semaphore.acquire", JOB, "a", TTL, "-", 2, 3, "", "host 7, 'ü' | {x}")
    acquire(case, "b", weight=3, mailbox="")
    case.wait(SECOND)
    acquire(case, "c", weight=1, mailbox="")
    for most in (0, 1, 2, 1000):
        inspect(case, most)
    case.wait(3 * SECOND)
    inspect(case)
    case.wait(TTL)
    inspect(case)


def lost_keys(book: Book) -> None:
    case = book.case("the order of looks is lost, and made anew; then all of it is")
    acquire(case, "a", weight=2)
    case.given({JOB[1]: None})
    inspect(case)
    acquire(case, "b", weight=2)
    case.wait(1)
    case.given(dict.fromkeys(JOB))
    acquire(case, "c", weight=2)


def readers_and_writers(book: Book) -> None:
    case = book.case("readers and writers: a waiting writer stops the readers behind it")
    keys, most = keys_of("rw", "rw-leases", "rw-queue", "rw-wait"), 1_000_000

    def ask(owner: str, weight: int) -> None:
        case("semaphore.acquire", keys, owner, TTL, "", weight, most, "", "")

    for owner, weight in (("r1", 1), ("r2", 1), ("w1", most), ("r3", 1)):
        ask(owner, weight)
    case("semaphore.release", keys, "r1")
    case("semaphore.release", keys, "r2")
    ask("w1", most)
    case("semaphore.release", keys, "w1")
    ask("r3", 1)


def many_renewals(book: Book) -> None:
    case = book.case("renewals of many: held, another's, never there, another type")
    keys = [keys_of(*ROLES, name=name, tag="t") for name in ("mine", "theirs", "none", "text")]
    case("semaphore.acquire", keys[0], "a", TTL, "-", 1, 3, "", "")
    case("semaphore.acquire", keys[1], "b", TTL, "-", 1, 3, "", "")
    case.given({keys[3][0]: State("string", b"text")})
    case("semaphore.renew", [each[0] for each in keys], *["a", TTL] * 4)
    case = book.case("512 renewals, and one more")
    many = [f"{{k}}{at}" for at in range(513)]
    case("semaphore.renew", many[:512], *["a", 1000] * 512)
    case.refuses("RSARG KEYS", "semaphore.renew", many, [*["a", 1000] * 513, case.now])


def edges(book: Book) -> None:
    case = book.case("the greatest weights, and the highest fence that is exact")
    most = 10**9
    case("semaphore.acquire", JOB, "a", 31_622_400_000_000, "-", most, most, 1_000_000, "x" * 1024, now=MAX_NOW)
    case.refuses("RSARG weight", "semaphore.acquire", JOB, ["b", TTL, "-", 4, 3, "", "", case.now])
    other = keys_of(*ROLES, name="fence")
    case.given({other[0]: State("hash", {"fence": b"%d" % (MAX_INT - 1)})})
    case("semaphore.acquire", other, "a", TTL, "-", 1, 1, 0, "")
    case("semaphore.inspect", other, 10)


def names(book: Book) -> None:
    case = book.case("a hostile name; words of every length that is allowed")
    keys = keys_of(*ROLES, name=HOSTILE, tag="{t:ü} %")
    owner = "A-z_0.9:" * 16
    case("semaphore.acquire", keys, owner, TTL, ":", 1, 1, "", "ü" * 512)
    case("semaphore.acquire", keys, "b", TTL, "", 1, 1, "", "\x00|\n")
    case("semaphore.inspect", keys, 10)
    case("semaphore.release", keys, owner)
