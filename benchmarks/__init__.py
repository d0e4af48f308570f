"""riskscale beside other libraries, on a server of its own: ``python -m benchmarks``.

Machines differ and are shared, so the figures to trust are ratios within one run: everything compared is timed in
turns, round after round, and a ratio is the median over the rounds. What is measured, one module each:

- :mod:`benchmarks.client_side`: operations a second, blocking and asyncio, beside a bare EVALSHA of ``return 1`` with
  as many keys and arguments; round trips, as the server sees them.
- :mod:`benchmarks.server_side`: the server's microseconds per decision, beside a script of one GET and one SET.
- :mod:`benchmarks.memory`: bytes per key with a full limit.
- :mod:`benchmarks.growth`: the server's microseconds as keys and limits grow.
"""
