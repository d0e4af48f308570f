"""The checker finds nothing in good histories, however much trouble there is in them."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.history.checker import check
from tests.history.story import Story, kinds


def test_one_after_the_other() -> None:
    story = Story(1000)
    story["w1"].take(100, "a")
    story["w2"].queue(110, "b")
    story["w3"].queue(120, "c", 1)
    story["w1"].renew(200, "a", 100)
    story["w1"].release(300, "a")
    story["w2"].take(301, "b", 300)
    story["w2"].release(400, "b")
    story["w3"].take(402, "c", 400)
    story["w3"].release(500, "c")
    verdict = check(story.told())
    assert verdict.violations == [] and verdict.grants == 3 and verdict.judged == 1, "c waited while b was granted"


def lapse(story: Story) -> None:
    """A holder that says nothing is followed at the end of its lease."""
    story["w1"].take(100, "a", ttl=300)
    story["w2"].take(400, "b")
    story["w1"].renew(410, "a", 0)
    story["w1"].release(420, "a", 0)


def unknown_release(story: Story) -> None:
    """A release without a reply may have been carried out."""
    story["w1"].take(100, "a")
    story["w1"].unanswered(200, "release", "a")
    story["w2"].take(250, "b")


def repeated_release(story: Story) -> None:
    """Where the client sent it twice, the first one may have been it."""
    story["w2"].queue(110, "b")
    story["w1"].take(100, "a")
    story["w1"].release(300, "a", tries=2, sent=250)
    story["w2"].take(280, "b", 260)


def unknown_renewal(story: Story) -> None:
    """A renewal without a reply may have been carried out, and the lease lasts longer."""
    story["w1"].take(100, "a", ttl=300)
    story["w1"].unanswered(350, "renew", "a", ttl=300)
    story["w1"].release(500, "a")


def passed_in_trouble(story: Story) -> None:
    """Who is stopped may be passed over, and begins anew."""
    story["w1"].take(100, "a")
    story["w2"].queue(110, "b")
    story.fault(200, "stop", "w2")
    story["w2"].silence(205, 2000)
    story["w3"].queue(300, "c", 1)
    story["w1"].release(400, "a")
    story["w3"].take(1401, "c", 1400)
    story.fault(2000, "cont", "w2")
    story["w2"].queue(2010, "b")
    story["w3"].release(2300, "c")
    story["w2"].take(2302, "b", 2300)


def passed_without_a_subscription(story: Story) -> None:
    """Who cannot be told is passed over, until its subscription is there again."""
    story["w1"].take(100, "a", ttl=9000)
    story["w2"].queue(110, "b", box="m")
    story.fault(200, "reset", "w2", "m")
    story["w2"].queue(1600, "b", box="m")
    story["w1"].release(1700, "a")
    story["w3"].take(1701, "c")


def left_the_queue(story: Story) -> None:
    """Who gave up is passed."""
    story["w1"].take(100, "a")
    story["w2"].queue(110, "b")
    story["w2"].release(200, "b", 0)
    story["w1"].release(300, "a")
    story["w3"].take(310, "c")


def failed_in_trouble(story: Story) -> None:
    """A fault may end an attempt, and a kill leaves it open."""
    story["w1"].attempt(100, 210, "ConnectionError")
    story.fault(200, "reset", "w1")
    story["w2"].attempt(100, None)
    story.fault(200, "kill", "w2")


GOOD = [
    lapse,
    unknown_release,
    repeated_release,
    unknown_renewal,
    passed_in_trouble,
    passed_without_a_subscription,
    left_the_queue,
    failed_in_trouble,
]


@pytest.mark.parametrize("tell", GOOD)
def test_good(tell: Callable[[Story], None]) -> None:
    story = Story(5000)
    tell(story)
    assert kinds(story) == []
