"""Circuit breakers, of one replica or of all."""

from riskscale.breaker.breaker import CircuitBreaker
from riskscale.breaker.policy import BreakerPolicy
from riskscale.breaker.state import BreakerState, Counts, Transition

__all__ = ["BreakerPolicy", "BreakerState", "CircuitBreaker", "Counts", "Transition"]
