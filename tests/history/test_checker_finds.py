"""The checker finds in bad histories what is wrong with them."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.history.checker import around, check
from tests.history.history import Left
from tests.history.story import MS, NAME, Story, kinds


def overlap(story: Story) -> None:
    story["w1"].take(100, "a")
    story["w2"].take(1099, "b")


def overlap_of_a_renewed(story: Story) -> None:
    story["w1"].take(100, "a")
    story["w1"].renew(1000, "a", 100)
    story["w2"].take(1999, "b")


def overlap_despite_an_unknown_release(story: Story) -> None:
    story["w1"].take(100, "a")
    story["w1"].unanswered(300, "release", "a")
    story["w2"].take(250, "b")


def fence_not_rising(story: Story) -> None:
    story["w1"].take(100, "a", 80)
    story["w1"].release(200, "a")
    story["w2"].take(300, "b", 80)


def fence_falling(story: Story) -> None:
    story["w1"].take(100, "a", 90)
    story["w1"].release(200, "a")
    story["w2"].take(300, "b", 50)


def barging(story: Story) -> None:
    story["w1"].take(100, "a")
    story["w2"].queue(110, "b")
    story["w1"].release(300, "a")
    story["w3"].take(310, "c")
    story["w3"].release(400, "c")
    story["w2"].take(401, "b", 400)


def barging_before_one_that_still_waits(story: Story) -> None:
    story["w1"].take(100, "a")
    story["w2"].queue(110, "b")
    story["w3"].queue(120, "c", 1)
    story["w1"].release(300, "a")
    story["w3"].take(301, "c", 300)
    story["w2"].release(400, "b", 0)


def barging_long_after_the_trouble(story: Story) -> None:
    story["w1"].take(100, "a", ttl=9000)
    story["w2"].queue(110, "b", box="m")
    story.fault(200, "reset", "w2", "m")
    story.fault(300, "box", "w2", "m")
    story["w2"].queue(1600, "b", box="m")
    story["w1"].release(1700, "a")
    story["w3"].take(1701, "c")


def starving(story: Story) -> None:
    story["w1"].take(100, "a")
    story["w1"].release(200, "a")
    story["w2"].queue(110, "b")
    story["w2"].attempt(109, None)
    story["w2"].queue(4000, "b")


def idling(story: Story) -> None:
    story["w1"].take(100, "a")
    story["w1"].release(200, "a")
    story["w2"].queue(110, "b", rank=1)
    story["w2"].release(3000, "b", 0)


def silence(story: Story) -> None:
    story["w1"].take(100, "a")
    story["w2"].queue(110, "b", wait=1000)
    story["w2"].queue(1200, "b")
    story["w2"].release(1300, "b", 0)


def lost_early(story: Story) -> None:
    story["w1"].take(100, "a")
    story["w1"].renew(500, "a", 0)


def released_late(story: Story) -> None:
    story["w1"].take(100, "a", ttl=300)
    story["w1"].release(400, "a")


def claimed_late(story: Story) -> None:
    story["w1"].queue(100, "a")
    story["w1"].take(1300, "a", 300)


def endless(story: Story) -> None:
    story["w1"].attempt(100, 3000, "none", timeout=0.5)


def failing(story: Story) -> None:
    story["w1"].attempt(100, 200, "ConnectionError")


def told_wrong(story: Story) -> None:
    story["w1"].take(100, "a")
    story["w1"].say(110, "held", name=NAME, token="a", fence=100 * MS, at=101 * MS)


def believed_too_long(story: Story) -> None:
    story["w1"].take(100, "a", ttl=300)
    story["w1"].say(450, "believes", name=NAME, token="a", fence=100 * MS, since=440 * MS)
    story["w2"].take(420, "b")


def left_for_ever(story: Story) -> None:
    story.left.append(Left(key="x:lock", life_ms=-1))


def left_too_long(story: Story) -> None:
    story.left.append(Left(key="x:queue", life_ms=90_001))


def left_held(story: Story) -> None:
    story.left.append(Left(key="x:lock", life_ms=60_000, holder="a"))


def left_waiting(story: Story) -> None:
    story["w1"].queue(100, "a")
    story["w1"].release(200, "a", 0)
    story.left.append(Left(key="x:queue", life_ms=90_000, tokens=("a",)))


BAD: dict[Callable[[Story], None], list[str]] = {
    overlap: ["overlap"],
    overlap_of_a_renewed: ["overlap"],
    overlap_despite_an_unknown_release: ["overlap"],
    fence_not_rising: ["overlap", "fence"],
    fence_falling: ["overlap", "fence"],
    barging: ["barged"],
    barging_before_one_that_still_waits: ["barged"],
    barging_long_after_the_trouble: ["barged"],
    starving: ["starved", "idle", "endless"],
    idling: ["idle"],
    silence: ["silent"],
    lost_early: ["lost early"],
    released_late: ["held late"],
    claimed_late: ["held late"],
    endless: ["endless"],
    failing: ["failed"],
    told_wrong: ["told"],
    believed_too_long: ["belief"],
    left_for_ever: ["left"],
    left_too_long: ["left"],
    left_held: ["left"],
    left_waiting: ["left"],
}


@pytest.mark.parametrize("tell", BAD)
def test_bad(tell: Callable[[Story], None]) -> None:
    story = Story(6000)
    tell(story)
    assert kinds(story) == BAD[tell]


def test_what_happened_around() -> None:
    story = Story(2000)
    overlap(story)
    story.fault(600, "flush", "")
    history = story.told()
    (violation,) = check(history).violations
    assert str(violation) == "overlap on job at 1099000: fence 1099000 was granted 1000 us before fence 100000 ended"
    assert around(violation, history) == [
        "   -999.0 ms  w1 acquire a tries=1 [1, 100000, 0, -1]",
        "   -519.0 ms  -- flush",
        "     +0.0 ms  w2 acquire b tries=1 [1, 1099000, 0, -1]",
    ]
