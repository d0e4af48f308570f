"""What many tenants and replicas cost: ``python -m benchmarks.fleet``. Ratios within one run, as in :mod:`benchmarks`.

- :mod:`benchmarks.fleet.local`: what is done for each request without a round trip: its partition, its metrics.
- :mod:`benchmarks.fleet.reports`: what the reports of a fleet, and its snapshot, cost the server.
- :mod:`benchmarks.fleet.replay`: what an idempotent request costs.
"""
