"""Leases: what is held for a time, whichever primitive gave it, and how it is kept."""
