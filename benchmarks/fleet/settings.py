"""How much is measured of fleets."""

from __future__ import annotations

from dataclasses import dataclass

from benchmarks.rounds import Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetSettings(Settings):
    """As :class:`Settings`.

    Attributes:
        replicas: of one fleet, a table row each.
    """

    replicas: tuple[int, ...] = (10, 100, 1000)

    @classmethod
    def short(cls) -> FleetSettings:
        """Nothing but the order of magnitude."""
        return cls(rounds=3, slice_s=0.02, calls=50, replicas=(10, 100))
