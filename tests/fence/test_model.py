"""The guard's script and its model, side by side in virtual time: holders of a real lock that write however late."""

from __future__ import annotations

import itertools
from typing import Any, ClassVar

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from riskscale._core.scripts import script
from riskscale.fence._model import GuardModel
from tests.backends import asked

SERIAL = itertools.count()
LEASE_US = 1_000_000
HIGHEST = 2**53 - 1
TTLS = st.sampled_from([0, 0, 3_600_000_000, 31_622_400_000_000])  # none ends while this runs


class GuardMachine(RuleBasedStateMachine):
    """Three who take the lock in turn, by expiry alone, and write with the last fence they had."""

    client: ClassVar[Any]
    prefix: ClassVar[str]

    @initialize()
    def begin(self) -> None:
        self.now = 10**15
        base = f"{self.prefix}rs1:{{g{next(SERIAL)}}}"
        self.lock = [f"{base}:{role}" for role in ("lock", "queue", "wait")]
        self.keys = [f"{base}:value", f"{base}:fence"]
        self.fences: dict[int, int] = {}
        self.model = GuardModel()
        self.ttl_us = 0
        self.accepted: list[int] = []

    def eval(self, name: str, keys: list[str], *args: str | int | bytes) -> list[Any]:
        reply: list[Any] = self.client.eval(script(name).text, len(keys), *keys, *args, self.now)
        return reply

    @rule(by=st.sampled_from([0, 1, LEASE_US - 1, LEASE_US, 3_600_000_000]))
    def time_passes(self, by: int) -> None:
        self.now += by

    @rule(by=st.sampled_from([1, LEASE_US, 3_600_000_000]))
    def the_clock_goes_back(self, by: int) -> None:
        self.now -= by

    @rule(who=st.integers(0, 2))
    def acquire(self, who: int) -> None:
        acquired, fence, *_ = self.eval("lock.acquire", self.lock, f"o{who}-{next(SERIAL)}", LEASE_US, "-", "", "")
        if acquired:
            assert fence > max(self.fences.values(), default=0)
            self.fences[who] = fence

    @rule(who=st.integers(0, 2), off=st.sampled_from([0, 0, 0, -1, 1]), value=st.binary(max_size=8), ttl_us=TTLS)
    def write(self, who: int, off: int, value: bytes, ttl_us: int) -> None:
        """However long ago the lease ended; now and then with a fence beside the true one."""
        if who in self.fences:
            self.write_with(self.fences[who] + off, value, ttl_us)

    @rule(fence=st.sampled_from([1, 2, 9, 10, 2**31, 2**32, 10**15]), value=st.binary(max_size=8), ttl_us=TTLS)
    def write_with(self, fence: int, value: bytes, ttl_us: int) -> None:
        """Numbers that would compare otherwise as text, or in 32 bits."""
        before = asked(self.client, "dump", self.keys), self.client.pttl(self.keys[0])
        reply = self.eval("fence.guard", self.keys, fence, value, ttl_us)
        seen = self.model.write(value, fence)
        assert reply == [int(seen.written), seen.fence, self.now]
        if seen.written:
            self.accepted.append(fence)
            self.ttl_us = ttl_us
        else:
            assert before[0] == asked(self.client, "dump", self.keys), "a refused write changed something"
            assert (before[1] == -1) == (self.client.pttl(self.keys[0]) == -1)

    @rule(fence=st.sampled_from([1, 9, 10, 2**32]), who=st.integers(0, 2), own=st.booleans())
    def read(self, fence: int, who: int, own: bool) -> None:
        """A fence that has read shuts out those before it, as if it had written."""
        fence = self.fences.get(who, fence) if own else fence
        seen = self.model.read(fence)
        reply = self.eval("fence.read", self.keys, fence)
        value = seen.value
        assert reply == [int(seen.accepted), seen.fence, self.now, int(value is not None), value or b""]
        if seen.accepted:
            self.accepted.append(fence)

    @rule()
    def the_value_is_deleted(self) -> None:
        """As by its expiry: the mark stands."""
        self.client.delete(self.keys[0])
        self.model.value = None

    @invariant()
    def accepted_fences_never_fall(self) -> None:
        accepted = getattr(self, "accepted", [])
        assert all(one <= two for one, two in itertools.pairwise(accepted))

    @invariant()
    def the_keys_hold_the_model(self) -> None:
        if not hasattr(self, "model"):
            return
        value, mark = asked(self.client, "get", self.keys)
        life_ms, mark_ms = asked(self.client, "pttl", self.keys)
        assert int(mark or 0) == self.model.mark
        assert value == self.model.value
        assert mark_ms == (-1 if self.model.mark else -2), "the mark expires"
        if value is not None:
            life_us = 1000 * life_ms
            assert self.ttl_us - 600_000_000 < life_us <= self.ttl_us if self.ttl_us else life_ms == -1


def test_script_and_model_agree(raw_client: Any, prefix: str, examples: settings) -> None:
    machine = type("Machine", (GuardMachine,), {"client": raw_client, "prefix": prefix})
    run_state_machine_as_test(machine, settings=examples)


def test_the_highest_fence_of_all(raw_client: Any, prefix: str) -> None:
    """2**53 - 1 is exact; one less is less."""
    keys = [f"{prefix}rs1:{{highest}}:value", f"{prefix}rs1:{{highest}}:fence"]
    text = script("fence.guard").text
    assert raw_client.eval(text, 2, *keys, HIGHEST, "a", 0, 1) == [1, HIGHEST, 1]
    assert raw_client.eval(text, 2, *keys, HIGHEST - 1, "b", 0, 1) == [0, HIGHEST, 1]
    assert [raw_client.get(key) for key in keys] == [b"a", str(HIGHEST).encode()]
