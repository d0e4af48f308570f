"""The reference models behind the scripts' own words, a module a primitive.

Its ``Oracle`` has a method for each verb that a model decides: given the keys and the arguments, what the script must
reply.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable
from typing import Any, TypeAlias

Words: TypeAlias = list[Any]
"""Keys or arguments: text, and bytes where a value is."""


def oracle_of(primitive: str) -> Callable[[str], Callable[[Words, Words], Any] | None]:
    """A fresh one: by the verb, what decides it; None where there is no model of it."""
    module = f"{__name__}.{primitive}"
    oracle = importlib.import_module(module).Oracle() if importlib.util.find_spec(module) else None
    return lambda verb: getattr(oracle, verb, None)
