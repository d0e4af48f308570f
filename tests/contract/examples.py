"""One valid call of each script: what the contract tests break on purpose, word by word."""

from __future__ import annotations

NOW = 10**15
LIMIT = (3, 60_000_000)
RULES = ("gcra", 3, 60_000_000, 3, "sliding_log", 3, 60_000_000, 0)
RESERVED = ["gcra", "gcra:reservations", "gcra:starts"]
SEMAPHORE = ["semaphore", "semaphore-leases", "semaphore-queue", "semaphore-wait"]
BREAKER = ["breaker", "breaker-window", "breaker-nodes", "breaker-probes"]
FLEET = ["fleet", "fleet-window"]
POLICY = (5, 10, 500_000, 0, 0, 1, 60_000_000, 30_000_000, 100, 86_400_000_000, 1, 0, 30_000_000, 0)

# name -> (roles of the keys, arguments without now_us)
EXAMPLES: dict[str, tuple[list[str], list[str | int]]] = {
    "breaker.report": (
        BREAKER,
        ["node-1", 1, 0, "closed", 0, 2, 1, "probe-1", "failure", *POLICY, "rs1:breakers", 100_000, 9, 2, 1],
    ),
    "breaker.probe": (BREAKER, ["node-1", "probe-1", 7, "open", 0, *POLICY, "rs1:breakers"]),
    "breaker.force": (BREAKER, ["ann", "open", 600_000_000, "rs1:breakers", "they are moving house"]),
    "breaker.read": (BREAKER, []),
    "fence.guard": (["value", "fence"], [7, "the value", 60_000_000]),
    "fence.read": (["value", "fence"], [7]),
    "fleet.report": (FLEET, ["replica-1", 1, 15_000_000, 60_000_000, 0, 500_000, 7, 1, 0, 2, 300, 9]),
    "fleet.snapshot": (FLEET, [60_000_000, 990_000]),
    "idempotency.abandon": (["idempotency"], ["attempt-1", "unknown"]),
    "idempotency.begin": (["idempotency"], ["attempt-1", "fingerprint", 30_000_000, 60_000_000, ""]),
    "idempotency.complete": (["idempotency"], ["attempt-1", "fingerprint", 60_000_000, "here", "the result"]),
    "idempotency.heartbeat": (["idempotency"], ["attempt-1", 30_000_000]),
    "limits.list": (["limits"], [0, 100]),
    "limits.read": (["limits"], ["tenant-7"]),
    "limits.set": (["limits"], ["tenant-7", "500/minute"]),
    "lock.acquire": (["lock", "queue", "wait"], ["owner-1", 10_000_000, "", "", "host 7"]),
    "lock.release": (["lock", "queue", "wait"], ["owner-1", ""]),
    "lock.force_release": (["lock", "queue", "wait"], ["rs1:lost", 7]),
    "lock.renew": (["lock"], ["owner-1", 10_000_000]),
    "lock.acquire_all": (["lock", "queue", "wait"], ["owner-1", 10_000_000, "host 7"]),
    "lock.inspect": (["lock", "queue", "wait"], [10]),
    "partition.beat": (["partitions"], ["me-1", 1, 8, 10_000_000, 7, "10.0.0.7:8080", "rs1:partitions"]),
    "partition.leave": (["partitions"], ["me-1", "rs1:partitions"]),
    "partition.read": (["partitions"], [7]),
    "partition.release": (["partitions"], ["me-1", "rs1:partitions", 3, NOW]),
    "rate.gcra": (["gcra"], [*LIMIT, 3, 1, 1]),
    "rate.sliding_log": (["sliding_log"], [*LIMIT, 1, 1]),
    "rate.sliding_window": (["sliding_window"], [*LIMIT, 1, 1]),
    "rate.fixed_window": (["fixed_window"], [*LIMIT, 1, 1]),
    "rate.all_of": (["gcra", "sliding_log"], [2, *RULES, 1, 1]),
    "rate.lease": (["gcra"], ["gcra", *LIMIT, 3, 1_000_000, 1, 1]),
    "rate.refund": (["gcra", "gcra:refund:t", "sliding_log", "sliding_log:refund:t"], [2, *RULES, NOW, 1]),
    "rate.reserve": (RESERVED, [*LIMIT, 3, "r-1", 1, 60_000_000]),
    "rate.settle": (RESERVED, [*LIMIT, 3, "r-1", NOW, 2, 1]),
    "rate.reset": (["gcra"], []),
    "semaphore.acquire": (SEMAPHORE, ["owner-1", 10_000_000, "", 2, 3, 4, "host 7"]),
    "semaphore.release": (SEMAPHORE, ["owner-1"]),
    "semaphore.renew": (["semaphore"], ["owner-1", 10_000_000]),
    "semaphore.inspect": (SEMAPHORE, [10]),
}
