"""Rate limits in front of a web application: :class:`ASGILimit` for ASGI, :class:`WSGILimit` for WSGI."""

from riskscale.http.address import Proxies
from riskscale.http.asgi import ASGILimit
from riskscale.http.wsgi import WSGILimit

__all__ = ["ASGILimit", "Proxies", "WSGILimit"]
