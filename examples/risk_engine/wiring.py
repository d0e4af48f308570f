"""Everything is put together here, and nowhere else: which parts there are, and which needs which."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any

import redis
from prometheus_client import CollectorRegistry
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from risk_engine.audit import AuditLog, RedisAudit, SqliteAudit
from risk_engine.consumer import Cases, Consumer, Handler
from risk_engine.costs import CostTracker, RedisCosts
from risk_engine.gathering import GatheringRedis
from risk_engine.keys import Keys
from risk_engine.model import Model, RuleModel
from risk_engine.profiles import RedisProfiles
from risk_engine.publisher import Publisher, StreamPublisher
from risk_engine.service import EventService, Protected, Unprotected
from risk_engine.settings import Settings
from risk_engine.state import RedisStateStore
from risk_engine.workflow import Direct, RiskWorkflow
from riskscale import (
    AutoScalingPolicy,
    BreakerPolicy,
    BulkheadExecutor,
    CircuitBreaker,
    FleetMetrics,
    HealthMonitor,
    Hub,
    IdempotencyGuard,
    Limit,
    PartitionGroup,
    ProcessCpu,
    PrometheusMetrics,
    RateLimiter,
    ScalingController,
    ScalingOrder,
)

PARTITION_TTL = 6.0
JOIN_SECONDS = 0.5
FLEET = "risk-engine"
log = logging.getLogger("risk_engine")


@dataclass(frozen=True, slots=True, kw_only=True)
class Engine:
    """What runs, for the HTTP layer and for tests."""

    settings: Settings
    client: Any
    hub: Hub
    registry: CollectorRegistry
    service: EventService
    health: HealthMonitor
    audit: AuditLog
    costs: CostTracker
    bulkhead: BulkheadExecutor
    breakers: tuple[CircuitBreaker, ...]
    group: PartitionGroup
    consumer: Consumer
    fleet: FleetMetrics


def connect(settings: Settings) -> Any:
    """The client: of the server, or of one inside this process."""
    if settings.redis_url is None:
        from riskscale.testing import fake_async_client, new_fake_server

        return fake_async_client(new_fake_server())
    # No retries: what may have been done would be done twice, such as the message of a result.
    return GatheringRedis.from_url(
        settings.redis_url.get_secret_value(), socket_timeout=2.0, socket_connect_timeout=2.0,
        retry=Retry(NoBackoff(), 0), health_check_interval=30,
    )  # fmt: skip


@asynccontextmanager
async def running(
    settings: Settings,
    *,
    client: Any = None,
    model: Model | None = None,
    publisher: Publisher | None = None,
    handler: Handler | None = None,
) -> AsyncIterator[Engine]:
    """The engine, from start to end. Given parts stand in for those of the settings.

    At the end: no new work is begun, what is under way has ``drain_seconds``, partitions are given back, the leader
    resigns, leases are released, connections closed; in the reverse order of the beginnings.
    """
    async with AsyncExitStack() as stack:
        if client is None:
            client = connect(settings)
            stack.push_async_callback(client.aclose)
        keys = Keys(settings.key_prefix)
        registry = CollectorRegistry()
        metrics = PrometheusMetrics(registry)
        hub = await stack.enter_async_context(Hub(client, key_prefix=settings.key_prefix, metrics=metrics))
        if settings.audits_to_sqlite:
            audit: AuditLog = await stack.enter_async_context(SqliteAudit.opened(settings.audit_path))
        else:
            audit = RedisAudit(client, keys)

        rules = BreakerPolicy(consecutive_failures=settings.failure_threshold, open_seconds=settings.open_seconds)
        breakers = tuple(CircuitBreaker(name=name, policy=rules, redis=hub) for name in ("model", "publisher"))
        callers = breakers if settings.protections else (Direct(), Direct())
        store, costs = RedisStateStore(client, keys, settings.keep_seconds), RedisCosts(client, keys)
        workflow = RiskWorkflow(
            store=store,
            profiles=RedisProfiles(client, keys),
            model=model or RuleModel(),
            publisher=publisher or StreamPublisher(client, keys, settings.partitions),
            audit=audit,
            costs=costs,
            metrics=metrics,
            model_breaker=callers[0],
            publisher_breaker=callers[1],
            replica=settings.replica,
            model_seconds=settings.model_seconds,
            publish_seconds=settings.publish_seconds,
        )

        bulkhead = BulkheadExecutor(
            settings.max_concurrent, settings.max_queued, name="workflows", metrics=metrics,
            tenant_concurrent=min(settings.tenant_concurrent, settings.max_concurrent),
            tenant_queued=min(settings.tenant_queued, settings.max_queued),
        )  # fmt: skip
        limiter = RateLimiter(
            hub, Limit.parse(settings.rate_limit), name="events", on_error="local", replicas=settings.replicas,
            timeout=settings.decision_seconds,
        )  # fmt: skip
        protected = Protected(
            hub=hub,
            limiter=limiter,
            guard=IdempotencyGuard(hub, "events", ttl=settings.lock_seconds, keep=settings.keep_seconds),
            bulkhead=bulkhead,
            lock_ttl=settings.lock_seconds,
            wait_seconds=settings.wait_seconds,
        )
        protection = protected if settings.protections else Unprotected()
        fleet = FleetMetrics(
            hub, FLEET, interval=settings.report_seconds, cpu=ProcessCpu(),
            queue_depth=lambda: bulkhead.status().waiting,
        )  # fmt: skip
        await stack.enter_async_context(fleet)
        service = EventService(
            protection=protection, store=store, workflow=workflow, metrics=metrics, observe=fleet.observe
        )
        if settings.scale_to:
            policy = AutoScalingPolicy(max_replicas=settings.scale_to, hold_while_open=True)
            await stack.enter_async_context(scaling(hub, policy, fleet, breakers, 3 * settings.report_seconds))

        consumer = Consumer(client, keys, handler or Cases(client, keys), metrics, attempts=settings.handle_attempts)
        group = PartitionGroup(
            hub, "risk-results", settings.partitions, PARTITION_TTL, address=settings.replica,
            on_assigned=consumer.on_assigned, on_revoked=consumer.on_revoked,
        )  # fmt: skip
        if settings.consume:
            await stack.enter_async_context(joined(group))

        health = HealthMonitor()
        health.add_redis(hub)
        for breaker in breakers:
            health.add_breaker(breaker)
        health.add_bulkhead(bulkhead)

        stack.push_async_callback(bulkhead.close, timeout=settings.drain_seconds)
        yield Engine(
            settings=settings, client=client, hub=hub, registry=registry, service=service, health=health, audit=audit,
            costs=costs, bulkhead=bulkhead, breakers=breakers, group=group, consumer=consumer, fleet=fleet,
        )  # fmt: skip


@asynccontextmanager
async def joined(group: PartitionGroup) -> AsyncIterator[None]:
    """In the group meanwhile; where Redis is gone at the start, from when it is back."""

    async def join_later() -> None:
        while True:
            await asyncio.sleep(JOIN_SECONDS)
            with suppress(redis.RedisError, OSError):
                return await group.start()

    joining: asyncio.Task[None] | None = None
    try:
        await group.start()
    except (redis.RedisError, OSError) as error:
        log.warning("results are not read yet: %s", type(error).__name__)
        joining = asyncio.create_task(join_later())
    try:
        yield
    finally:
        if joining:
            joining.cancel()
            await asyncio.wait({joining})
        await group.aclose()


@asynccontextmanager
async def scaling(
    hub: Hub, policy: AutoScalingPolicy, fleet: FleetMetrics, breakers: Sequence[CircuitBreaker], every: float
) -> AsyncIterator[None]:
    """The fleet is scaled meanwhile: every replica stands for election, the leader decides for all, and resigns at the
    end. What orders a change here only tells; put your orchestrator's API in its place."""

    def apply(order: ScalingOrder) -> None:
        log.warning("%s (term %d): %s", order.action.name, order.fence, order.reason)

    controller = ScalingController(hub, policy, fleet, apply, interval=every, cooldown=60, breakers=breakers)

    async def run() -> None:
        try:
            await controller.run()
        except Exception:  # now, and not when the task is collected; also where it fails to resign
            log.exception("nobody here scales the fleet any more")

    task = asyncio.create_task(run())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait({task})
