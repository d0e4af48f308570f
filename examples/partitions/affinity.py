"""API affinity: a tenant's requests go to the replica that owns its partition, and has its state in memory.

Two replicas and a gateway in one process, so that it can be tried: the call between them is a function here, and HTTP
in a service, with 421 Misdirected Request for WrongOwner. ``REDIS_URL=... python examples/partitions/affinity.py``
"""

import asyncio
import os

import redis.asyncio

import riskscale


class Replica:
    """Serves the tenants of the partitions that it owns."""

    def __init__(self, hub: riskscale.Hub, address: str) -> None:
        self.is_there = asyncio.Event()
        callbacks = {"on_assigned": lambda _: self.is_there.set(), "on_revoked": self.forget}
        self.group = riskscale.PartitionGroup(hub, "api", 16, 10, address=address, **callbacks)
        self.seen: dict[str, int] = {}

    def forget(self, revoked: list[riskscale.Assignment]) -> None:
        gone = {each.partition for each in revoked}
        self.seen = {t: count for t, count in self.seen.items() if self.group.partition_of(t) not in gone}

    def handle(self, tenant: str, epoch: int) -> str:
        self.group.check(self.group.partition_of(tenant), epoch)  # raises WrongOwner: 421, with its epoch
        self.seen[tenant] = self.seen.get(tenant, 0) + 1
        return f"request {self.seen[tenant]} of {tenant}"


async def ask(router: riskscale.PartitionRouter, replicas: dict[str, Replica], tenant: str) -> str:
    """The gateway: by its table; where that is behind, it reads again, and where nobody is there yet, it waits."""
    for pause in (0.0, 0.0, 0.1, 0.5, 1.0):
        await asyncio.sleep(pause)
        route = router.route(tenant)
        if route.owner is not None:
            try:
                return replicas[route.address].handle(tenant, route.epoch)
            except riskscale.WrongOwner:
                pass
        await router.reread()
    return f"503: nobody owns the partition of {tenant}"


async def main() -> None:
    client = redis.asyncio.from_url(os.environ.get("REDIS_URL", "redis://localhost"))
    async with client, riskscale.Hub(client) as one, riskscale.Hub(client) as two:
        replicas = {address: Replica(hub, address) for address, hub in (("10.0.0.1", one), ("10.0.0.2", two))}
        async with replicas["10.0.0.1"].group, riskscale.PartitionRouter(replicas["10.0.0.1"].group) as router:
            print(await ask(router, replicas, "tenant-7"))
            print(await ask(router, replicas, "tenant-7"))
            async with replicas["10.0.0.2"].group:  # a second one comes, and gets half
                await replicas["10.0.0.2"].is_there.wait()
                answers = [await ask(router, replicas, f"tenant-{number}") for number in range(100)]
                print(len(answers), "answers,", sum(answer.startswith("503") for answer in answers), "refused")
            print(await ask(router, replicas, "tenant-8"))


if __name__ == "__main__":
    asyncio.run(main())
