"""Decisions a second, beside bare calls: by one thread, and by more and more concurrent callers of one event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import redis
import redis.asyncio

import riskscale
from benchmarks.client_side import AsyncOperation, Batches, beside_bare, beside_bare_async
from benchmarks.rates import contenders, parsers
from benchmarks.rates.contenders import BATCH, RateSettings
from benchmarks.report import Row


def blocking(url: str, settings: RateSettings) -> list[Row]:
    """One thread, one connection."""
    rows: list[Row] = []
    for parser in parsers.PARSERS:
        with redis.Redis.from_url(url, **parsers.blocking(parser)) as client:
            hits = contenders.ours(client) | contenders.rivals(url, client)
            singles = {name: contenders.in_turn(hit) for name, hit in hits.items()}
            many = _lists(contenders.batches(client))
            rows += _named(parser, beside_bare(client, singles, settings, many))
    return rows


def concurrent(url: str, settings: RateSettings) -> list[Row]:
    """One event loop, callers that each ask again as soon as they are answered."""
    rows: list[Row] = []
    for parser in parsers.PARSERS:
        with loop(url, parser, max(settings.callers)) as (runner, client, hub), redis.Redis.from_url(url) as observer:
            rows += _named(parser, beside_bare_async(runner, client, observer, singles(url, client, hub), settings))
    return rows


def hit_many(url: str, settings: RateSettings) -> list[Row]:
    """One caller with a list of requests, beside one with a request at a time."""
    rows: list[Row] = []
    alone = replace(settings, callers=(1,))
    for parser in parsers.PARSERS:
        with loop(url, parser, 1) as (runner, client, hub), redis.Redis.from_url(url) as observer:
            hits = {name: contenders.in_turn_async(hit) for name, hit in contenders.ours_async(hub).items()}
            many = _lists(contenders.batches_async(hub))
            rows += _named(parser, beside_bare_async(runner, client, observer, hits, alone, many))
    return rows


@contextmanager
def loop(url: str, parser: str, callers: int) -> Iterator[tuple[asyncio.Runner, Any, riskscale.Hub]]:
    """An event loop, a client and a hub of its own; connections for all callers, and for what the hub has under way."""
    with asyncio.Runner() as runner:
        client = redis.asyncio.Redis.from_url(url, **parsers.concurrent(parser), max_connections=64 + 2 * callers)
        hub = riskscale.Hub(client, key_prefix="bench:")
        yield runner, client, hub
        runner.run(hub.aclose())
        runner.run(client.aclose())


def singles(url: str, client: Any, hub: riskscale.Hub) -> dict[str, AsyncOperation]:
    """Every way to ask for one decision."""
    hits = contenders.ours_async(hub) | contenders.uncoalesced(hub) | contenders.rivals_async(url, client)
    return {name: contenders.in_turn_async(hit) for name, hit in hits.items()}


def _lists(acts: Mapping[str, Any]) -> Batches:
    return Batches({f"{name} hit_many {BATCH}": act for name, act in acts.items()}, BATCH)


def _named(parser: str, rows: list[Row]) -> list[Row]:
    return [{"parser": parser} | row for row in rows]
