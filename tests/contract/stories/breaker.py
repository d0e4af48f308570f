"""Circuit breakers that replicas share: what opens one, who may try, what closes it."""

from __future__ import annotations

from typing import Any, NamedTuple

from tests.contract.book import HOSTILE, HOUR, MAX_INT, MAX_NOW, MINUTE, SECOND, Book, Case, Word, keys_of
from tests.contract.vectors import State

ROLES = ("breaker", "breaker-window", "breaker-nodes", "breaker-probes")
JOB = keys_of(*ROLES, name="bank")


class Policy(NamedTuple):
    """The rules in the order of the headers, and ``drawn``."""

    consecutive: int = 3
    minimum: int = 4
    failure_ppm: int = 0
    slow_ppm: int = 0
    slow_us: int = SECOND
    quorum: int = 1
    window_us: int = 10 * SECOND
    open_us: int = 10 * SECOND
    growth_pct: int = 200
    max_open_us: int = 35 * SECOND
    permits: int = 1
    half_open_us: int = 0
    probe_us: int = 5 * SECOND
    drawn: int = 0


class Replica:
    """One node, which knows what it was told last."""

    def __init__(self, case: Case, node: str, policy: Policy) -> None:
        self.case, self.node, self.policy = case, node, policy
        self.sequence = 0
        self.known: tuple[Word, ...] = (0, "closed", 0)

    def report(
        self, *items: int, run: int = 0, votes: int = 0, ended: tuple[str, str] = ("", "none"), again: bool = False
    ) -> None:
        """``items``: age_us, calls, failures, slow of each."""
        self.sequence += 0 if again else 1
        words = [self.node, self.sequence, *self.known, run, votes, *ended, *self.policy, ""]
        self.hear(self.case("breaker.report", JOB, *words, *(items or (0, 0, 0, 0))), 2)

    def probe(self, token: str) -> int:
        reply = self.case("breaker.probe", JOB, self.node, token, *self.known, *self.policy, "")
        self.hear(reply, 3)
        return int(reply[2])

    def hear(self, reply: list[Any], at: int) -> None:
        state, _, generation, remaining_us = reply[at : at + 4]
        self.known = (generation, state.decode(), remaining_us)


def write(book: Book) -> None:
    for tell in (
        a_run, rates, quorum, rounds, permits, half_open_ends, growth, by_hand, unheard_of, lost_state, old_news,
        windows, clock, many_items, names,
    ):  # fmt: skip
        tell(book)


def read(case: Case) -> None:
    case("breaker.read", JOB)


def nodes(case: Case, names: str, policy: Policy) -> list[Replica]:
    """Replicas that have heard what holds, and count from now on."""
    replicas = [Replica(case, name, policy) for name in names]
    for replica in replicas:
        replica.report()
    return replicas


def a_run(book: Book) -> None:
    case = book.case("failures in a row open it for all, a good probe closes it")
    a, b = Replica(case, "a", Policy()), Replica(case, "b", Policy())
    a.report(0, 5, 2, 0, run=2)
    a.report(0, 5, 2, 0, run=2)
    b.probe("b-1")
    a.report(0, 1, 1, 0, run=3)
    a.report(0, 1, 1, 0, run=3, again=True)
    wait_us = b.probe("b-2")
    case.wait(wait_us - 1)
    b.probe("b-2")
    case.wait(1)
    b.probe("b-2")
    b.probe("b-2")
    a.probe("a-1")
    read(case)
    b.report(run=0, ended=("b-2", "success"))
    a.probe("a-2")
    read(case)


def rates(book: Book) -> None:
    case = book.case("a rate of failures opens it, not before the minimum of calls")
    (a,) = nodes(case, "a", Policy(consecutive=0, failure_ppm=500_000))
    a.report(0, 3, 3, 0)
    a.report(1_500_000, 1, 0, 0, 0, 3, 0, 0)
    read(case)
    a.report(0, 1, 1, 0)
    read(case)
    case = book.case("a rate of slow calls opens it")
    (a,) = nodes(case, "a", Policy(consecutive=0, slow_ppm=500_000, minimum=2, drawn=1000))
    a.report(0, 2, 0, 1)
    read(case)


