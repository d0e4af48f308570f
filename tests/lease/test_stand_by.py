"""A waiter that is told to stand by, in virtual time."""

from __future__ import annotations

from riskscale._core.call import Finish, Listen, Wait
from riskscale.lease.flows import take
from riskscale.lease.grant import Grant
from riskscale.lock._model import LockModel
from riskscale.lock.calls import LockKeys
from riskscale.lock.spec import LockSpec

SECOND = 1_000_000


def test_a_waiter_that_is_told_to_stand_by_again_and_again_keeps_its_place() -> None:
    """Hundreds of one mailbox are served before it, for longer than a silent waiter is taken for alive."""
    told: list[str] = []
    lock = LockModel(publish=lambda box, message: bool(told.append(message)) or True)
    now = 10**15
    for number in range(200):
        lock.acquire(f"one-{number}", 60 * SECOND, "one", now)
    spec = LockSpec(name="job", keys=LockKeys.of("rs1:{job}"), ttl_us=60 * SECOND)
    flow = take(Grant(spec=spec, token="waiter"), None, lambda: now / SECOND)
    step, looked = next(flow), []
    for number in range(200):
        while not isinstance(step, Wait):
            if isinstance(step, Listen):
                step = flow.send("two")
            elif isinstance(step, Finish):
                looked.append(now)
                reply = lock.acquire("waiter", 60 * SECOND, "two", now)
                step = flow.send(step.call.decode([*map(int, reply), now]))
        now += SECOND // 2  # each holds it for half a second
        lock.release(f"one-{number}", now)
        for other in range(number + 1, 200 if number % 20 == 0 else min(number + 2, 200)):
            lock.acquire(f"one-{other}", 60 * SECOND, "one", now)  # the next claims it, and now and then all look
        assert "waiter" in lock.queue or lock.owner == "waiter", f"forgotten after {number} releases"
        if number < 199:
            assert told[-1] == "waiter 1001000", "the next of another mailbox"
            step = flow.send("1001000")
    assert lock.owner == "waiter" and len(looked) > 9
