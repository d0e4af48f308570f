"""Where limits come from that are not the same for every key, and that change while a service runs."""

from riskscale.limits.base import StaticLimits
from riskscale.limits.calls import Change
from riskscale.limits.source import CallableLimits, RedisLimits

__all__ = ["CallableLimits", "Change", "RedisLimits", "StaticLimits"]
