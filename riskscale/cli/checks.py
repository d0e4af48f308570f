"""What ``riskscale doctor`` looks at: a check asks the server, and a pure ``judge_...`` says what the answer means."""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Callable, Mapping
from statistics import median
from typing import Any, Literal, NamedTuple

from redis.exceptions import RedisError

from riskscale.cli.errors import ACL_HINT, is_noperm, is_unreachable, server_words
from riskscale.cli.trial import run_every_script

Verdict = Literal["ok", "warn", "fail", "unknown"]
Info = Mapping[str, Any]
PINGS = 15
DISK = "look into the server's log; is the disk full?"


class Finding(NamedTuple):
    """One check: what was seen, and what to do about it ("" = nothing)."""

    check: str
    verdict: Verdict
    seen: str
    advice: str = ""


def examine(client: Any, key_prefix: str) -> list[Finding]:
    """Every check, in the order in which they are shown."""
    checks: list[tuple[str, Callable[[Any], Finding]]] = [
        ("server", lambda client: judge_server(info(client, "server"))),
        ("round trip", lambda client: judge_round_trip(round_trip(client))),
        ("eviction", lambda client: judge_eviction(info(client, "memory"))),
        ("persistence", lambda client: judge_persistence(info(client, "persistence"), saves(client))),
        ("replicas", lambda client: judge_replicas(info(client, "replication"))),
        ("cluster", lambda client: judge_cluster(info(client, "cluster"), cluster_state(client))),
        ("time in scripts", time_in_scripts),
        ("scripts and ACL", lambda client: scripts_run(client, key_prefix)),
    ]
    return [_guarded(name, check, client) for name, check in checks]


def _guarded(name: str, check: Callable[[Any], Finding], client: Any) -> Finding:
    try:
        return check(client)
    except RedisError as error:
        if is_unreachable(error):
            raise
        advice = f"this user may not ask; {ACL_HINT}" if is_noperm(error) else "the server does not answer this"
        return Finding(name, "unknown", server_words(error).split(";")[0], advice)


def info(client: Any, section: str) -> Info:
    """One section of INFO; on a cluster, the first primary's."""
    answer = client.info(section, **_one_node(client))
    return answer if isinstance(answer, dict) else {}


def round_trip(client: Any) -> list[float]:
    """Seconds that some PINGs took."""
    times = []
    for _ in range(PINGS):
        begin = time.perf_counter()
        client.ping(**_one_node(client))
        times.append(time.perf_counter() - begin)
    return times


def saves(client: Any) -> bool | None:
    """Whether snapshots are configured; None where CONFIG may not be asked, as with most providers."""
    try:
        return bool(client.config_get("save", **_one_node(client)).get("save"))
    except RedisError:
        return None


def cluster_state(client: Any) -> str | None:
    """What CLUSTER INFO says of a cluster; None where it may not be asked."""
    if not hasattr(client, "keyslot"):
        return None
    try:
        return str(client.cluster_info(**_one_node(client)).get("cluster_state"))
    except RedisError:
        return None


def time_in_scripts(client: Any) -> Finding:
    """Whether a script may ask for the time, which every script without ``now_us`` does."""
    name = "time in scripts"
    try:
        client.eval("return redis.call('TIME')", 0)
    except RedisError as error:
        if is_unreachable(error):
            raise
        hint = ACL_HINT if is_noperm(error) else "give the hub a clock of its own: Hub(client, clock=...)"
        return Finding(name, "fail", server_words(error).split(";")[0], hint)
    return Finding(name, "ok", "allowed")


def scripts_run(client: Any, key_prefix: str) -> Finding:
    """Really run every script, on keys that nobody else has."""
    name = "scripts and ACL"
    try:
        count = run_every_script(client, key_prefix, f"doctor-{secrets.token_hex(6)}")
    except RedisError as error:
        if is_unreachable(error):
            raise
        hint = ACL_HINT if is_noperm(error) else "no lock and no limit will work before this is mended"
        return Finding(name, "fail", server_words(error).split(";")[0], hint)
    return Finding(name, "ok", f"all {count} scripts ran")


