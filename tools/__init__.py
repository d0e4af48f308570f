"""What `make` runs; not installed."""
