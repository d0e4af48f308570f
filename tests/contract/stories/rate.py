"""Rate limits: what passes, what is refused and until when, what comes back."""

from __future__ import annotations

from typing import get_args

from riskscale.rate.limit import Algorithm
from tests.contract.book import HOSTILE, HOUR, MAX_INT, MAX_NOW, MINUTE, SECOND, Book, Case, Word, keys_of
from tests.contract.vectors import State

ALGORITHMS = get_args(Algorithm)
MOST_KEYS = {"sliding_log": 128}
COST_NEVER = 10**15


def write(book: Book) -> None:
    for algorithm in ALGORITHMS:
        single(book, algorithm)
        loans(book, algorithm)
        refunds(book, algorithm)
    for tell in (gcra_edges, log_grows, windows, several, many_refunds, reservations, settling, late_settling, resets):
        tell(book)


def key_of(algorithm: str, name: str = "tenant-7") -> list[str]:
    return keys_of(f"rate:api:60s:{algorithm}", name=name)


def limit(algorithm: str, count: int, window_us: int = MINUTE) -> list[Word]:
    """As the algorithm's own script takes it."""
    return [count, window_us, *([count] if algorithm == "gcra" else [])]


def rule(algorithm: str, count: int, window_us: int = MINUTE) -> list[Word]:
    """As the scripts of several algorithms take it."""
    return [algorithm, count, window_us, count if algorithm == "gcra" else 0]


def single(book: Book, algorithm: str) -> None:
    script, key, three = f"rate.{algorithm}", key_of(algorithm), limit(algorithm, 3)
    case = book.case(f"{script}: what is refused passes at retry_us, and not a microsecond earlier")
    for seconds in (0, 1, 5, 1):
        case.wait(seconds * SECOND)
        reply = case(script, key, *three, 1, 1)
    retry_us = int(reply.split()[1])
    case(script, key, *three, 0, 1, now=case.now + retry_us - 1)
    case(script, key, *three, 0, 1, now=case.now + retry_us)
    case(script, key, *three, 0, 3)
    case(script, key, *three, 1, 4)
    case(script, key, *three, 1, COST_NEVER)
    case.wait(retry_us)
    case(script, key, *three, 1, 1)
    case.wait(2 * MINUTE)
    case(script, key, *three, 0, 1)
    case(script, key, *three, 1, 3)

    case = book.case(f"{script}: several requests in one call, one key twice, one key of another kind")
    others = [key_of(algorithm, name)[0] for name in ("a", "b", "text")]
    case.given({others[2]: State("string", b"no state of ours")})
    case(script, [*others, others[0], others[0]], *three, 1, 2, 3, 1, 1, 1)
    case(script, others, *three, 0, 1, 1, 1)

    case = book.case(f"{script}: the limit changes, the clock goes back")
    case(script, key, *limit(algorithm, 5), 1, 4)
    case.wait(SECOND)
    case(script, key, *limit(algorithm, 2), 1, 1)
    case(script, key, *limit(algorithm, 9), 1, 1)
    case(script, key, *limit(algorithm, 5, SECOND), 1, 1)
    case.wait(-10 * SECOND)
    case(script, key, *limit(algorithm, 9), 1, 1)

    case = book.case(f"{script}: as many keys as one call takes, and one more; a hostile name; the latest time")
    most = MOST_KEYS.get(algorithm, 512)
    many = [f"{{k}}{at}" for at in range(most + 1)]
    case(script, many[:most], *three, 0, *[1] * most)
    case.refuses("RSARG KEYS", script, many, [*three, 0, *[1] * (most + 1), case.now])
    case.refuses("RSARG cost", script, many[:2], [*three, 1, 1, "1.0", case.now])
    case(script, key_of(algorithm, HOSTILE), *three, 1, 1)
    case(script, key_of(algorithm, "late"), *limit(algorithm, 1, 315_576_000_000_000), 1, 1, now=MAX_NOW)
    case(script, key_of(algorithm, "late"), *limit(algorithm, 1, 315_576_000_000_000), 1, 1, now=MAX_NOW)
    case(script, key_of(algorithm, "early"), *three, 1, 1, now=0)


