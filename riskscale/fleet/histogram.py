"""Latencies in buckets that are the same in every replica, so that they can be added up.

Source of the layout: HdrHistogram, with 32 buckets an octave. Integers alone, so every language finds the same bucket.
"""

from __future__ import annotations

TOP = 1023
"""The last bucket; it holds whatever is longer, too: 18.8 hours."""
ERROR = 1 / 64
"""By how much of a latency the middle of its bucket may be off: half a bucket, 2^(s-1) of at least 32 * 2^s."""


def bucket_of(us: int) -> int:
    """Of a latency in whole microseconds."""
    shift = us.bit_length() - 6
    return us if shift <= 0 else min(TOP, 32 * shift + (us >> shift))


def middle_of(bucket: int) -> int:
    """The latency in microseconds that stands for a bucket."""
    shift = max(0, bucket // 32 - 1)
    return ((bucket - 32 * shift) << shift) + (1 << shift >> 1)
