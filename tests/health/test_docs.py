"""The page tells the truth."""

from __future__ import annotations

import json
from typing import Any

import riskscale
from riskscale.testing import ServerProcess
from tests.test_readme import ROOT, blocks, ran

PAGE = (ROOT / "docs" / "health.md").read_text()


def test_the_example(scratch_server: ServerProcess) -> None:
    example, *_ = blocks("python", PAGE)
    assert ran(example, scratch_server).splitlines() == [
        "warn 200",
        "redis pass ",
        "payments pass ",
        "disk pass ",
        "suggestions fail OSError",
        '{"status":"pass"',
    ]


async def test_what_is_shown_has_the_members_that_are_sent(hub: riskscale.Hub) -> None:
    (shown,) = blocks("json", PAGE)
    payments, monitor = riskscale.CircuitBreaker(5, 30, "payments"), riskscale.HealthMonitor()
    await payments.force_open(30, "maintenance")
    monitor.add_redis(hub)
    monitor.add_breaker(payments)
    sent = (await monitor.system_health()).as_dict()

    def members(told: Any) -> Any:
        return told["status"], {key: [list(each) for each in found] for key, found in told["checks"].items()}

    assert members(json.loads(shown)) == members(sent)