def gcra_edges(book: Book) -> None:
    case = book.case("rate.gcra: a bucket of 2^52 microseconds, and one more")
    interval = 2**52 // 10**9
    key, window_us = key_of("gcra"), 2 * interval
    case("rate.gcra", key, 2, window_us, 10**9, 1, 10**9)
    case("rate.gcra", key, 2, window_us, 10**9, 1, 1)
    case.refuses("RSARG burst", "rate.gcra", key, [2, window_us + 1, 10**9, 1, 1, case.now])
    case("rate.gcra", key_of("gcra", "small"), 10**9, 1, 1, 1, 1)
    case("rate.gcra", key_of("gcra", "burst"), 1, 315_576_000_000_000, 14, 1, 14)
    case = book.case("rate.gcra: admitted as often as it is asked, at one time")  # make bench-languages repeats it
    for _ in range(2):
        case("rate.gcra", key_of("gcra", "busy"), 10**9, 10**9, 10**9, 1, 1)
    case = book.case("rate.gcra: the key's text that is no state")
    for text in (b"-1", b"1.5", b"12345678901234567", b"1/", b"1/x", b"1/2/3"):
        case.given({key[0]: State("string", text)})
        case("rate.gcra", key, 3, MINUTE, 3, 1, 1)
    case.given({key[0]: State("string", b"9007199254740992")})
    case("rate.gcra", key, 3, MINUTE, 3, 1, 1)
    case.given({key[0]: State("string", b"1000000060000000/1000000030000000")})
    case("rate.gcra", key, 9, MINUTE, 9, 1, 1)


def log_grows(book: Book) -> None:
    case = book.case("rate.sliding_log: the ring grows, wraps and lets go")
    key = key_of("sliding_log")
    for seconds, cost in ((0, 30), (10, 30), (51, 10), (1, 20), (1, 30), (58, 1), (0, 50), (1, 40)):
        case.wait(seconds * SECOND)
        case("rate.sliding_log", key, 100, MINUTE, 1, cost)
    case = book.case("rate.sliding_log: bytes that look like a ring, and are none")
    for text in (b"L", b"L\0\0\x02" + b"\0" * 14 + b"\0\0\x02" + b"\0" * 10, b"L" + b"\xff" * 30):
        case.given({key[0]: State("string", text)})
        case("rate.sliding_log", key, 3, MINUTE, 1, 1)


def windows(book: Book) -> None:
    case = book.case("rate.sliding_window: a bucket leaves whole, at its end")
    key = key_of("sliding_window")
    for seconds in (0, 0, 1, 30):
        case.wait(seconds * SECOND)
        case("rate.sliding_window", key, 4, MINUTE, 1, 1)
    case("rate.sliding_window", key, 4, MINUTE, 0, 3)
    for text in (b"W", b"W" + b"\0" * 7, b"W" + b"x" * 21):
        case.given({key[0]: State("string", text)})
        case("rate.sliding_window", key, 4, MINUTE, 1, 1)
    case = book.case("rate.sliding_window, rate.fixed_window: the highest count")
    for algorithm in ("sliding_window", "fixed_window"):
        case(f"rate.{algorithm}", key_of(algorithm), 10**15, MINUTE, 1, 10**15)
        case(f"rate.{algorithm}", key_of(algorithm), 10**15, MINUTE, 1, 1)
    case, key = book.case("rate.fixed_window: the key's text that is no state"), key_of("fixed_window")
    for text in (b"12:x", b"12", b":", b"9007199254740992:1"):
        case.given({key[0]: State("string", text)})
        case("rate.fixed_window", key, 4, MINUTE, 1, 1)


