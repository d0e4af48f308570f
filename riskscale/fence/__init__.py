"""Writes that are refused once a newer holder has written."""

from riskscale.fence.guard import Guard

__all__ = ["Guard"]
