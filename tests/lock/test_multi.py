"""Several locks at once: all or none, in one script where nobody is in the way, in order where somebody is."""

from __future__ import annotations

import asyncio
import itertools
from typing import Any, ClassVar

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test

import riskscale.sync
from riskscale import AcquireTimeout, ArgumentError, Hub, LeaseLost, Lock, MultiLock
from riskscale._core.scripts import script
from riskscale.lock._model import LockModel

NAMES = ["c", "a", "b"]
SOON = 10.0


async def free(hub: Hub, *names: str) -> bool:
    return not any([await Lock(hub, name, ttl=1, tag="t").locked() for name in names])


async def test_all_or_none_in_one_round_trip(hub: Hub) -> None:
    multi = MultiLock(hub, NAMES, ttl=30, tag="t", metadata={"by": "me"})
    lease = await multi.acquire(timeout=0)
    assert lease is not None and sorted(lease.fences) == ["a", "b", "c"] and 29 < lease.remaining() <= 30
    for name in NAMES:
        info = await Lock(hub, name, ttl=1, tag="t").inspect()
        assert info.held and info.fence == lease.fences[name] and info.metadata == '{"by":"me"}'
    await lease.renew(60)
    assert (await Lock(hub, "b", ttl=1, tag="t").inspect()).remaining > 50
    await lease.release()
    assert await free(hub, *NAMES)

    async with Lock(hub, "b", ttl=30, tag="t"):
        assert await multi.acquire(timeout=0) is None
        assert await free(hub, "a", "c"), "nothing is half taken"
        with pytest.raises(AcquireTimeout):
            async with multi.hold(timeout=0.05):
                pass
        assert await free(hub, "a", "c"), "nothing is left of the waiting"


async def test_waiting_for_the_one_in_the_way(hub: Hub) -> None:
    held = await Lock(hub, "b", ttl=30, tag="t").acquire()
    waiting = asyncio.create_task(MultiLock(hub, NAMES, ttl=0.5, tag="t").acquire(timeout=SOON))
    while not (await Lock(hub, "b", ttl=1, tag="t").inspect()).waiting:
        await asyncio.sleep(0)
    fence = (await Lock(hub, "a", ttl=1, tag="t").inspect()).fence
    end = asyncio.get_running_loop().time() + 1.0  # longer than the lease of what is held meanwhile
    while asyncio.get_running_loop().time() < end:
        assert (await Lock(hub, "a", ttl=1, tag="t").inspect()).fence == fence, "it is renewed, not taken again"
        await asyncio.sleep(0.01)
    assert held is not None
    await held.release()
    lease = await asyncio.wait_for(waiting, SOON)
    assert lease is not None and lease.fences["a"] == fence
    await lease.release()


async def test_two_that_want_the_same_names_in_other_orders_do_not_block_each_other(hub: Hub) -> None:
    served = []

    async def work(names: list[str]) -> None:
        for _ in range(5):
            async with MultiLock(hub, names, ttl=30, tag="t").hold(timeout=60):
                served.append(1)

    await asyncio.gather(work(["a", "b", "c"]), work(["c", "b", "a"]), work(["b", "c"]))
    assert len(served) == 15 and await free(hub, *NAMES)


async def test_without_a_common_slot_it_goes_name_by_name(hub: Hub) -> None:
    multi = MultiLock(hub, NAMES, ttl=30)
    multi._spec = type(multi._spec)(name="abc", locks=multi._spec.locks, together=False)  # as on a cluster
    other = Lock(hub, "c", ttl=30)
    async with other:
        assert await multi.acquire(timeout=0) is None
        assert not await Lock(hub, "a", ttl=30).locked()
    async with multi as lease:
        assert await other.locked() and len(lease.fences) == 3


async def test_the_loss_of_one_is_the_loss_of_all(hub: Hub, raw_client: Any, prefix: str) -> None:
    lease = await MultiLock(hub, NAMES, ttl=0.6, tag="t", auto_renew=True).acquire()
    assert lease is not None
    raw_client.delete(f"{prefix}rs1:{{t}}:b:lock")
    await asyncio.wait_for(lease.lost.wait(), SOON)
    with pytest.raises(LeaseLost):
        await lease.release()
    assert await free(hub, *NAMES)


@pytest.mark.parametrize("names", [[], "abc", [""], [f"n{at}" for at in range(65)], [7]])
def test_bad_names_are_named(client: Any, names: Any) -> None:
    with pytest.raises(ArgumentError, match="names"):
        MultiLock(client, names, ttl=1)


def test_threads_have_it_too(sync_client: Any, prefix: str) -> None:
    with riskscale.sync.Hub(sync_client, key_prefix=prefix) as hub:
        multi = riskscale.sync.MultiLock(hub, NAMES, ttl=30, tag="t")
        with multi as lease:
            assert sorted(lease.fences) == ["a", "b", "c"] and multi.acquire(timeout=0) is None
        with multi:
            pass


SERIAL = itertools.count()


class MultiMachine(RuleBasedStateMachine):
    """lock.acquire_all beside the model of each lock; the others come by lock.acquire."""

    client: ClassVar[Any]
    prefix: ClassVar[str]

    @initialize()
    def begin(self) -> None:
        self.now = 10**15
        base = f"{self.prefix}rs1:{{m{next(SERIAL)}}}"
        self.keys = [[f"{base}:{name}:{role}" for role in ("lock", "queue", "wait")] for name in "abc"]
        self.models = [LockModel() for _ in "abc"]

    def eval(self, name: str, keys: list[str], *args: str | int) -> Any:
        return self.client.eval(script(name).text, len(keys), *keys, *args, self.now)

    @rule(by=st.sampled_from([-700_000, 0, 1, 400_000, 1_000_000, 2_500_000]))
    def time_passes(self, by: int) -> None:
        self.now += by

    @rule(at=st.integers(0, 2), who=st.integers(0, 2), box=st.sampled_from(["", "-"]))
    def one(self, at: int, who: int, box: str) -> None:
        reply = self.eval("lock.acquire", self.keys[at], f"o{who}", 500_000, box, "", "")
        seen = self.models[at].acquire(f"o{who}", 500_000, box, self.now)
        assert reply[:2] == [int(seen.acquired), seen.fence]

    @rule(at=st.integers(0, 2), who=st.integers(0, 2))
    def gives_back(self, at: int, who: int) -> None:
        released = self.eval("lock.release", self.keys[at], f"o{who}", "")[0]
        assert released == int(self.models[at].release(f"o{who}", self.now).released)

    @rule(some=st.permutations([0, 1, 2]), many=st.integers(1, 3), who=st.integers(0, 2))
    def all_or_none(self, some: list[int], many: int, who: int) -> None:
        some, owner = some[:many], f"o{who}"
        models = [self.models[at] for at in some]
        can = [model.can_be_had(owner, self.now) for model in models]
        acquired, wait_us, at_us, *fences = self.eval(
            "lock.acquire_all", [key for at in some for key in self.keys[at]], owner, 500_000, ""
        )
        assert at_us == self.now and acquired == int(all(can))
        if acquired:
            for model in models:
                model.take(owner, 500_000, self.now)
            assert wait_us == 0 and fences == [model.fence for model in models]
        else:
            assert wait_us >= 1000 and fences == [0 if each else -1 for each in can]


def test_script_and_model_agree(raw_client: Any, prefix: str, examples: settings) -> None:
    machine = type("Machine", (MultiMachine,), {"client": raw_client, "prefix": prefix})
    run_state_machine_as_test(machine, settings=examples)
