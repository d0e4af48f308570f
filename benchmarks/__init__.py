"""riskscale beside other libraries, on a server of its own: :mod:`benchmarks.locks`, :mod:`benchmarks.rates` and
:mod:`benchmarks.breakers`.

Machines differ and are shared, so the figures to trust are ratios within one run: everything compared is timed in
turns, round after round, and a ratio is the median over the rounds. "Bare" is an EVALSHA of ``return 1`` by the same
client, with as many keys and arguments as what stands beside it.
"""
