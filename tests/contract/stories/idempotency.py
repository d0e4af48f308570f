"""Keys of idempotency: one attempt at a time, and one result for everybody."""

from __future__ import annotations

from tests.contract.book import HOSTILE, HOUR, MAX_INT, MAX_NOW, MINUTE, SECOND, Book, Case, keys_of
from tests.contract.vectors import State

KEY = keys_of("idempotency:pay:tenant-7", name="order-42")
LEASE = 30 * SECOND


def write(book: Book) -> None:
    for tell in (done, taken_over, given_up, mismatches, lost, results, waiters, clock_goes_back, many, edges):
        tell(book)


def begin(case: Case, token: str, fingerprint: str = "f1", mailbox: str = "") -> None:
    case("idempotency.begin", KEY, token, fingerprint, LEASE, HOUR, mailbox)


def complete(case: Case, token: str, response: str | bytes = "the result", place: str = "here") -> None:
    case("idempotency.complete", KEY, token, "f1", HOUR, place, response)


def abandon(case: Case, token: str, left: str) -> None:
    case("idempotency.abandon", KEY, token, left)


def heartbeat(case: Case, token: str) -> None:
    case("idempotency.heartbeat", KEY, token, LEASE)


def done(book: Book) -> None:
    case = book.case("one does the work, everybody gets its result, until it is forgotten")
    begin(case, "a")
    begin(case, "a")
    begin(case, "b")
    case.wait(SECOND)
    heartbeat(case, "a")
    heartbeat(case, "b")
    complete(case, "a")
    complete(case, "a", response="another")
    begin(case, "b")
    heartbeat(case, "a")
    abandon(case, "a", "unknown")
    case.wait(HOUR - 1)
    begin(case, "c")
    case.wait(1)
    begin(case, "c")


def taken_over(book: Book) -> None:
    case = book.case("who falls silent is followed, and its result is refused")
    begin(case, "a")
    case.wait(LEASE - 1)
    begin(case, "b")
    case.wait(1)
    heartbeat(case, "a")
    begin(case, "b")
    complete(case, "a")
    abandon(case, "a", "nothing")
    complete(case, "b")
    case = book.case("whose lease has ended may complete while nobody has followed")
    begin(case, "a")
    case.wait(2 * LEASE)
    complete(case, "a")


def given_up(book: Book) -> None:
    case = book.case("an attempt that did nothing leaves nothing, one that does not know is told of")
    begin(case, "a")
    abandon(case, "a", "nothing")
    begin(case, "b")
    abandon(case, "b", "unknown")
    abandon(case, "b", "unknown")
    begin(case, "c")
    abandon(case, "c", "nothing")
    begin(case, "d")
    complete(case, "d", place="nowhere", response="")


def mismatches(book: Book) -> None:
    case = book.case("a key that comes with another request is refused")
    begin(case, "a")
    begin(case, "b", fingerprint="f2")
    complete(case, "a")
    begin(case, "b", fingerprint="f2")


def lost(book: Book) -> None:
    case = book.case("where the record is lost, the result is written anew")
    begin(case, "a")
    case.given(dict.fromkeys(KEY))
    heartbeat(case, "a")
    abandon(case, "b", "nothing")
    complete(case, "a")
    begin(case, "b")


def results(book: Book) -> None:
    places = {"here": b"\x00\xff \xc3", "base64": "AP8gww==", "elsewhere": "results/42 ü", "nowhere": ""}
    for place, response in places.items():
        case = book.case(f"a result that is {place}")
        complete(case, "a", place=place, response=response)
        begin(case, "b")


def waiters(book: Book) -> None:
    case = book.case("who waits is noted, and forgotten when the attempt ends")
    begin(case, "a")
    begin(case, "b", mailbox="contract:nobody-1")
    begin(case, "c", mailbox="contract:nobody-2")
    abandon(case, "c", "nothing")
    complete(case, "a")
    begin(case, "b", mailbox="contract:nobody-1")


def clock_goes_back(book: Book) -> None:
    case = book.case("where the clock goes back, no lease outlasts its length, and fences rise all the same")
    begin(case, "a")
    case.wait(-HOUR)
    begin(case, "b")
    case.wait(LEASE)
    begin(case, "b")


def many(book: Book) -> None:
    case = book.case("heartbeats of many: under way, another's, never there, another type")
    keys = [key for name in ("mine", "theirs", "none", "text") for key in keys_of("idempotency", name=name, tag="t")]
    case("idempotency.begin", keys[:1], "a", "f", LEASE, HOUR, "")
    case("idempotency.begin", keys[1:2], "b", "f", LEASE, HOUR, "")
    case.given({keys[3]: State("string", b"text")})
    case("idempotency.heartbeat", keys, *["a", LEASE] * 4)
    case = book.case("512 heartbeats, and one more")
    many = [f"{{k}}{at}" for at in range(513)]
    case("idempotency.heartbeat", many[:512], *["a", 1000] * 512)
    case.refuses("RSARG KEYS", "idempotency.heartbeat", many, [*["a", 1000] * 513, case.now])


def edges(book: Book) -> None:
    case = book.case("the highest fence that is exact; a hostile name; the latest time")
    record = {"token": b"", "fingerprint": b"f1", "fence": b"%d" % (MAX_INT - 1), "end_us": b"%d" % case.now}
    case.given({KEY[0]: State("hash", {**record, "lease_us": b"0", "keep_us": b"%d" % MINUTE, "unknown": b"1"})})
    begin(case, "a")
    hostile = keys_of("idempotency:pay:%7B", name=HOSTILE)
    case("idempotency.begin", hostile, "A-z_0.9:" * 16, "ü\x00" * 42, LEASE, HOUR, "", now=MAX_NOW)
    case("idempotency.complete", hostile, "A-z_0.9:" * 16, "ü\x00" * 42, HOUR, "here", "", now=MAX_NOW)
    case("idempotency.begin", hostile, "b", "ü\x00" * 42, LEASE, HOUR, "", now=MAX_NOW)
