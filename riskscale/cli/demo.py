"""``riskscale demo``: replicas share a limit, workflow locks and a breaker. The dependency behind it fails one of them,
one is killed, and the invariants are checked."""

from __future__ import annotations

import asyncio
import json
import secrets
import time
from contextlib import suppress
from typing import Annotated, Any

import typer
from redis.exceptions import RedisError
from rich.live import Live
from rich.table import Table

from riskscale.breaker.admin import breaker_keys
from riskscale.cli import server
from riskscale.cli.caller import POLICY
from riskscale.cli.errors import Failure
from riskscale.cli.events import HOLD, History
from riskscale.cli.fleet import Fleet, Processes, Tasks
from riskscale.cli.invariants import Check, fences_rise, one_at_a_time, successor, taken_over, within_limit
from riskscale.cli.options import AsJson, KeyPrefix, UrlOrEmbedded
from riskscale.cli.outage import BREAK
from riskscale.cli.replica import Work
from riskscale.cli.screen import console, plain
from riskscale.lease._queue_model import POLL_US
from riskscale.lock.calls import LockKeys
from riskscale.rate.calls import Plan
from riskscale.rate.limit import Limit
from riskscale.sync import Hub

TICK = 0.02
GIVE_UP = 30.0
"""Seconds after the planned end for a recovery, a killing or a take-over that has not come about."""


class Play:
    """One run: whom the dependency fails, who is killed and when, and what became of it."""

    def __init__(self, fleet: Fleet, history: History, replicas: int, seconds: float) -> None:
        self._fleet, self._history, self._seconds = fleet, history, seconds
        self.replicas, self.failed, self.victim = replicas, 1, replicas
        self.killed_how: str | None = None
        self.elapsed = 0.0

    async def run(self, show: Any) -> None:
        """Start the replicas; when all are at work, let the dependency fail one. After a third of the time, and when
        that is over, kill one; stop when its lock has a new holder."""
        begin, broken, ordered = time.monotonic(), False, False
        outage = self._history.outage
        try:
            await self._fleet.start()
            while not self._over():
                await asyncio.sleep(TICK)
                self.elapsed = time.monotonic() - begin
                if self._history.failure:
                    raise Failure(self._history.failure)
                if not broken and len(outage.calls) == self.replicas:
                    broken = True
                    await self._fleet.order(self.failed, BREAK)
                if not ordered and outage.is_over(self.replicas) and self.elapsed >= self._seconds / 3:
                    ordered = True
                    await self._fleet.order(self.victim, HOLD)
                if self.killed_how is None and self._history.doomed:
                    self.killed_how = await self._fleet.kill(self.victim)
                show(self)
        finally:
            await self._fleet.stop()
        if self._history.failure:
            raise Failure(self._history.failure)

    def _over(self) -> bool:
        doomed = self._history.doomed
        settled = doomed is not None and successor(self._history.runs, doomed) is not None
        settled = settled and self._history.outage.is_over(self.replicas)
        return self.elapsed >= self._seconds + (0 if settled else GIVE_UP)

    def checks(self, limit: Limit) -> list[Check]:
        """The verdicts on what happened."""
        history = self._history
        return [
            within_limit(history.admitted, limit.count, limit.window_us),
            one_at_a_time(history.runs),
            fences_rise(history.runs),
            taken_over(history.runs, history.doomed, POLL_US, history.stall_us),
            *history.outage.checks(self.replicas, POLICY.refresh_us / 1e6, history.stall_us),
        ]

    def state(self, number: int) -> str:
        """What replica ``number`` is doing."""
        if number == self.victim and self.killed_how:
            return "killed"
        running = self._history.running[number]
        return f"runs {', '.join(sorted(running))}" if running else "waits"


