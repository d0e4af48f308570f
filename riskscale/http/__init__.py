"""In front of a web application: rate limits, :class:`ASGILimit` and :class:`WSGILimit`, and its health,
:class:`ASGIHealth` and :class:`WSGIHealth`."""

from riskscale.http.address import Proxies
from riskscale.http.asgi import ASGILimit
from riskscale.http.health import ASGIHealth, WSGIHealth
from riskscale.http.wsgi import WSGILimit

__all__ = ["ASGIHealth", "ASGILimit", "Proxies", "WSGIHealth", "WSGILimit"]
