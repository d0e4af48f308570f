"""Every header says what its script does: numbers of slots, types, ranges, replies, errors."""

from __future__ import annotations

import hashlib
import re
import subprocess
from typing import Any

import pytest
import redis

from riskscale._core.call import line
from riskscale._core.scripts import folder, manifest, names, script
from tests.contract.examples import EXAMPLES, NOW
from tests.contract.slots import SCRIPTS, bad_values, kind_of, slot_names
from tools import contract


def call(client: redis.Redis, prefix: str, name: str, args: list[str | int], keys: list[str] | None = None) -> Any:
    keys = [f"{prefix}rs1:{{contract}}:{role}" for role in EXAMPLES[name][0]] if keys is None else keys
    reply = client.eval(script(name).text, len(keys), *keys, *args)  # type: ignore[arg-type]
    return line(reply) if SCRIPTS[name].get("reply") == "line" else reply


def state(client: redis.Redis, prefix: str) -> dict[bytes, tuple[Any, int]]:
    keys = sorted(client.scan_iter(f"{prefix}*"))
    return {key: (client.dump(key), client.pttl(key) < 0) for key in keys}


def cases() -> list[Any]:
    for name in names():
        for at, slot in enumerate(slot_names(name)):
            if values := bad_values(kind_of(name, slot)):
                yield pytest.param(name, at, slot, values, id=f"{name}-{slot}-{at}")


def test_no_name_in_the_readme_is_taken_for_html() -> None:
    readme = (contract.LUA / "README.md").read_text()
    shown = re.sub(r"^```.*?^```|`[^`]*`", "", readme, flags=re.M | re.S)
    assert "\\<prefix>rs1:{\\<name>}:lock" in shown and not re.findall(r"(?<!\\)<.*", shown)


def test_there_is_an_example_of_every_script() -> None:
    assert sorted(EXAMPLES) == names()


@pytest.mark.parametrize("name", names())
def test_the_highest_slot_is_in_the_header(name: str) -> None:
    body = contract.expand(script(name).text.decode()).split("-- FLAGS")[1]
    for table, kind in (("KEYS", "keys"), ("ARGV", "args")):
        used = [int(n) for n in re.findall(rf"{table}\[(\d+)\]", body)]
        written = [slot["index"] for slot in SCRIPTS[name][kind]]
        fixed = [int(index) for index in written if index.isdigit()]
        if len(fixed) == len(written):
            assert max(used, default=0) <= max(fixed)
        assert set(range(1, max(fixed, default=0) + 1)) == set(fixed)


@pytest.mark.parametrize("name", names())
def test_a_valid_call_replies_as_the_header_says(name: str, raw_client: redis.Redis, prefix: str) -> None:
    reply = call(raw_client, prefix, name, [*EXAMPLES[name][1], NOW])
    fixed = [item for item in SCRIPTS[name]["returns"] if "per" not in item]
    each = [item for item in SCRIPTS[name]["returns"] if "per" in item]
    rest = reply[len(fixed) :]
    assert len(reply) >= len(fixed) and ((not each and not rest) or (each and len(rest) % len(each) == 0))
    for value, item in zip(reply, fixed, strict=False):
        assert isinstance(value, bytes if item["type"] == "string" else int), item
    for at, value in enumerate(rest):
        assert isinstance(value, bytes if each[at % len(each)]["type"] == "string" else int)


@pytest.mark.parametrize(("name", "at", "slot", "values"), list(cases()))
def test_a_bad_argument_is_rsarg_and_nothing_is_written(
    name: str, at: int, slot: str, values: list[str], raw_client: redis.Redis, prefix: str
) -> None:
    args: list[str | int] = [*EXAMPLES[name][1], NOW]
    for value in values:
        args[at] = value
        try:
            said = f"taken: {call(raw_client, prefix, name, args)}"
        except redis.ResponseError as error:
            said = str(error)
        assert re.match(rf"RSARG ({slot}|ARGV|KEYS) ", said), (value, said)
        assert state(raw_client, prefix) == {}, value


