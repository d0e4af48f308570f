"""The public surface: what is exported, and that the blocking names have the asyncio ones' signatures."""

from __future__ import annotations

import inspect
import subprocess
import sys

import pytest

import riskscale
import riskscale.sync

DIFFERENT = {("Hub", name) for name in ("aclose", "close", "spawn", "ask", "enter", "leave", "check_open")}
CLOSED = ("LeasedRateLimiter", "PartitionGroup", "PartitionRouter")
DIFFERENT |= {(name, close) for name in CLOSED for close in ("aclose", "close")}
ASYNCIO_ONLY = {(name, option) for name in ("RateLimiter", "MultiRateLimiter") for option in ("coalesce", "timeout")}
ASYNCIO_ONLY |= {("LeasedRateLimiter", "timeout")}


def test_all_is_sorted_and_there() -> None:
    for module in (riskscale, riskscale.sync):
        assert sorted(module.__all__) == module.__all__
        assert all(hasattr(module, name) for name in module.__all__)
    assert set(riskscale.sync.__all__) <= set(riskscale.__all__)


def parameters(function: object) -> list[tuple[str, object, object]]:
    signature = inspect.signature(function)  # type: ignore[arg-type]
    return [
        (p.name, p.kind, p.default)
        for p in signature.parameters.values()
        if (getattr(function, "__name__", ""), p.name) not in ASYNCIO_ONLY
    ]


@pytest.mark.parametrize("name", riskscale.sync.__all__)
def test_the_blocking_class_has_the_same_signatures(name: str) -> None:
    ours, theirs = getattr(riskscale, name), getattr(riskscale.sync, name)
    assert parameters(ours) == parameters(theirs)
    rename = {"__aenter__": "__enter__", "__aexit__": "__exit__"}
    public = {rename.get(m, m) for m in dir(ours) if not m.startswith("_") or m in rename}
    assert public ^ {m for m in dir(theirs) if not m.startswith("_") or m in rename.values()} <= {
        m for _, m in DIFFERENT
    }
    for method in public:
        mine, other = getattr(ours, method, None), getattr(theirs, method, None)
        if (name, method) not in DIFFERENT and inspect.isfunction(mine):
            assert parameters(mine) == parameters(other), method


@pytest.mark.parametrize("name", riskscale.__all__)
def test_every_public_name_is_documented(name: str) -> None:
    thing = getattr(riskscale, name)
    assert inspect.getdoc(thing)
    for method, function in vars(thing).items():
        if not method.startswith("_") and inspect.isfunction(function):
            assert inspect.getdoc(function), f"{name}.{method}"


def test_importing_needs_redis_alone() -> None:
    """No extra is imported, and not even redis itself: clients are injected."""
    extras = "fakeredis limits lupa typer rich fastapi prometheus_client opentelemetry pytest"
    code = f"import sys, riskscale, riskscale.sync; print([m for m in '{extras}'.split() if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "[]"
