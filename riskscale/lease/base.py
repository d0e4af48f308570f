"""What the asyncio facades of leases share with the blocking ones: everything that does not wait."""

from __future__ import annotations

import json
import math
import threading
import weakref
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypedDict, TypeVar, Unpack

from riskscale._core.base import BaseHub
from riskscale._core.durations import Duration, integer, seconds
from riskscale._core.keys import check_name
from riskscale.errors import ArgumentError, StateError
from riskscale.lease.book import Watch
from riskscale.lease.flows import Replicas
from riskscale.lease.grant import Grant

MAX_METADATA = 1024


class LeaseTerms(TypedDict, total=False):
    """How a lease is kept: keyword arguments of everything that gives leases."""

    auto_renew: bool
    """Whether the hub renews it at a third of its ttl while its holder keeps the lease object. Default: no."""
    max_lifetime: Duration | None
    """Seconds after which it is renewed no more. None: never."""
    on_lost: Callable[[Any], Any] | None
    """Called with the lease, once, when it is lost; may be a coroutine function in asyncio."""
    cancel_on_lost: bool
    """Whether the task inside ``async with`` is then cancelled, and LeaseLost raised at the block's end."""
    min_replicas: int
    """Replicas that must have acknowledged a grant; 0: the server alone."""
    replicas_within: Duration
    """Seconds given to them; 0.1 unless said."""
    strict: bool
    """Too few: AcquireTimeout, and the grant is given back (the default); else ``lease.replicas`` tells how many."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """The same, checked."""

    auto_renew: bool = False
    max_lifetime: float | None = None
    on_lost: Callable[[Any], Any] | None = None
    cancel_on_lost: bool = False
    replicas: Replicas | None = None

    @classmethod
    def of(cls, hub: BaseHub, **terms: Unpack[LeaseTerms]) -> Terms:
        """Check them; ArgumentError."""
        return cls._of(hub, **terms) if terms else PLAIN

    @classmethod
    def _of(
        cls,
        hub: BaseHub,
        *,
        auto_renew: bool = False,
        max_lifetime: Duration | None = None,
        on_lost: Callable[[Any], Any] | None = None,
        cancel_on_lost: bool = False,
        min_replicas: int = 0,
        replicas_within: Duration = 0.1,
        strict: bool = True,
    ) -> Terms:
        if on_lost is not None and not callable(on_lost):
            raise ArgumentError("on_lost", "must be callable")
        if cancel_on_lost and hub._blocking:
            raise ArgumentError("cancel_on_lost", "cannot be had in threads: they cannot be cancelled")
        within = seconds(replicas_within, "replicas_within")
        least = integer(min_replicas, "min_replicas", 0, 1000)
        if least and hub.is_cluster:
            raise ArgumentError("min_replicas", "cannot be had on a cluster: its client sends no WAIT behind a script")
        return cls(
            auto_renew=bool(auto_renew),
            max_lifetime=None if max_lifetime is None else seconds(max_lifetime, "max_lifetime"),
            on_lost=on_lost,
            cancel_on_lost=bool(cancel_on_lost),
            replicas=Replicas(least=least, within=within, strict=strict) if least else None,
        )

    @property
    def watched(self) -> bool:
        """Whether leases must be looked after from the start."""
        return self.auto_renew or self.on_lost is not None or self.cancel_on_lost


PLAIN = Terms()


def metadata_text(metadata: Mapping[str, Any] | str | None) -> str:
    """What a holder tells of itself, as text: a mapping becomes JSON."""
    if metadata is None or metadata == "":
        return ""
    if isinstance(metadata, Mapping):
        try:
            metadata = json.dumps(dict(metadata), ensure_ascii=False, separators=(",", ":"), allow_nan=False)
        except (TypeError, ValueError) as error:
            raise ArgumentError("metadata", f"must be what JSON can say ({error})") from None
    if len(check_name(metadata, "metadata").encode()) > MAX_METADATA:
        raise ArgumentError("metadata", f"must be at most {MAX_METADATA} bytes in UTF-8")
    return metadata


class BaseLease:
    """See :class:`riskscale.Lease`."""

    def __init__(self, hub: BaseHub, grants: Sequence[Grant], terms: Terms, name: str) -> None:
        self._name = name
        self._grants = grants
        self._grant = grants[0]
        self._terms = terms
        self._monotonic: Callable[[], float] = hub.monotonic
        self._watches: list[Watch] = []
        self._was_told = False
        self._lets_go = False
        """A release was tried: it is not renewed any more, whatever became of that."""
        self._meter = hub.meter
        self._began = [] if hub.meter is None else [hub.monotonic()]
        """Until its end is told."""

    @property
    def name(self) -> str:
        """Of what is held."""
        return self._name

    @property
    def token(self) -> str:
        """The token of this acquisition; whoever has it can release the lock."""
        return self._grant.token

    @property
    def fence(self) -> int:
        """The fencing token: higher than that of every lease before. Send it along with every guarded write."""
        return self._grant.fence

    @property
    def fences(self) -> dict[str, int]:
        """The same by name, where several names are held at once."""
        return {grant.spec.name: grant.fence for grant in self._grants}

    @property
    def at(self) -> float:
        """When it was taken: seconds since 1970 by the clock of the hub (None: the server's)."""
        return max(grant.at for grant in self._grants)

    @property
    def released_at(self) -> float | None:
        """When it was released, by the same clock; None if it was not, or was lost."""
        return self._grant.released_at

    @property
    def replicas(self) -> int | None:
        """How many replicas had acknowledged the grant, where ``min_replicas`` asked for some."""
        return self._grant.replicas

    def remaining(self) -> float:
        """Seconds for which this process may count on the lease: counted from when the request was sent."""
        if self._is_lost:
            return 0.0
        return max(0.0, min(grant.deadline for grant in self._grants) - self._monotonic())

    @property
    def over(self) -> bool:
        """Whether there is nothing left of it: lost, or released."""
        return self.remaining() == 0.0

    @property
    def _is_lost(self) -> bool:
        return any(grant.lost for grant in self._grants)

    @property
    def _settled(self) -> bool:
        return all(grant.settled for grant in self._grants)

    def _count_end(self) -> None:
        """Tell ``lock_hold_seconds`` that it is over, once, whoever comes first."""
        try:
            began = self._began.pop()
        except IndexError:
            return
        if self._meter is not None:
            seconds, outcome = self._monotonic() - began, "lost" if self._is_lost else "released"
            kind = self._grant.spec.kind
            self._meter.observe("lock_hold_seconds", seconds, kind=kind, outcome=outcome, lock=self._name)

    def _new_watches(self) -> list[Watch]:
        lifetime, first = self._terms.max_lifetime, self._grant
        sent = first.deadline - first.ttl_us / 1e6
        stop_at = math.inf if lifetime is None else sent + lifetime
        itself, renews = weakref.ref(self), self._terms.auto_renew
        return [Watch(grant=each, lease=itself, renews=renews, stop_at=stop_at) for each in self._grants]

    def __repr__(self) -> str:  # the token is a capability and stays out of logs
        return f"<Lease of {self.name!r} fence={self.fence} remaining={self.remaining():.3f}>"


L = TypeVar("L", bound=BaseLease)


class Entered(Generic[L]):
    """The leases of plain ``with lock:`` blocks, by the task or thread that entered."""

    def __init__(self) -> None:
        self._leases: dict[Hashable, L] = {}
        self._mutex = threading.Lock()

    def check(self, who: Hashable, name: str) -> None:
        """Refuse a second entry: it would wait for itself for ever."""
        if who in self._leases:
            raise StateError(f"{name!r} is already entered here; it is not re-entrant")

    def put(self, who: Hashable, lease: L) -> None:
        """Remember on entry."""
        with self._mutex:
            self._leases[who] = lease

    def pop(self, who: Hashable, name: str) -> L:
        """Forget on exit; StateError in another task or thread than the one that entered."""
        with self._mutex:
            lease = self._leases.pop(who, None)
        if lease is None:
            raise StateError(f"{name!r} must be left in the task or thread where it was entered")
        return lease
