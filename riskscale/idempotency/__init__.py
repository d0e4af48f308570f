"""Work that is done once for a key: :class:`IdempotencyGuard`."""

from riskscale.idempotency.calls import InProgress, Mismatch, Replay
from riskscale.idempotency.guard import Claim, IdempotencyGuard

__all__ = ["Claim", "IdempotencyGuard", "InProgress", "Mismatch", "Replay"]
