"""Circuit breakers, of one replica or of all."""

from riskscale.breaker.breaker import CircuitBreaker
from riskscale.breaker.policy import BreakerPolicy
from riskscale.breaker.state import BreakerInfo, BreakerState, Counts, Transition

__all__ = ["BreakerInfo", "BreakerPolicy", "BreakerState", "CircuitBreaker", "Counts", "Transition"]