@pytest.mark.parametrize("name", names())
def test_a_wrong_number_of_words_is_rsarg(name: str, raw_client: redis.Redis, prefix: str) -> None:
    roles, args = EXAMPLES[name]
    full = [*args, NOW]
    longer = [[*full, NOW]] if name != "limits.read" else []  # there it is one key more
    for wrong in (full[:-1], *longer, []):
        with pytest.raises(redis.ResponseError, match=r"^RSARG "):
            call(raw_client, prefix, name, wrong)
    if name not in ("lock.renew", "semaphore.renew", "rate.reset"):
        with pytest.raises(redis.ResponseError, match=r"^RSARG "):
            call(raw_client, prefix, name, full, keys=[f"{prefix}rs1:{{contract}}:{role}" for role in roles][:-1])
    with pytest.raises(redis.ResponseError, match=r"^RSARG "):
        call(raw_client, prefix, name, full, keys=[])
    assert state(raw_client, prefix) == {}


@pytest.mark.parametrize("name", names())
@pytest.mark.parametrize("kind", ["hash", "list", "text", "zset"])
def test_a_key_of_another_type_is_left_untouched(name: str, kind: str, raw_client: redis.Redis, prefix: str) -> None:
    """RSSTATE for a lock, -2 for an item; in both cases nothing at all is written."""
    roles, args = EXAMPLES[name]
    types = [slot["type"] for slot in SCRIPTS[name]["keys"]]
    for at, role in enumerate(roles):
        if role.endswith(":refund:t"):
            continue  # a mark is only asked whether it exists
        if kind == types[at % len(types)]:
            continue
        if (name, kind) == ("rate.reset", "text") or (role, kind) == ("value", "text"):
            continue  # a reset forgets any string, a guarded value is any
        key = f"{prefix}rs1:{{contract}}:{role}"
        match kind:
            case "hash":
                raw_client.hset(key, "a", "b")
            case "list":
                raw_client.rpush(key, "a")
            case "text":
                raw_client.set(key, "no state of ours, whatever it says")
            case "zset":
                raw_client.zadd(key, {"a": 1})
        raw_client.pexpire(key, 3_600_000)
        before = state(raw_client, prefix)
        if "RSSTATE" in manifest()["scripts"][name]["errors"]:
            with pytest.raises(redis.ResponseError, match=r"^RSSTATE "):
                call(raw_client, prefix, name, [*args, NOW])
        else:
            assert -2 in call(raw_client, prefix, name, [*args, NOW])
        after = state(raw_client, prefix)
        if name == "rate.refund":
            assert after[key.encode()] == before[key.encode()]
        else:
            assert after == before
        raw_client.delete(*after)


@pytest.mark.parametrize("name", names())
def test_the_digest_is_that_of_the_file_and_of_the_server(name: str, raw_client: redis.Redis) -> None:
    text = (folder() / SCRIPTS[name]["file"]).read_bytes()
    assert b"\r" not in text
    digest = hashlib.sha1(text, usedforsecurity=False).hexdigest()
    loaded = raw_client.script_load(text)  # type: ignore[arg-type]
    assert digest == SCRIPTS[name]["sha1"] == script(name).sha
    assert digest == (loaded.decode() if isinstance(loaded, bytes) else loaded)


def test_what_is_generated_is_not_stale() -> None:
    for path, text in contract.generated().items():
        assert path.read_text() == text, path