def command(
    replicas: Annotated[int, typer.Option(min=2, max=64, metavar="N")] = 4,
    seconds: Annotated[float, typer.Option(min=1, max=3600, metavar="S")] = 10,
    redis: UrlOrEmbedded = None,
    key_prefix: KeyPrefix = "",
    as_json: AsJson = False,
) -> None:
    """Let replicas share a limit, locks and a breaker, let a dependency fail one, kill one that holds a lock, and check
    what must hold; exit 1 if broken.

    On a server, replicas are processes of the operating system; embedded, they are tasks.
    """
    history, limit = History(), Limit.parse(Work(prefix="").limit)
    if redis is None:
        work = Work(prefix=key_prefix)
        play = Play(Tasks(replicas, work, history.add), history, replicas, seconds)
        _perform(play, history, as_json)
    else:
        with server.connected(redis) as client:
            brand = f"demo-{secrets.token_hex(6)}"
            prefix = key_prefix or f"riskscale-{brand}:"
            work = Work(prefix=prefix, brand=brand, url=redis, cluster=hasattr(client, "keyslot"))
            play = Play(Processes(replicas, work, history.add), history, replicas, seconds)
            try:
                _perform(play, history, as_json)
            finally:
                remove(client, work, limit)
    checks = play.checks(limit)
    _summary_json(play, history, checks, limit) if as_json else _summary(play, history, checks)
    if not all(check.ok for check in checks):
        raise typer.Exit(1)


def remove(client: Any, work: Work, limit: Limit) -> None:
    """Delete every key of the run; if the server is gone, or the user may not, they expire by themselves."""
    hub = Hub(client, key_prefix=work.prefix)
    plan = Plan(hub.root, limit, work.brand, None)
    locks = [key for name in work.workflows for key in LockKeys.of(hub.key(work.lock(name))).all]
    breaker = breaker_keys(hub.root, work.breaker).all
    with suppress(RedisError):
        for key in [*locks, *breaker, *(key for tenant in work.tenants for key in plan.keys(tenant))]:
            client.delete(key)


def _perform(play: Play, history: History, as_json: bool) -> None:
    screen = console()
    if as_json or not screen.is_terminal:
        asyncio.run(play.run(lambda _: None))
        return
    with Live(console=screen, transient=True, refresh_per_second=8) as live:
        asyncio.run(play.run(lambda now: live.update(_table(now, history))))


def _table(play: Play, history: History) -> Table:
    table = Table(title=f"{play.elapsed:.1f} s", title_justify="left")
    for name in ("replica", "asked", "admitted", "runs", "calls", "failed", "refused"):
        table.add_column(name, justify="right")
    table.add_column("breaker")
    table.add_column("now")
    outage = history.outage
    for number in range(1, play.replicas + 1):
        of_limit = (history.hits[number], history.allowed[number], history.runs_of[number])
        of_breaker = (outage.calls[number], outage.failures[number], outage.refused[number])
        state, now = outage.states.get(number, ""), play.state(number)
        style = "red" if now == "killed" else ""
        table.add_row(str(number), *(f"{count:,}" for count in (*of_limit, *of_breaker)), state, now, style=style)
    return table


def _summary(play: Play, history: History, checks: list[Check]) -> None:
    screen = console()
    table = _table(play, history)
    table.title = f"{play.replicas} replicas, {play.elapsed:.1f} s"
    screen.print(table)
    if (outage := history.outage).probes:
        screen.print(plain(f"payments failed replica {play.failed}; replica {outage.probes[0]} tried it again"))
    if history.doomed:
        screen.print(plain(f"replica {play.victim} was killed holding {history.doomed.workflow}: {play.killed_how}"))
    for check in checks:
        verdict = plain("held  ", "green") if check.ok else plain("BROKEN", "bold red")
        screen.print(verdict, plain(f"{check.name}: {check.detail}"))


def _summary_json(play: Play, history: History, checks: list[Check], limit: Limit) -> None:
    doomed = history.doomed
    heir = successor(history.runs, doomed) if doomed else None
    took = (heir.start_us - doomed.start_us) / 1e6 if doomed and heir else None
    summary = {
        "replicas": play.replicas,
        "seconds": round(play.elapsed, 3),
        "limit": str(limit),
        "asked": history.hits.total(),
        "admitted": history.allowed.total(),
        "runs": len(history.runs),
        "worst_stall_seconds": history.stall_us / 1e6,
        "killed": doomed and {"replica": play.victim, "workflow": doomed.workflow, "how": play.killed_how},
        "taken_over_after_seconds": took,
        "breaker": {
            "failures": history.outage.failures.total(),
            "open_after_seconds": history.outage.open_after,
            "probes": len(history.outage.probes),
            "closed_after_seconds": history.outage.closed_after,
        },
        "ok": all(check.ok for check in checks),
        "invariants": [check._asdict() for check in checks],
    }
    print(json.dumps(summary))
