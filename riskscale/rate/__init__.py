"""Rate limits that replicas share."""

from riskscale.rate.backends import InMemoryRateLimitBackend, RedisRateLimitBackend
from riskscale.rate.calls import Decision
from riskscale.rate.limit import Limit
from riskscale.rate.limiter import RateLimiter
from riskscale.rate.multi import MultiDecision, MultiRateLimiter
from riskscale.rate.tenant import TenantRateLimiter

__all__ = [
    "Decision",
    "InMemoryRateLimitBackend",
    "Limit",
    "MultiDecision",
    "MultiRateLimiter",
    "RateLimiter",
    "RedisRateLimitBackend",
    "TenantRateLimiter",
]
