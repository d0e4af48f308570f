"""Which partition a tenant belongs to: the same on every machine and in every release."""

from __future__ import annotations

from hashlib import sha256
from typing import Literal, get_args

from riskscale._core.durations import integer
from riskscale._core.keys import check_name
from riskscale.errors import ArgumentError

Strategy = Literal["modulo", "jump"]

_MASK = 2**64 - 1


class WorkloadPartitioner:
    """Tenants to partitions, by a hash of the tenant's name.

    Args:
        num_partitions: how many there are, 1 to 2**31.
        strategy: ``"modulo"``: SHA-256 of the name, modulo the number of partitions. When that number changes, nearly
            all tenants move. ``"jump"``: when it grows from n to m, the share 1 - n/m of them moves, all of it to the
            new partitions; it takes about three times as long. Choose it where the number may ever change, and the
            first where it never does, or where somebody else computes the same.

    Raises:
        ArgumentError: one of these is out of range.

    Source of ``jump``: Lamping and Veach, "A Fast, Minimal Memory, Consistent Hash Algorithm", 2014; its key is the
    first 64 bits of the SHA-256.
    """

    def __init__(self, num_partitions: int, *, strategy: Strategy = "modulo") -> None:
        self._count = integer(num_partitions, "num_partitions", 1, 2**31)
        if strategy not in get_args(Strategy):
            raise ArgumentError("strategy", f"must be modulo or jump, not {strategy!r}")
        self._is_jump = strategy == "jump"

    @property
    def num_partitions(self) -> int:
        """How many partitions there are."""
        return self._count

    def get_partition(self, tenant_id: str) -> int:
        """The partition of a tenant, from 0; ArgumentError if the id is empty or no text."""
        digest = sha256(check_name(tenant_id, "tenant_id").encode()).digest()
        if self._is_jump:
            return _jump(int.from_bytes(digest[:8], "big"), self._count)
        return int.from_bytes(digest, "big") % self._count


def _jump(key: int, count: int) -> int:
    """Where the key is after its last jump below ``count``; each jump is drawn so that it is uniform."""
    at, following = -1, 0
    while following < count:
        at = following
        key = (key * 2862933555777941757 + 1) & _MASK
        following = int((at + 1) * (2147483648.0 / ((key >> 33) + 1)))
    return at
