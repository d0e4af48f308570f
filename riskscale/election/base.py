"""What the asyncio election shares with the blocking one."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from riskscale._core.base import BaseHub
from riskscale._core.call import Flow, Listen, Wait
from riskscale._core.durations import MICRO, Duration
from riskscale.errors import ArgumentError, RiskscaleError
from riskscale.lease.base import LeaseTerms, Terms
from riskscale.lease.grant import new_token
from riskscale.lock.calls import LockKeys
from riskscale.lock.spec import LockSpec

log = logging.getLogger("riskscale.election")
LONGEST_PAUSE = 1.0


class BaseElection:
    """See :class:`riskscale.Election`."""

    def __init__(
        self,
        hub: BaseHub,
        name: str,
        ttl: Duration,
        tag: str | None,
        metadata: Mapping[str, Any] | str | None,
        on_elected: Callable[[Any], Any] | None,
        terms: LeaseTerms,
    ) -> None:
        if on_elected is not None and not callable(on_elected):
            raise ArgumentError("on_elected", "must be callable")
        spec = LockSpec.of(name, LockKeys.of(hub.key(name, tag), "election"), ttl, metadata)
        self._spec = replace(spec, kind="election")
        self._terms = replace(Terms.of(hub, **terms), auto_renew=True)
        self._on_elected = on_elected

    @property
    def name(self) -> str:
        """What is led."""
        return self._spec.name

    def _pause_after(self, error: Exception) -> Flow[None]:
        """Before the next attempt, where the server is not to be had; what is nobody's passing trouble is raised."""
        if isinstance(error, RiskscaleError):
            raise error
        pause = min(self._spec.ttl_us / MICRO / 10, LONGEST_PAUSE)
        log.warning("no election of %r (%s): again in %g s", self.name, type(error).__name__, pause)
        yield Listen(new_token())
        yield Wait(pause)

    def __repr__(self) -> str:
        return f"<{type(self).__module__}.{type(self).__name__} {self.name!r}>"
