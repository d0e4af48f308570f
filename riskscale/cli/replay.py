"""``riskscale replay``: what would these limits have done to this traffic?

The log's own clock drives the same Lua that runs in production: the hub's clock is the time of the request at hand.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from typing import Annotated, Any

import typer
from redis.exceptions import RedisError
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from riskscale.cli import logs, server
from riskscale.cli.errors import Failure
from riskscale.cli.options import AsJson, KeyPrefix, UrlOrEmbedded
from riskscale.cli.report import compared, counted, single
from riskscale.cli.screen import console
from riskscale.cli.tally import Tally, batches
from riskscale.errors import ArgumentError
from riskscale.rate.limit import ALGORITHMS, Algorithm, Limit
from riskscale.sync import Hub, RateLimiter

Step = Callable[[int], None]


def command(
    files: Annotated[list[str], typer.Argument(metavar="FILE...", help="Logs, plain or gzip; - is standard input.")],
    limit: Annotated[
        list[str], typer.Option(metavar="N/PERIOD", help="Such as 10/60s or 1000/day; several: all or nothing.")
    ],
    by: Annotated[
        str | None, typer.Option(metavar="FIELDS", help="ip, user, path, method, status, or ip+path...  [default: ip]")
    ] = None,
    algorithm: Annotated[str | None, typer.Option(help=f"{', '.join(ALGORITHMS)}.", metavar="NAME")] = None,
    compare: Annotated[bool, typer.Option("--compare", help="All algorithms, side by side.")] = False,
    redis: UrlOrEmbedded = None,
    key_prefix: KeyPrefix = "",
    as_json: AsJson = False,
    top: Annotated[int, typer.Option(min=0, metavar="N", help="Keys to list, most refused first; 0: all.")] = 10,
    time_field: Annotated[str, typer.Option(metavar="NAME", help="Of JSON lines: the time.")] = "time",
    key_field: Annotated[
        str | None, typer.Option(metavar="NAME", help="Of JSON lines: the key, in place of --by.")
    ] = None,
) -> None:
    """Replay an access log against rate limits, on the log's own clock: who would have been refused?"""
    form = line_format(by, time_field, key_field)
    policies = read_limits(limit, algorithm, compare)
    with progress_bar() as (loading, deciding):
        log = logs.read(files, form, loading)
        with backend(redis, key_prefix) as (client, prefix):
            step = deciding(len(log.requests) * len(policies))
            tallies = [replay(client, prefix, limits, log.requests, step) for limits in policies]
    if as_json:
        summary = counted(log, tallies[0], top) if not compare else compared(log, tallies, top)
        limits = [str(each) for each in policies[0]]
        print(json.dumps({**summary, "limits": limits, "by": list(form.fields)}, ensure_ascii=False))
    else:
        single(log, tallies, policies[0], top)


def line_format(by: str | None, time_field: str, key_field: str | None) -> logs.Format:
    """How lines are read, from ``--by``, ``--time-field`` and ``--key-field``."""
    if key_field is not None:
        if by is not None:
            raise Failure("--by and --key-field exclude each other")
        return logs.Format(fields=(key_field,), time_field=time_field, json_only=True)
    fields = tuple((by or "ip").replace("+", ",").split(","))
    for name in fields:
        if name not in logs.FIELDS:
            raise Failure(f"--by: {name!r} is not one of {', '.join(logs.FIELDS)} (of JSON lines, use --key-field)")
    return logs.Format(fields=fields, time_field=time_field)


def read_limits(texts: Sequence[str], algorithm: str | None, compare: bool) -> list[list[Limit]]:
    """The limits under the algorithm asked for; with ``compare``, under each. A burst is for gcra alone."""
    if algorithm is not None and algorithm not in ALGORITHMS:
        raise Failure(f"--algorithm: {algorithm!r} is not one of {', '.join(ALGORITHMS)}")
    if algorithm is not None and compare:
        raise Failure("--algorithm and --compare exclude each other")
    chosen: Algorithm | None = next((each for each in ALGORITHMS if each == algorithm), None)
    try:
        limits = [each for text in texts for each in Limit.parse_many(text, algorithm=chosen)]
        policies = [[_under(each, kind) for each in limits] for kind in ALGORITHMS] if compare else [limits]
    except ArgumentError as error:
        raise Failure(f"--limit: {error.rule if error.argument == 'text' else error}") from None
    periods = [each.label for each in limits]
    if len(set(periods)) < len(periods):
        raise Failure("--limit: two limits have the same period; keep the lower one")
    return policies


def replay(client: Any, prefix: str, limits: Sequence[Limit], requests: Sequence[tuple[int, str]], step: Step) -> Tally:
    """Decide every request at its own time, in order; the keys are removed afterwards, however it ends."""
    kinds = {each.algorithm for each in limits}
    tally, now_us = Tally("+".join(sorted(kinds))), 0
    with Hub(client, key_prefix=prefix, clock=lambda: now_us) as hub:
        limiter = RateLimiter(hub, limits, name=f"replay-{secrets.token_hex(6)}")
        try:
            for now_us, keys in batches(requests):
                for key, decision in zip(keys, limiter.hit_many(keys), strict=True):
                    tally.add(key, now_us, decision.allowed)
                step(len(keys))
        finally:
            remove(limiter, {key for _, key in requests})
    return tally


def remove(limiter: RateLimiter, keys: set[str]) -> None:
    """Forget what was counted. If the server is gone, so may be the keys: they expire by themselves."""
    with suppress(RedisError):
        for key in keys:
            limiter.reset(key)


@contextmanager
def backend(url: str | None, key_prefix: str) -> Iterator[tuple[Any, str]]:
    """A client, and the prefix asked for or one that nobody else has; errors of the server name it."""
    if url is None:
        with closing(server.embedded()) as client:
            yield client, key_prefix
        return
    with server.connected(url) as client:
        yield client, key_prefix or f"riskscale-replay-{secrets.token_hex(6)}:"


@contextmanager
def progress_bar() -> Iterator[tuple[Step, Callable[[int], Step]]]:
    """Two steps of progress, for reading and for deciding; shown on a terminal alone."""
    screen = console(stderr=True)
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    with Progress(*columns, console=screen, transient=True, disable=not screen.is_terminal) as progress:
        reading = progress.add_task("reading", total=None)

        def loading(count: int) -> None:
            progress.update(reading, completed=count)

        def deciding(total: int) -> Step:
            progress.remove_task(reading)
            task = progress.add_task("deciding", total=total)
            return lambda count: progress.advance(task, count)

        yield loading, deciding


def _under(limit: Limit, algorithm: Algorithm) -> Limit:
    burst = limit.burst if algorithm == "gcra" else None
    return Limit(limit.count, per=limit.per, algorithm=algorithm, burst=burst, name=limit.name)
