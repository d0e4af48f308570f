"""Locks beside those of other libraries: ``python -m benchmarks.locks``.

Ratios within one run, as in :mod:`benchmarks`; one module each:

- :mod:`benchmarks.locks.alone`: a lock that nobody else wants, beside two bare EVALSHA of the same shape.
- :mod:`benchmarks.locks.handover`: from the release to the next holder, while many wait, beside a bare round trip.
- :mod:`benchmarks.locks.queued`: what a hand-over costs the server, by the length of the queue.
- :mod:`benchmarks.locks.renewal`: one process that holds many locks and renews them.
"""
