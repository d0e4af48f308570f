"""What the protections cost a whole service, that of ``examples/risk_engine``: ``python -m benchmarks.example``.

Ratios within one run, as in :mod:`benchmarks`. The replicas are processes, and so is who asks: requests are made before
the clock runs, and sent by a bare asyncio protocol, so that little of the time is the client's.

- :mod:`benchmarks.example.protections`: one replica, with all of them and with none.
- :mod:`benchmarks.example.replicas`: three on one server: growth, and that a limit is one limit.
"""
