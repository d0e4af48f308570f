"""Rate limits beside those of other libraries: ``python -m benchmarks.rates``.

Ratios within one run, as in :mod:`benchmarks`; one module each:

- :mod:`benchmarks.rates.callers`: decisions a second, blocking, by concurrent asyncio callers, and by lists.
- :mod:`benchmarks.rates.parsers`: redis-py with hiredis and without, in one run.
- :mod:`benchmarks.rates.latency`: how long one caller waits, beside a bare round trip after the same idle time.
- :mod:`benchmarks.rates.local`: decisions that cost no round trip.
- :mod:`benchmarks.rates.server_side`: the server's microseconds per decision, alone and in batches.
- :mod:`benchmarks.rates.memory`: bytes per key with a full limit.
- :mod:`benchmarks.rates.growth`: the server's microseconds as keys and limits grow.
- :mod:`benchmarks.rates.publish`: the pictures and tables of ``docs/performance.md``.
"""