def loans(book: Book, algorithm: str) -> None:
    case = book.case(f"rate.lease: of {algorithm}, half of what is left, then refused until it comes back")
    key, eight = key_of(algorithm), rule(algorithm, 8)
    for need, want in ((1, 100), (1, 1), (2, 2), (1, 8), (3, 3)):
        case("rate.lease", key, *eight, 5 * SECOND, need, want)
        case.wait(SECOND)
    case("rate.lease", key, *eight, 5 * SECOND, 9, 9)
    case(f"rate.{algorithm}", key, *limit(algorithm, 8), 0, 1)
    case.wait(62 * SECOND)
    case("rate.lease", key * 2, *eight, MINUTE, 1, 4, 1, 4)
    case = book.case(f"rate.lease: of {algorithm}, a key of another kind beside a good one; its edges")
    other = key_of(algorithm, "text")[0]
    case.given({other: State("string", b"no state of ours")})
    case("rate.lease", [other, *key], *eight, MINUTE, 1, 1, 1, 1)
    case.refuses("RSARG life_us", "rate.lease", key, [*eight, MINUTE + 1, 1, 1, case.now])
    many = [f"{{k}}{at}" for at in range(129)]
    case("rate.lease", many[:128], *eight, 1, *[COST_NEVER, 1] * 128)
    case.refuses("RSARG KEYS", "rate.lease", many, [*eight, 1, *[1, 1] * 129, case.now])
    if algorithm == "gcra":
        case("rate.lease", key_of(algorithm, "fast"), "gcra", 10**9, 1, 10**9, 1, 1, COST_NEVER)
    if algorithm == "fixed_window":
        case("rate.lease", key_of(algorithm, "most"), *rule(algorithm, 10**15), 1, 1, COST_NEVER)
    late = rule(algorithm, 1, 315_576_000_000_000)
    case("rate.lease", key_of(algorithm, "late"), *late, 315_576_000_000_000, 1, COST_NEVER, now=MAX_NOW)


def refund(case: Case, key: str, words: list[Word], token: str, at_us: int, cost: int) -> None:
    case("rate.refund", [key, f"{key}:refund:{token}"], 1, *words, at_us, cost)


def refunds(book: Book, algorithm: str) -> None:
    case = book.case(f"rate.refund: of {algorithm}, once, and only while it counts")
    (key,), four = key_of(algorithm), rule(algorithm, 4)
    first = case.now
    for _ in range(3):
        case(f"rate.{algorithm}", [key], *limit(algorithm, 4), 1, 1)
        case.wait(2 * SECOND)
    refund(case, key, four, "r1", first + 2 * SECOND, 1)
    refund(case, key, four, "r1", first + 2 * SECOND, 1)
    refund(case, key, four, "r2", first, 2)
    refund(case, key, four, "r3", first + 4 * SECOND, COST_NEVER)
    refund(case, key, four, "r4", first, 1)
    case(f"rate.{algorithm}", [key], *limit(algorithm, 4), 1, 4)
    case.wait(MINUTE)
    refund(case, key, four, "r5", first, 1)
    case = book.case(f"rate.refund: of {algorithm}, a key of another kind")
    case.given({key: State("string", b"no state of ours")})
    refund(case, key, four, "r1", first, 1)