def judge_server(server: Info) -> Finding:
    """Kind and version. Valkey calls itself Redis 7.2.4 for old clients; its own version stands beside."""
    name = "server"
    kind = "Valkey" if "valkey_version" in server else "Redis"
    version = str(server.get("valkey_version") or server.get("redis_version") or "")
    oldest = (7, 2) if kind == "Valkey" else (6, 2)
    numbers = tuple(int(number) for number in re.findall(r"\d+", version)[:2])
    if not numbers:
        return Finding(name, "unknown", "it does not say what it is", "tested are Redis 6.2 to 8 and Valkey 8 and 9")
    seen = f"{kind} {version}"
    if numbers < oldest:
        return Finding(name, "fail", seen, f"upgrade: {kind} {'.'.join(map(str, oldest))} is the oldest that can work")
    if numbers[0] > 9 or (kind == "Valkey" and numbers < (8, 0)):
        return Finding(name, "warn", seen, "not tested; tested are Redis 6.2 to 8 and Valkey 8 and 9")
    return Finding(name, "ok", seen)


def judge_round_trip(times: list[float]) -> Finding:
    """Every decision takes one."""
    middle = median(times) * 1000
    seen = f"{middle:.2f} ms (median of {len(times)}; slowest {max(times) * 1000:.2f} ms)"
    if middle > 10:
        return Finding("round trip", "warn", seen, "every decision takes one: bring service and server closer together")
    return Finding("round trip", "ok", seen)


def judge_eviction(memory: Info) -> Finding:
    """A server that evicts forgets who holds a lock: keys of locks have a TTL, so volatile-* finds them too."""
    policy, limit = str(memory.get("maxmemory_policy", "")), int(memory.get("maxmemory", 0))
    if not policy:
        return Finding("eviction", "unknown", "it does not tell its maxmemory-policy", "make sure it is noeviction")
    seen = f"maxmemory-policy {policy}, maxmemory {f'{limit:,} bytes' if limit else 'unlimited'}"
    if policy == "noeviction":
        return Finding("eviction", "ok", seen)
    advice = "set maxmemory-policy noeviction: an evicted lock has two holders, an evicted limit starts anew"
    return Finding("eviction", "fail" if limit else "warn", seen, advice)


def judge_persistence(persistence: Info, snapshots: bool | None) -> Finding:
    """What a restart forgets."""
    name = "persistence"
    if persistence.get("aof_enabled"):
        if persistence.get("aof_last_write_status", "ok") != "ok":
            return Finding(name, "fail", "AOF, but its last write failed", DISK)
        return Finding(name, "ok", "AOF")
    if persistence.get("rdb_last_bgsave_status", "ok") != "ok":
        return Finding(name, "warn", "the last snapshot failed", DISK)
    seen = {None: "no AOF; snapshots not told", True: "snapshots, no AOF", False: "none"}[snapshots]
    forgets = "what came after the last snapshot" if snapshots else "all locks and limits"
    return Finding(name, "warn", seen, f"a restart forgets {forgets}; where that matters, set appendonly yes")


def judge_replicas(replication: Info) -> Finding:
    """Who takes over, and whether this is the one to write to."""
    name = "replicas"
    if replication.get("role") == "slave":
        state = replication.get("master_link_status", "?")
        return Finding(name, "fail", f"this is a replica (link {state})", "give the URL of the primary: scripts write")
    count = int(replication.get("connected_slaves", 0))
    if count == 0:
        return Finding(name, "ok", "none", "without one, an outage of this server is an outage of all locks and limits")
    states = [str(replication[f"slave{at}"].get("state")) for at in range(count) if f"slave{at}" in replication]
    if any(state != "online" for state in states):
        return Finding(name, "warn", f"{count}: {', '.join(states)}", "wait until all are online before a failover")
    advice = "replication is asynchronous: a failover may forget the last writes; fences still rise"
    return Finding(name, "ok", f"{count} online", advice)


def judge_cluster(cluster: Info, state: str | None) -> Finding:
    """Clusters need a client that knows them."""
    if not cluster.get("cluster_enabled"):
        return Finding("cluster", "ok", "no")
    advice = "use the client library's cluster client"
    if state is not None and state != "ok":
        return Finding("cluster", "fail", f"yes, state {state}", "some slots are not served: see CLUSTER INFO")
    return Finding("cluster", "ok", "yes" if state is None else f"yes, state {state}", advice)


def _one_node(client: Any) -> dict[str, Any]:
    return {"target_nodes": client.get_primaries()[0]} if hasattr(client, "keyslot") else {}
