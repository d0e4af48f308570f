"""What a worker is told, and what its users do round by round: drawn from a seed."""

from __future__ import annotations

import json
import random
from dataclasses import asdict, dataclass

NAMES = ("alpha", "beta", "gamma")
TTLS = (0.4, 0.8)
BEAT = 0.05
"""Seconds between signs of life."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Of one worker process."""

    port: int
    prefix: str
    journal: str
    seed: str
    threads: bool
    retries: int
    timeout: float | None
    """Seconds that one call may take."""
    users: int = 3

    def line(self) -> str:
        """For its command line."""
        return json.dumps(asdict(self))

    @classmethod
    def of(cls, line: str) -> Settings:
        """From its command line."""
        return cls(**json.loads(line))


@dataclass(frozen=True, kw_only=True)
class Step:
    """Hold for ``pause`` seconds, then renew or not."""

    pause: float
    renews: bool


@dataclass(frozen=True, kw_only=True)
class Round:
    """One lease, if it is had. ``cancel``: seconds until the user is cancelled, wherever it is then."""

    name: str
    ttl: float
    timeout: float | None
    fair: bool
    auto_renew: bool
    steps: tuple[Step, ...]
    cancel: float | None
    rest: float


def rounds(settings: Settings, user: int) -> Rounds:
    """Without end."""
    return Rounds(random.Random(f"{settings.seed}.{user}"), settings)


class Rounds:
    """Draws them."""

    def __init__(self, chance: random.Random, settings: Settings) -> None:
        self._chance, self._settings = chance, settings

    def draw(self) -> Round:
        """The next."""
        chance = self._chance
        ttl = chance.choice(TTLS)
        auto_renew = chance.random() < 0.25
        steps = [
            Step(pause=chance.expovariate(1 / 0.012), renews=chance.random() < 0.4) for _ in range(chance.randint(1, 3))
        ]
        if auto_renew and chance.random() < 0.1:
            steps.append(Step(pause=ttl * 1.5, renews=False))  # longer than one lease
        elif chance.random() < 0.02:
            steps.append(Step(pause=ttl * 1.1, renews=False))  # overslept
        fair = chance.random() < 0.9
        cancels = not self._settings.threads and chance.random() < 0.3
        return Round(
            name=chance.choice(NAMES),
            ttl=ttl,
            timeout=chance.choice([None, None, None, 0, 0.3, 3.0]) if fair else 0.3,
            fair=fair,
            auto_renew=auto_renew,
            steps=tuple(steps),
            cancel=chance.expovariate(1 / 0.15) if cancels else None,
            rest=chance.expovariate(1 / 0.03),
        )

    def _step(self) -> Step:
        return Step(pause=self._chance.expovariate(1 / 0.012), renews=self._chance.random() < 0.4)
