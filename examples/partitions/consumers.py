"""Queue consumers: each partition is a list of jobs, worked off by the one replica that owns it. Stop it with Ctrl-C.

Run several: ``REDIS_URL=redis://localhost python examples/partitions/consumers.py``. Jobs go to the list of their
tenant's partition: ``LPUSH jobs:17 '{"id": 1, "tenant": "t1"}'``, where 17 is ``group.partition_of("t1")``. A job
whose worker died is done again by the next owner; docs/fencing.md tells how the epoch guards what must not be.
"""

import asyncio
import contextlib
import os

import redis.asyncio

import riskscale

PARTITIONS = 64


class Consumers:
    def __init__(self, client: redis.asyncio.Redis) -> None:
        self.client = client
        self.tasks: dict[int, asyncio.Task[None]] = {}

    def start(self, assigned: list[riskscale.Assignment]) -> None:
        for each in assigned:
            self.tasks[each.partition] = asyncio.create_task(self.consume(each))

    async def stop(self, revoked: list[riskscale.Assignment]) -> None:
        """What returns from here is given to others: so the job under way is finished first."""
        await asyncio.gather(*(self.tasks.pop(each.partition) for each in revoked))

    async def consume(self, assignment: riskscale.Assignment) -> None:
        name = f"jobs:{assignment.partition}"
        while not assignment.lost and assignment.partition in self.tasks:
            job = await self.client.lindex(name, -1)
            if job is None:
                await asyncio.sleep(0.05)
                continue
            print(f"partition {assignment.partition} epoch {assignment.epoch}: {job.decode()}", flush=True)
            if assignment.lost:  # it took too long: whoever owns it now does it again
                return
            await self.client.lrem(name, -1, job)  # this one, not whichever is last by now


async def main() -> None:
    client = redis.asyncio.from_url(os.environ.get("REDIS_URL", "redis://localhost"))
    consumers = Consumers(client)
    async with client, riskscale.Hub(client) as hub:
        callbacks = {"on_assigned": consumers.start, "on_revoked": consumers.stop}
        async with riskscale.PartitionGroup(hub, "jobs", PARTITIONS, 10, **callbacks):
            await asyncio.Event().wait()


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(main())
