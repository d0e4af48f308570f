"""Many workflows at once: all complete, each for its own tenant, and all that counts them agrees."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from pathlib import Path

import prometheus_client
import pytest

from riskscale import WorkloadPartitioner
from riskscale.testing import ServerProcess
from tests.load.harness import PARTITIONS, SCALE, Watched, assert_books, engine, names, samples, send


async def complete(url: str | None, folder: Path, tenants: int, events: int) -> None:
    """So many events of each tenant at the same time, and then the accounts."""
    model, wanted = Watched(), names(tenants, events)
    async with engine(url, folder, model) as running:
        assert Counter((await send(running, wanted)).values()) == {"assessed": len(wanted)}
        page = prometheus_client.generate_latest(running.registry).decode()
        spent = {tenant: await running.costs.spent(tenant) for tenant in sorted({tenant for tenant, _ in wanted})}
        assert model.calls == len(wanted)
        assert spent == {f"tenant-{tenant}": 25 * events for tenant in range(tenants)}
        assert sum(spent.values()) == 25 * model.calls == samples(page, "riskscale_risk_model_cost_total")[""]
        assert samples(page, "riskscale_risk_events_total", "outcome") == {"assessed": len(wanted)}
        assert model.most <= running.settings.max_concurrent
        assert model.most_of_a_tenant <= running.settings.tenant_concurrent
        await assert_books(running, wanted)


async def test_embedded_5_tenants_with_50_workflows_each(tmp_path: Path) -> None:
    await complete(None, tmp_path, 5, 50)


@pytest.mark.timeout(600)
async def test_server_20_tenants_with_many_workflows_each(scratch_server: ServerProcess, tmp_path: Path) -> None:
    await complete(scratch_server.url, tmp_path, 20, 50 * SCALE)


@pytest.mark.parametrize(("places", "share"), [(1, 1), (2, 1), (4, 3), (3, 16)])
async def test_the_bulkhead_never_deadlocks(
    scratch_server: ServerProcess, tmp_path: Path, places: int, share: int
) -> None:
    """Far more at once than places, each with its key and its lock held: all come through, within the shares."""
    model, wanted = Watched(), names(10, 12)
    async with engine(
        scratch_server.url, tmp_path, model, max_concurrent=places, tenant_concurrent=share, lock_seconds=30
    ) as running:
        assert Counter((await send(running, wanted)).values()) == {"assessed": len(wanted)}
        assert model.most <= places
        assert model.most_of_a_tenant <= min(share, places)
        assert (running.bulkhead.running, running.bulkhead.waiting) == (0, 0)


async def test_a_tenant_with_a_heap_of_work_leaves_the_others_their_turn(
    scratch_server: ServerProcess, tmp_path: Path
) -> None:
    heap = [("hog", f"h-{number}") for number in range(200)]
    small = names(4, 2)
    async with engine(scratch_server.url, tmp_path, max_concurrent=4, tenant_concurrent=2) as running:
        outcomes = await send(running, heap + small)
    assert Counter(outcomes.values()) == {"assessed": len(heap) + len(small)}
    order = list(outcomes)
    last = max(map(order.index, small))
    assert last < len(heap) // 2, f"the last of the small ones was the {last}th"


async def test_what_has_no_place_is_refused_and_done_when_it_comes_again(
    scratch_server: ServerProcess, tmp_path: Path
) -> None:
    wanted = names(4, 25)
    async with engine(
        scratch_server.url, tmp_path, max_concurrent=2, tenant_concurrent=1, max_queued=20, tenant_queued=5
    ) as running:
        accepted: set[tuple[str, str]] = set()
        refused = Counter[str]()
        while left := [name for name in wanted if name not in accepted]:
            outcomes = await send(running, left)
            accepted |= {name for name, outcome in outcomes.items() if outcome == "assessed"}
            refused.update(outcome for outcome in outcomes.values() if outcome != "assessed")
        assert set(refused) == {"OVERLOADED"}
        await assert_books(running, wanted)


@pytest.mark.parametrize("where", ["embedded", "server"])
async def test_a_burst_of_150_on_a_limit_of_100_is_exactly_100_and_50(
    request: pytest.FixtureRequest, tmp_path: Path, where: str
) -> None:
    url = request.getfixturevalue("scratch_server").url if where == "server" else None
    async with engine(url, tmp_path, rate_limit="100/hour") as running:
        outcomes = await send(running, [name for tenant in ("acme", "globex") for name in burst(tenant)])
        for tenant in ("acme", "globex"):
            of_tenant = Counter(outcome for (of, _), outcome in outcomes.items() if of == tenant)
            assert of_tenant == {"assessed": 100, "RATE_LIMITED": 50}
            assert await running.costs.spent(tenant) == 100 * 25
        await assert_books(running, [name for name, outcome in outcomes.items() if outcome == "assessed"])


def burst(tenant: str) -> list[tuple[str, str]]:
    return [(tenant, f"e-{number}") for number in range(150)]


PARTITION_ALL = """
from riskscale import WorkloadPartitioner
partitioner = WorkloadPartitioner({partitions})
print(*(partitioner.get_partition(f"tenant-{{number}}") for number in range(1000)))
"""


def partitioned_elsewhere(seed: str) -> list[int]:
    command = [sys.executable, "-c", PARTITION_ALL.format(partitions=PARTITIONS)]
    done = subprocess.run(command, env={"PYTHONHASHSEED": seed}, capture_output=True, text=True, check=True, timeout=60)
    return list(map(int, done.stdout.split()))


async def test_1000_tenants_partition_alike_in_every_process_and_their_results_go_there(
    scratch_server: ServerProcess, tmp_path: Path
) -> None:
    partitioner = WorkloadPartitioner(PARTITIONS)
    wanted = names(1000, 1)
    here = [partitioner.get_partition(tenant) for tenant, _ in wanted]
    assert partitioned_elsewhere("1") == partitioned_elsewhere("2") == here
    assert min(Counter(here).values()) > 1000 / PARTITIONS * 0.8

    async with engine(scratch_server.url, tmp_path) as running:
        assert set((await send(running, wanted)).values()) == {"assessed"}
        for partition in range(PARTITIONS):
            entries = await running.client.xrange(f"risk:results:{partition}")
            found = {fields[b"tenant_id"].decode() for _, fields in entries}
            assert found == {tenant for (tenant, _), of in zip(wanted, here, strict=True) if of == partition}