def several(book: Book) -> None:
    keys = [key_of(algorithm)[0] for algorithm in ALGORITHMS]
    rules = [word for algorithm in ALGORITHMS for word in rule(algorithm, 4)]
    case = book.case("rate.all_of: one limit that refuses keeps the others untouched")
    case("rate.all_of", keys, 4, *rules, 1, 2)
    case("rate.gcra", keys[2:3], *limit("gcra", 4), 1, 1)
    case("rate.all_of", keys, 4, *rules, 1, 2)
    case("rate.all_of", keys, 4, *rules, 0, 1)
    case("rate.all_of", keys, 4, *rules, 1, 5)
    case("rate.all_of", keys, 4, *rules, 1, 1)
    case.given({keys[0]: State("string", b"no state of ours")})
    case("rate.all_of", keys, 4, *rules, 1, 1)
    case = book.case("rate.all_of: several requests in one call, one key in each of them")
    two = [*rule("sliding_log", 3), *rule("fixed_window", 2)]
    tenants = [f"{{t}}:{name}" for name in ("plan", "a", "plan", "b", "plan", "a")]
    case("rate.all_of", tenants, 2, *two, 1, 1, 2, 1)
    case("rate.all_of", tenants, 2, *two, 0, 1, 1, 1)
    case.refuses("RSARG KEYS", "rate.all_of", ["{t}:plan", "{t}:plan"], [2, *two, 1, 1, case.now])
    case = book.case("rate.all_of: as many limits, and as many keys, as one call takes; its edges")
    many = [f"{{k}}{at}" for at in range(132)]
    case("rate.all_of", many[:32], 32, *rule("fixed_window", 1) * 32, 0, COST_NEVER)
    case("rate.all_of", many[:128], 2, *two, 0, *[1] * 64)
    case.refuses("RSARG KEYS", "rate.all_of", many[:130], [2, *two, 0, *[1] * 65, case.now])
    case.refuses("RSARG KEYS", "rate.all_of", many[:3], [2, *two, 0, 1, case.now])
    case.refuses("RSARG count", "rate.all_of", many[:1], [1, *rule("sliding_log", 10**7 + 1), 0, 1, case.now])
    case.refuses("RSARG count", "rate.all_of", many[:1], [1, "gcra", 10**9 + 1, MINUTE, 1, 0, 1, case.now])
    case.refuses("RSARG burst", "rate.all_of", many[:1], [1, "gcra", 3, MINUTE, 0, 0, 1, case.now])
    case.refuses("RSARG burst", "rate.all_of", many[:1], [1, "sliding_log", 3, MINUTE, 3, 0, 1, case.now])
    for algorithm, count, burst in (("fixed_window", 10**15, 0), ("gcra", 10**9, 10**9)):
        case("rate.all_of", many[131:], 1, algorithm, count, MINUTE, burst, 0, 1)
    for window_us in (1, 315_576_000_000_000):
        case("rate.all_of", many[131:], 1, "sliding_log", 1, window_us, 0, 0, 1, now=MAX_NOW)


def many_refunds(book: Book) -> None:
    case = book.case("rate.refund: of a request under several limits; as many as one call takes; its edges")
    keys = [key_of(algorithm)[0] for algorithm in ALGORITHMS]
    rules, at_us = [word for algorithm in ALGORITHMS for word in rule(algorithm, 4)], case.now
    case("rate.all_of", keys, 4, *rules, 1, 3)
    case.wait(SECOND)
    case("rate.refund", [word for key in keys for word in (key, f"{key}:refund:r1")], 4, *rules, at_us, 2)
    case("rate.all_of", keys, 4, *rules, 1, 3)
    many = [f"{{k}}{at}" for at in range(66)]
    case("rate.refund", many[:64], 32, *rule("fixed_window", 1) * 32, MAX_NOW, COST_NEVER)
    case.refuses("RSARG KEYS", "rate.refund", many, [32, *rule("fixed_window", 1) * 32, 0, 1, case.now])
    for count, window_us, burst in ((10**9, 1, 10**9), (1, 315_576_000_000_000, 1)):
        case("rate.refund", many[64:], 1, "gcra", count, window_us, burst, 0, 1)
    case("rate.refund", many[64:], 1, *rule("fixed_window", 10**15), 0, 1)


TEN = (10, 10 * SECOND, 4)
"""One a second, four at once."""


def booking(name: str = "tenant-7") -> list[str]:
    (key,) = key_of("gcra", name)
    return [key, f"{key}:reservations", f"{key}:starts"]


def reserve(case: Case, token: str, cost: int, max_wait_us: int = HOUR) -> list[int]:
    reply: list[int] = case("rate.reserve", booking(), *TEN, token, cost, max_wait_us)
    return reply


def settle(case: Case, token: str, start_us: Word, cost: int, actual: int) -> None:
    case("rate.settle", booking(), *TEN, token, start_us, cost, actual)


