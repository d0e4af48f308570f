"""One leader among replicas, by a lease that is renewed."""

from riskscale.election.election import Election

__all__ = ["Election"]
