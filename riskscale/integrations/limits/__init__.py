"""riskscale as a storage of the ``limits`` package, and so of Flask-Limiter and slowapi.

Importing this module registers ``riskscale+redis://``, ``riskscale+rediss://`` and ``riskscale+redis+unix://``, and the
same with ``async+`` in front for ``limits.aio``. The strategies then run our scripts: "fixed-window" fixed_window,
"moving-window" sliding_log (sliding_window where its log would be too large), "sliding-window-counter" sliding_window.
"""

try:
    import limits  # noqa: F401 - the rest of this package needs it
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(f"{error.name} is missing: pip install 'riskscale[limits]'", name=error.name) from error

from riskscale.integrations.limits.aio import AsyncRiskscaleStorage
from riskscale.integrations.limits.storage import RiskscaleStorage

__all__ = ["AsyncRiskscaleStorage", "RiskscaleStorage"]
