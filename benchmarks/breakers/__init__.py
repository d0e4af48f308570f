"""Breakers that replicas share beside those of other libraries: ``python -m benchmarks.breakers``.

Ratios within one run, as in :mod:`benchmarks`; one module each:

- :mod:`benchmarks.breakers.alone`: what a call costs beside a bare one, while it is closed and while it is open.
- :mod:`benchmarks.breakers.spread`: from the failure that opens it in one process to the refusal in the others.
- :mod:`benchmarks.breakers.probes`: how many calls try when it is half-open.
- :mod:`benchmarks.breakers.reports`: what reports cost the server.
"""
