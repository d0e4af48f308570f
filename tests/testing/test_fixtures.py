"""riskscale.testing's embedded fixtures, clock and leak check, as somebody who uses riskscale would use them."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
import redis

import riskscale
import riskscale.sync
from riskscale.testing import Outage, VirtualClock, delete_keys, fake_client, keys_without_ttl, new_fake_server

pytest_plugins = ("pytester",)


async def test_the_example_of_the_docstring(riskscale_client: Any, riskscale_clock: VirtualClock) -> None:
    hub = riskscale.Hub(riskscale_client, clock=riskscale_clock)
    limiter = riskscale.RateLimiter(hub, riskscale.Limit(10, per=60), name="api")
    assert [bool(await limiter.hit("tenant-7")) for _ in range(11)] == [True] * 10 + [False]
    riskscale_clock.advance(60)
    assert await limiter.hit("tenant-7")
    await hub.aclose()


async def test_both_clients_see_one_server(riskscale_client: Any, riskscale_sync_client: Any) -> None:
    await riskscale_client.set("key", "value", px=60_000)
    assert riskscale_sync_client.get("key") == b"value"


async def test_an_outage_reaches_both_clients(
    riskscale_client: Any, riskscale_sync_client: Any, riskscale_outage: Outage
) -> None:
    with riskscale_outage:
        assert riskscale_outage.active
        with pytest.raises(redis.ConnectionError):
            await riskscale_client.ping()
        with pytest.raises(redis.ConnectionError):
            riskscale_sync_client.ping()
    assert await riskscale_client.ping()
    assert riskscale_sync_client.ping()


def test_time_passes_only_by_advance() -> None:
    clock = VirtualClock(1_000_000)
    assert (clock(), clock()) == (1_000_000, 1_000_000)
    assert clock.advance(0.1) == 1_100_000
    assert clock.advance(us=1) == clock() == 1_100_001
    assert clock.advance(-1) == 100_001
    assert repr(clock) == "VirtualClock(100001)"


def test_keys_that_stay_for_ever_are_found(raw_client: Any, prefix: str) -> None:
    for number in range(1200):  # more than one batch
        raw_client.set(f"{prefix}expires:{number}", "x", px=60_000)
    raw_client.set(f"{prefix}stays", "x")
    raw_client.hset(f"{prefix}config", "field", "x")
    assert keys_without_ttl(raw_client, prefix) == [f"{prefix}config", f"{prefix}stays"]
    assert keys_without_ttl(raw_client, prefix, allowed=["conf*"]) == [f"{prefix}stays"]
    assert delete_keys(raw_client, prefix) == 1202
    assert keys_without_ttl(raw_client, prefix) == []


def test_a_prefix_is_not_a_pattern(raw_client: Any, prefix: str) -> None:
    raw_client.set(f"{prefix}xa", "x")
    for pattern in ("?", "*", "[x]", "\\x"):
        assert keys_without_ttl(raw_client, prefix + pattern) == []
        assert delete_keys(raw_client, prefix + pattern) == 0
    assert delete_keys(raw_client, f"{prefix}x") == 1


def test_all_keys_are_not_deleted_by_an_empty_prefix(raw_client: Any) -> None:
    with pytest.raises(ValueError, match="empty prefix"):
        delete_keys(raw_client, "")


def test_a_leak_fails_the_test_of_a_user(pytester: pytest.Pytester) -> None:
    pytester.makeconftest('pytest_plugins = ("riskscale.testing",)')
    pytester.makeini("[pytest]\nasyncio_default_fixture_loop_scope = function\n")  # and its strict mode
    pytester.makepyfile(
        """
        import pytest

        def test_leaks(riskscale_sync_client, riskscale_no_leaks):
            riskscale_sync_client.set("stays", 1)

        def test_does_not(riskscale_sync_client, riskscale_no_leaks, riskscale_outage):
            riskscale_sync_client.set("goes", 1, px=60_000)
            riskscale_outage.begin()

        @pytest.mark.asyncio
        async def test_asyncio(riskscale_client):
            assert await riskscale_client.ping()
        """
    )
    result = pytester.runpytest_subprocess("-W", "error", "-p", "no:cacheprovider")
    result.assert_outcomes(passed=3, errors=1)
    result.stdout.fnmatch_lines(["*ERROR at teardown of test_leaks*", "*keys without TTL: stays*"])


def test_a_missing_extra_is_named() -> None:
    code = "import sys; sys.modules['lupa'] = None\nimport riskscale.testing as t\nt.new_fake_server()"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "lupa is missing: pip install 'riskscale[test]'" in said.stderr


def test_the_library_itself_imports_neither_its_testing_nor_the_extras() -> None:
    code = "import sys, riskscale, riskscale.sync; print([m for m in sys.modules if m.split('.')[0] in"
    code += " ('fakeredis', 'lupa', 'pytest', 'typer', 'rich') or m.startswith('riskscale.testing')])"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert said.stdout.strip() == "[]"


def test_an_embedded_server_compiles_a_script_once() -> None:
    server = new_fake_server()
    with fake_client(server) as client:
        echo = "return {KEYS[1], ARGV[1]}"
        assert [client.eval(echo, 1, key, key * 2) for key in ("a", "b")] == [[b"a", b"aa"], [b"b", b"bb"]]
        assert client.evalsha(client.script_load(echo), 1, "c", "cc") == [b"c", b"cc"]
        assert list(server._lua_runtime._compiled) == [echo.encode()]
        for broken, said in (("return (", "near"), ("return nil + 1", "arithmetic"), ("leaked = 1", "global variable")):
            for _ in range(2):
                with pytest.raises(redis.ResponseError, match=said):
                    client.eval(broken, 0)


def test_an_embedded_server_forgets_what_it_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("riskscale.testing.embedded.MOST_SCRIPTS", 3)
    server = new_fake_server()
    with fake_client(server) as client:
        assert [client.eval(f"return {number}", 0) for number in (*range(7), 0)] == [*range(7), 0]
        assert len(server._lua_runtime._compiled) <= 3


def test_every_fake_server_is_fresh() -> None:
    assert new_fake_server() is not new_fake_server()
