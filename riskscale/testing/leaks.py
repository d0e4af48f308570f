"""Keys that would stay for ever."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from fnmatch import fnmatchcase
from typing import Any

BATCH = 500


def keys_without_ttl(client: Any, prefix: str = "", *, allowed: Iterable[str] = ()) -> list[str]:
    """The keys that begin with ``prefix`` and never expire, sorted.

    Args:
        client: a blocking client of redis-py or valkey-py, on any server or fake.
        prefix: where to look. Nothing outside it is read.
        allowed: patterns (``*``, ``?``, ``[...]``) of what follows the prefix in keys that may stay, such as
            configuration that an operator wrote.
    """
    patterns = list(allowed)
    found = []
    for keys in _batches(client, prefix):
        pipeline = client.pipeline(transaction=False)
        for key in keys:
            pipeline.pttl(key)
        found += [_text(key) for key, life in zip(keys, pipeline.execute(), strict=True) if life == -1]
    return sorted(key for key in found if not any(fnmatchcase(key[len(prefix) :], each) for each in patterns))


def delete_keys(client: Any, prefix: str) -> int:
    """UNLINK every key that begins with ``prefix``, and nothing else. How many there were.

    Raises:
        ValueError: ``prefix`` is empty: that would be FLUSHDB.
    """
    if not prefix:
        raise ValueError("an empty prefix means every key of the server; use FLUSHDB if that is what you want")
    return sum(client.unlink(*keys) for keys in _batches(client, prefix))


def _batches(client: Any, prefix: str) -> Iterator[list[Any]]:
    """The keys of ``prefix``, each once (SCAN may give a key twice), in batches."""
    pattern = re.sub(r"([*?\[\]\\])", r"\\\1", prefix) + "*"
    keys = list(dict.fromkeys(client.scan_iter(match=pattern, count=BATCH)))
    for start in range(0, len(keys), BATCH):
        yield keys[start : start + BATCH]


def _text(key: str | bytes) -> str:
    return key.decode(errors="backslashreplace") if isinstance(key, bytes) else key