def reservations(book: Book) -> None:
    case = book.case("rate.reserve: at once, later, too late, never, and the same again")
    reserve(case, "a", 3)
    reserve(case, "b", 3)
    reserve(case, "b", 3)
    reserve(case, "c", 4, max_wait_us=SECOND)
    reserve(case, "c", 5)
    reserve(case, "c", 1)
    case("rate.gcra", booking()[:1], *TEN, 1, 1)
    case.wait(6 * SECOND)
    reserve(case, "d", 1)
    case.wait(2 * MINUTE)
    reserve(case, "e", 1)
    case = book.case("rate.reserve: after the key was lost; its edges")
    reserve(case, "a", 4)
    reserve(case, "b", 4)
    case.given({booking()[0]: None})
    reserve(case, "c", 1)
    case("rate.reserve", booking(HOSTILE), *TEN, "x" * 128, 1, 0)
    late, full = booking("late"), [1, 315_576_000_000_000, 1]
    case("rate.reserve", late, *full, "a", 1, 315_576_000_000_000, now=MAX_NOW)
    case("rate.reserve", late, *full, "b", 10**15, 0, now=MAX_NOW)
    case("rate.reserve", booking("fast"), 10**9, 1, 10**9, "a", 10**9, 0)
    interval = 4_503_599
    at_most = 2**53 - MAX_NOW - interval * 10**9
    case("rate.reserve", booking("edge"), 1, interval, 10**9, "a", 1, at_most, now=MAX_NOW)
    case.refuses(
        "RSARG max_wait_us", "rate.reserve", booking("edge"), [1, interval, 10**9, "b", 1, at_most + 1, MAX_NOW]
    )


def settling(book: Book) -> None:
    case = book.case("rate.settle: less than was charged, more, nothing, and the same again")
    starts = {token: reserve(case, token, 2)[4] for token in ("a", "b", "c", "d")}
    settle(case, "a", starts["a"], 2, 1)
    settle(case, "a", starts["a"], 2, 1)
    settle(case, "b", starts["b"], 2, 3)
    settle(case, "d", "", 2, 0)
    settle(case, "c", starts["c"], 2, 0)
    settle(case, "x", "", 1, 0)
    settle(case, "y", case.now, 1, 3)
    case.wait(30 * SECOND)
    reserve(case, "e", 4)
    case = book.case("rate.settle: what is cancelled too early comes back with those behind it")
    for token in ("a", "b", "c"):
        reserve(case, token, 3)
    for token in ("b", "c", "a"):
        settle(case, token, "", 3, 0)
    reserve(case, "d", 4)
    case = book.case("rate.settle: of a hit, while something is lent")
    at_us = case.now
    case("rate.gcra", booking()[:1], *TEN, 1, 1)
    case("rate.lease", booking()[:1], "gcra", *TEN, 5 * SECOND, 1, 2)
    case.wait(SECOND)
    settle(case, "hit-1", at_us, 1, 0)
    reserve(case, "a", 4)


def late_settling(book: Book) -> None:
    case = book.case("rate.settle: long after the start; its edges")
    start_us = reserve(case, "a", 4)[4]
    case.wait(2 * MINUTE)
    settle(case, "a", start_us, 4, 0)
    reserve(case, "b", 1)
    settle(case, "a", start_us, 4, 5)
    case.refuses("RSARG cost", "rate.settle", booking(), [*TEN, "a", start_us, 5, 1, case.now])
    settle(case, "c", MAX_INT, 1, 0)
    case("rate.settle", booking("late"), 1, 315_576_000_000_000, 1, "a", 0, 1, 10**15, now=MAX_NOW)
    case("rate.settle", booking("fast"), 10**9, 1, 10**9, "a", case.now, 10**9, 0)


def resets(book: Book) -> None:
    case = book.case("rate.reset: what was used is forgotten, of every algorithm and of reservations")
    keys = [key_of(algorithm)[0] for algorithm in ALGORITHMS]
    for algorithm, key in zip(ALGORITHMS, keys, strict=True):
        case(f"rate.{algorithm}", [key], *limit(algorithm, 3), 1, 3)
    case("rate.reset", keys)
    case("rate.reset", keys)
    case.given({keys[0]: State("hash", {"a": b"b"}), booking()[1]: State("hash", {"r": b"1"})})
    case.given({booking()[2]: State("zset", {"r": 1})})
    case("rate.reset", [keys[0], *booking()])
    case = book.case("rate.reset: as many keys as one call takes, and one more; a hostile name")
    many = [f"{{k}}{at}" for at in range(513)]
    case("rate.reset", many[:512])
    case.refuses("RSARG KEYS", "rate.reset", many, [case.now])
    case("rate.sliding_log", key_of("sliding_log", HOSTILE), 3, MINUTE, 1, 1)
    case("rate.reset", key_of("sliding_log", HOSTILE))
