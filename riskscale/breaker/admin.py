"""For those who operate breakers: which there are, by their keys, and what becomes of them."""

from __future__ import annotations

import getpass

from riskscale._core.call import text
from riskscale._core.keys import base_key, parts_of
from riskscale._core.mailbox import BREAKERS, channel
from riskscale._core.nodes import here, token_part
from riskscale.breaker import calls
from riskscale.breaker.calls import BreakerKeys
from riskscale.breaker.state import Transition


def pattern(root: str) -> str:
    """For SCAN MATCH: every breaker of the hub with that root."""
    return f"{root}:{{*:breaker"


def breaker_name(root: str, key: bytes | str) -> str | None:
    """Of which breaker ``key`` is the hash of the state; None where it is another's, however like one it looks."""
    found = parts_of(root, key)
    return found[0] if found is not None and found[1:] == (None, "breaker") else None


def breaker_keys(root: str, name: str) -> BreakerKeys:
    """Its keys in the hub with that root."""
    return BreakerKeys.of(base_key(root, name, None))


def breakers_channel(root: str) -> str:
    """The channel on which hubs with that root hear of their breakers; '' where its name would be too long."""
    return channel(root, BREAKERS)


def transition_of(root: str, message: bytes | str) -> Transition | None:
    """What a message on that channel tells; None where it tells nothing of a breaker of that root."""
    key, _, rest = text(message).partition(" ")
    name = breaker_name(root, key)
    try:
        return None if name is None else calls.heard(rest).transition(name)
    except ValueError:
        return None


def person() -> str:
    """Who changes a breaker by hand, as its transition will say: this process's user, and the host."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container whose user has no name
        user = ""
    return f"{token_part(user) or 'somebody'}:{here()}"
