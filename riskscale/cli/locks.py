"""``riskscale locks``: who holds what, who waits for it, and taking it from a holder that will not let go.

Tokens are shown nowhere: whoever has one can release its lease. The fence tells one holder from another.
"""

from __future__ import annotations

import json
from functools import partial
from typing import Annotated, Any

import typer
from rich.table import Table

from riskscale._core.durations import MAX_INT
from riskscale.cli import keyspace
from riskscale.cli.errors import Failure
from riskscale.cli.keyspace import connected_hub
from riskscale.cli.options import AsJson, KeyPrefix, Url
from riskscale.cli.screen import console, one_line, plain
from riskscale.lock import calls
from riskscale.lock.admin import LockName, lock_name, lost_channel, patterns
from riskscale.lock.calls import LockInfo
from riskscale.sync import Hub

app = typer.Typer(help="The locks on a server, and who holds them.", rich_markup_mode=None)
Name = Annotated[str, typer.Argument(metavar="NAME", help="As given to Lock or Election.")]
Tag = Annotated[str | None, typer.Option(metavar="TAG", help="The tag it was given, if any.")]
OfElection = Annotated[bool, typer.Option("--election", help="An election of that name, not a lock.")]


@app.command("list")
def list_(
    redis: Url,
    key_prefix: KeyPrefix = "",
    all_: Annotated[bool, typer.Option("--all", help="Also those that are free, and remembered for a while.")] = False,
    as_json: AsJson = False,
) -> None:
    """Every lock and election that is held or waited for."""
    with connected_hub(redis, key_prefix) as hub:
        found = list(keyspace.inspected(_locks(hub), lambda lock: _inspect(hub, lock, 0), lambda lock: lock.name))
    shown = [(lock, info) for lock, info in found if all_ or info.held or info.waiting]
    if as_json:
        print(json.dumps({"locks": [_as_dict(lock, info) for lock, info in shown]}))
        return
    table = Table()
    for column in ("name", "tag", "kind", "held", "fence", "lease left", "holds", "waiting", "metadata"):
        table.add_column(column, overflow="fold")
    for lock, info in shown:
        row = [
            lock.name,
            lock.tag or "",
            lock.role,
            _state(info),
            info.fence,
            _left(info),
            len(info.holds),
            info.waiting,
        ]
        table.add_row(*(plain(one_line(str(cell))) for cell in (*row, info.metadata)))
    console().print(table)


@app.command()
def show(
    name: Name,
    redis: Url,
    tag: Tag = None,
    election: OfElection = False,
    key_prefix: KeyPrefix = "",
    as_json: AsJson = False,
) -> None:
    """One lock: its holder, and who waits, the first first; exit 1 if it is free and nobody waits."""
    lock = _named(name, tag, election)
    with connected_hub(redis, key_prefix) as hub:
        info = _inspect(hub, lock, 1000)
    if as_json:
        print(json.dumps(_as_dict(lock, info)))
    else:
        _print_holder(lock, info)
        for place, waiter in enumerate(info.waiters):
            alive = f"alive for {waiter.alive:.1f} s" if waiter.alive else "dead"
            print(f"  {place}: waits {waiter.waited:.1f} s, {alive}")
        if info.waiting > len(info.waiters):
            print(f"  ... {info.waiting} altogether")
    if not info.held and not info.waiting:
        raise typer.Exit(1)


@app.command()
def release(
    name: Name,
    redis: Url,
    force: Annotated[bool, typer.Option("--force", help="Needed: the holder may be at work.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    fence: Annotated[
        int | None, typer.Option(metavar="N", help="Only from the holder with this fence.", min=1, max=MAX_INT)
    ] = None,
    tag: Tag = None,
    election: OfElection = False,
    key_prefix: KeyPrefix = "",
) -> None:
    """Take a lock from its holder, who is told, and hand it to the next; exit 1 if it was not held, or not by that one.

    The fence is raised: once the next holder has come to a guarded value, what the former one still writes is refused.
    """
    if not force:
        raise Failure("release: the holder may be at work: --force takes the lock from it all the same")
    lock = _named(name, tag, election)
    with connected_hub(redis, key_prefix) as hub:
        info = _inspect(hub, lock, 0)
        _print_holder(lock, info)
        if not info.held or fence not in (None, info.fence):
            print("nothing changed" if not info.held else f"not with the fence {fence}: nothing changed")
            raise typer.Exit(1)
        if not yes and not _agreed():
            print("nothing changed")
            raise typer.Exit(1)
        # The fence that was shown: while somebody thought about it, another may have come to hold the lock.
        call = calls.force_release(lock.keys(hub.root), lost=lost_channel(hub.root), fence=info.fence)
        done = hub.run(call)
    if not done.released:
        print(f"the fence {info.fence} does not hold it any more: nothing changed")
        raise typer.Exit(1)
    print(f"released, {_heard(done.told)}; fences are above {done.fence} from now on")


def _named(name: str, tag: str | None, election: bool) -> LockName:
    return LockName(name, tag, "election" if election else "lock")


def _locks(hub: Hub) -> list[LockName]:
    locks = keyspace.found(hub, patterns(hub.root), partial(lock_name, hub.root))
    return sorted(locks, key=lambda lock: (lock.name, lock.tag or "", lock.role))


def _inspect(hub: Hub, lock: LockName, waiters: int) -> LockInfo:
    return hub.run(calls.inspect(lock.keys(hub.root), waiters))


def _agreed() -> bool:
    try:
        return typer.confirm("take it from this holder?")
    except typer.Abort as abort:
        if isinstance(abort.__context__, KeyboardInterrupt):
            raise
        raise Failure("release: it asks first, and nobody answered: --yes does without") from None


def _heard(told: int) -> str:
    """Every hub of that prefix listens once it has something to listen for, so the holder need not be one of them."""
    if told == 0:
        return "nobody listened: the holder finds out when it renews or releases"
    return f"{told} {'process' if told == 1 else 'processes'} listened"


def _state(info: LockInfo) -> str:
    if not info.held:
        return "free"
    return "held" if info.claimed else "granted, not claimed yet"


def _left(info: LockInfo) -> str:
    return f"{info.remaining:.1f} s" if info.held else ""


def _print_holder(lock: LockName, info: LockInfo) -> None:
    words = [f"{lock.name}: {_state(info)}"]
    if info.held:
        words += [f"fence {info.fence}", f"lease left {_left(info)}"]
        words += [f"{len(info.holds)} holds"] if info.holds else []
        words += [f"metadata {info.metadata}"] if info.metadata else []  # last: whatever it says comes after ours
    elif info.fence:
        words.append(f"last fence {info.fence}")
    print(one_line(", ".join(words)))


def _as_dict(lock: LockName, info: LockInfo) -> dict[str, Any]:
    return {
        "name": lock.name,
        "tag": lock.tag,
        "kind": lock.role,
        "held": info.held,
        "claimed": info.claimed,
        "fence": info.fence,
        "remaining": info.remaining,
        "holds": len(info.holds),
        "metadata": info.metadata,
        "waiting": info.waiting,
        "waiters": [{"waited": each.waited, "alive": each.alive} for each in info.waiters],
    }