def quorum(book: Book) -> None:
    case = book.case("it opens when enough nodes find the dependency bad")
    a, b, c = nodes(case, "abc", Policy(quorum=2))
    a.report(0, 3, 3, 0, run=3, votes=1)
    b.report(0, 1, 0, 0)
    read(case)
    c.report(0, 3, 3, 0, run=3, votes=1)
    read(case)


def rounds(book: Book) -> None:
    case = book.case("a bad probe opens it again, one that came to nothing gives its permit back")
    (a,) = nodes(case, "a", Policy(slow_ppm=1_000_000))
    a.report(0, 3, 3, 0, run=3)
    for outcome in ("back", "failure", "slow", "slow_failure", "success"):
        case.wait(35 * SECOND)
        a.probe(f"p-{outcome}")
        a.report(ended=(f"p-{outcome}", outcome))
    a.report(ended=("p-success", "success"))


def permits(book: Book) -> None:
    case = book.case("as many permits as there may be, each with a lease")
    a, b = nodes(case, "ab", Policy(permits=2, failure_ppm=500_001, slow_ppm=1_000_000))
    a.report(0, 3, 3, 0, run=3)
    case.wait(10 * SECOND)
    for token in ("p1", "p2", "p3"):
        b.probe(token)
    case.wait(5 * SECOND)
    b.probe("p3")
    a.report(ended=("p1", "success"))
    a.report(ended=("p3", "slow"))
    b.probe("p4")
    b.report(ended=("p4", "success"))
    read(case)


def half_open_ends(book: Book) -> None:
    case = book.case("half-open that lasts too long opens again")
    (a,) = nodes(case, "a", Policy(half_open_us=20 * SECOND))
    a.report(0, 3, 3, 0, run=3)
    case.wait(10 * SECOND)
    a.probe("p1")
    case.wait(20 * SECOND - 1)
    a.report()
    case.wait(1)
    a.report()
    read(case)


def growth(book: Book) -> None:
    case = book.case("each opening in a row is longer, up to the longest")
    (a,) = nodes(case, "a", Policy(drawn=500))
    a.report(0, 3, 3, 0, run=3)
    for at in range(4):
        case.wait(HOUR)
        a.probe(f"p{at}")
        a.report(ended=(f"p{at}", "failure"))


def by_hand(book: Book) -> None:
    case = book.case("by hand: open, disabled, only metrics, closed")
    (a,) = nodes(case, "a", Policy())
    read(case)
    for state, length_us in (("open", MINUTE), ("disabled", MINUTE), ("metrics_only", MINUTE), ("closed", 0)):
        case("breaker.force", JOB, "ann", state, length_us, "", "they are moving, 'ü' | {x}")
        a.probe(f"p-{state}")
        a.report(0, 3, 3, 0, run=2)
        read(case)
        case.wait(SECOND)
    case("breaker.force", JOB, "ann", "disabled", 1000, "contract:breakers", "")
    case.wait(1000)
    a.report()
    case.refuses("RSARG length_us", "breaker.force", JOB, ["ann", "open", 999, "", "", case.now])
    case.refuses("RSARG length_us", "breaker.force", JOB, ["ann", "closed", 1000, "", "", case.now])
    case.refuses("RSARG state", "breaker.force", JOB, ["ann", "half_open", 1000, "", "", case.now])
    case("breaker.force", JOB, "x" * 128, "open", 2_678_400_000_000, "", "x" * 512, now=MAX_NOW)


def unheard_of(book: Book) -> None:
    case = book.case("by hand, before anybody has reported: by no known policy")
    read(case)
    case("breaker.force", JOB, "ann", "open", MINUTE, "", "")
    a = Replica(case, "a", Policy())
    a.report()
    a.probe("p1")
    read(case)