def test_a_header_out_of_the_grammar_is_refused() -> None:
    good = script("lock.renew").text.decode()
    for old, new in [
        ("--- lock.renew -- ", "-- lock.renew -- "),
        ("-- KEYS[i] lock      hash ", "-- KEYS[i] lock      table "),
        ("-- REPEAT  safe", "-- AGAIN  safe"),
        ("-- FLAGS   write", "-- FLAGS   wirte"),
        ("-- ARGV[2n+1] now_us", "-- ARGV[2n+1] time"),
    ]:
        assert old in good
        with pytest.raises(contract.ContractError):
            contract.parse(good.replace(old, new))
    immortal = script("fence.guard").text.decode()
    assert contract.parse(immortal)["ttl"]
    for promise in ("-- TTL     60 s", "-- TTL     none"):  # no other promise, and not without a reason
        with pytest.raises(contract.ContractError):
            contract.parse(re.sub(r"^-- TTL .*$", promise, immortal, flags=re.M))
    with pytest.raises(contract.ContractError):
        contract.expand("-- >>> _lib/nothing\n-- <<< _lib/nothing\n")
    with pytest.raises(contract.ContractError):
        contract.expand("-- >>> _lib/clock\nlocal x\n")


def test_a_stale_block_is_seen() -> None:
    text = script("lock.renew").text.decode()
    assert contract.expand(text) == text
    assert contract.expand(text.replace("local function digits", "local function numerals")) == text


@pytest.mark.server
@pytest.mark.parametrize("name", names())
def test_redis_cli_runs_the_file_as_it_is(name: str, server_cli: list[str], prefix: str) -> None:
    roles, args = EXAMPLES[name]
    keys = [f"{prefix}rs1:{{contract}}:{role}" for role in roles]
    words = [*server_cli, "--eval", str(folder() / SCRIPTS[name]["file"]), *keys, ",", *map(str, args), ""]
    done = subprocess.run(words, capture_output=True, text=True, check=True, timeout=30)
    assert done.stdout.strip() and "RS" not in done.stdout and "ERR" not in done.stdout


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("rate.sliding_log", "Lorem ipsum dolor sit amet consectetur adipiscing"),
        ("rate.sliding_log", "L" + "\0" * 30),
        ("rate.sliding_log", "L\0\0\x02" + "\0" * 14 + "\0\0\x02" + "\0" * 10),
        ("rate.sliding_log", "L\0\0\x02" + "\0" * 14 + "\0\0\0\0\0\x03" + "\0" * 7),
        ("rate.sliding_log", "L\0\0\x02" + "\x01" * 7 + "\0" * 20),
        ("rate.sliding_window", "WORKFLOW"),
        ("rate.sliding_window", "W" + "\0" * 7),
        ("rate.sliding_window", "W" + "x" * 21),
        ("rate.gcra", "-1"),
        ("rate.fixed_window", "12:x"),
    ],
)
def test_text_that_looks_like_state_harms_no_other_key(
    name: str, text: str, raw_client: redis.Redis, prefix: str
) -> None:
    bad, good = f"{prefix}bad", f"{prefix}good"
    raw_client.set(bad, text, px=60_000)
    limit = [3, 60_000_000, *([3] if name == "rate.gcra" else [])]
    reply = call(raw_client, prefix, name, [*limit, 1, 1, 1, NOW], keys=[good, bad])
    assert reply[1] == 0 and reply[4] == -2, reply
    assert raw_client.get(bad) == text.encode() and raw_client.pttl(good) > 0


def test_a_guard_has_two_keys(raw_client: redis.Redis, prefix: str) -> None:
    for name in ("fence.guard", "fence.read"):
        with pytest.raises(redis.ResponseError, match="RSARG KEYS"):
            call(raw_client, prefix, name, [*EXAMPLES[name][1], NOW], keys=[f"{prefix}a", f"{prefix}a"])


def test_a_lock_has_three_keys(raw_client: redis.Redis, prefix: str) -> None:
    args = [*EXAMPLES["lock.acquire"][1], NOW]
    for keys in (["a", "a", "b"], ["a", "b", "b"], ["a", "b", "a"]):
        with pytest.raises(redis.ResponseError, match="RSARG KEYS"):
            call(raw_client, prefix, "lock.acquire", args, keys=[prefix + key for key in keys])
