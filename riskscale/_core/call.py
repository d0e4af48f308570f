"""What the logic asks for, and nothing of how it is done.

A flow is a generator that yields steps and is sent their results; a failed step is thrown into it. It has no socket,
no await and no thread, so it is written once, tested without either, and driven by :mod:`riskscale._core.hub` (asyncio)
and :mod:`riskscale.sync.hub` (threads). The steps:

``Call``      run a script, give back its decoded reply;
``Finish``    the same, but once begun it is never cut short: its outcome must be known before anything follows it;
``Cleanup``   a last call, run after any ``Finish`` still under way, also while the caller is being cancelled;
              what goes wrong in it is logged, not raised;
``Listen``    expect messages for a token; gives the channel to name to scripts, '' where there is none yet;
``Wait``      for such a message, a change of the channel, the hub's end, or so many seconds.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeAlias, TypeVar

T = TypeVar("T")
R = TypeVar("R")

Arg: TypeAlias = str | bytes | int


# Steps are not frozen: to make one that is takes three times as long, and a call makes several.


@dataclass(slots=True)
class Call(Generic[T]):
    """One run of a script; ``now_us``, its last argument, is added by the hub that runs it."""

    script: str
    keys: tuple[bytes, ...]
    args: tuple[Arg, ...] = field(repr=False)
    decode: Callable[[Sequence[Any]], T]


@dataclass(slots=True)
class Finish(Generic[T]):
    """Run ``call`` to its end; where the caller can wait for ``budget`` seconds only, TimeoutError is thrown.

    ``last`` calls give something back, and pass also while the hub closes. With ``replicas`` (how many, seconds) a WAIT
    follows on the same connection, and the result is the reply and how many replicas have what was written until then.
    """

    call: Call[T]
    budget: float | None = None
    last: bool = False
    replicas: tuple[int, float] | None = None


@dataclass(slots=True)
class Cleanup(Generic[T]):
    """Run ``call`` whatever happens; where it fails, again should ``token`` be granted something after all.

    A function in place of the call is asked for it once what is under way has ended; None: there is nothing to do.
    Where nobody needs its outcome, the caller does not wait for it (``awaited``), unless nobody else would.
    """

    call: Call[T] | Callable[[], Call[T] | None]
    token: str = field(default="", repr=False)
    awaited: bool = True

    def made(self) -> Call[T] | None:
        """The call, now that what was under way has ended."""
        return self.call if isinstance(self.call, Call) else self.call()


@dataclass(slots=True)
class Listen:
    """From now until the flow ends; asked again it gives the channel of that time."""

    token: str = field(repr=False)


@dataclass(slots=True)
class Wait:
    """For a message to what was listened for: its text, or '' where there was another reason to look."""

    seconds: float


Step: TypeAlias = Call[Any] | Finish[Any] | Cleanup[Any] | Listen | Wait
Flow: TypeAlias = Generator[Step, Any, R]


def text(value: Any) -> str:
    """A string of a reply, whether or not the client decodes."""
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)


def line(reply: Any) -> list[int]:
    """The integers of a reply that is one line, whether or not the client decodes."""
    return list(map(int, reply.split()))