def lost_state(book: Book) -> None:
    for state in ("open", "half_open", "disabled", "metrics_only", "closed"):
        case = book.case(f"the server lost it, and a node that knows brings it back: {state}")
        a, b = (Replica(case, node, Policy(half_open_us=20 * SECOND)) for node in "ab")
        a.known = (case.now - SECOND, state, 0 if state == "closed" else 7 * SECOND)
        a.report(0, 1, 0, 0)
        b.report(0, 1, 0, 0)
    case = book.case("a half-open that was over when it was lost opens again")
    a = Replica(case, "a", Policy(half_open_us=20 * SECOND))
    a.known = (7, "half_open", 0)
    a.probe("p1")
    case = book.case("the highest generation that is exact")
    a = Replica(case, "a", Policy())
    a.known = (MAX_INT, "open", 2_678_400_000_000)
    a.report()
    read(case)


def old_news(book: Book) -> None:
    case = book.case("outcomes of another generation are void")
    a, b = nodes(case, "ab", Policy())
    a.report(0, 3, 3, 0, run=2)
    b.report(0, 1, 0, 0)
    a.report(0, 1, 1, 0, run=3)
    case.wait(10 * SECOND)
    a.probe("p1")
    a.report(ended=("p1", "success"))
    b.known = (1, "closed", 0)
    b.report(0, 9, 9, 0, run=9)
    read(case)


def windows(book: Book) -> None:
    case = book.case("calls leave the window in tenths; nodes that are silent leave it too")
    a, b = nodes(case, "ab", Policy(consecutive=0, failure_ppm=500_000))
    a.report(0, 2, 1, 0, 4 * SECOND, 2, 0, 0, 12 * SECOND, 9, 9, 0, MAX_INT, 9, 9, 0)
    read(case)
    case.wait(7 * SECOND)
    b.report(0, 1, 0, 0)
    read(case)
    case.wait(3 * SECOND)
    read(case)
    case.wait(2 * HOUR)
    c = Replica(case, "c", Policy(consecutive=0, failure_ppm=500_000))
    c.report(0, 1, 0, 0)


def clock(book: Book) -> None:
    case = book.case("where the clock goes back, no state lasts longer than it was to")
    (a,) = nodes(case, "a", Policy())
    a.report(0, 3, 3, 0, run=3)
    case.wait(-HOUR)
    a.probe("p1")
    case.wait(10 * SECOND)
    a.probe("p1")


def many_items(book: Book) -> None:
    case = book.case("64 groups of calls in one report, and one more")
    (a,) = nodes(case, "a", Policy(consecutive=0, failure_ppm=500_000))
    a.report(*[0, 1, 0, 0] * 64)
    words = ["a", 2, 0, "closed", 0, 0, 0, "", "none", *Policy(), ""]
    case.refuses("RSARG ARGV", "breaker.report", JOB, [*words, *[0, 1, 0, 0] * 65, case.now])
    for probe, outcome in (("", "success"), ("p1", "none"), ("p1", "bad")):
        words[7:9] = [probe, outcome]
        case.refuses("RSARG outcome", "breaker.report", JOB, [*words, 0, 1, 0, 0, case.now])
    day = 24 * HOUR
    most = Policy(10**9, 10**9, 10**6, 10**6, day, 10_000, day, day, 1000, day, 1000, day, day, 1000)
    other = keys_of(*ROLES, name="most")
    head = ["a", MAX_INT, 0, "closed", 2_678_400_000_000, 10**9, 1, "", "none"]
    case("breaker.report", other, *head, *most, "", 0, 10**9, 10**9, 10**9, now=MAX_NOW)
    case("breaker.read", other, now=MAX_NOW)


def names(book: Book) -> None:
    case = book.case("a hostile name")
    keys = keys_of(*ROLES, name=HOSTILE)
    case("breaker.probe", keys, "A-z_0.9:" * 16, "x" * 128, 0, "closed", 0, *Policy(), "")
    case.given({keys[0]: State("hash", {"state": b"open", "generation": b"7", "until_us": b"9", "reason": b"r"})})
    case("breaker.read", keys)
