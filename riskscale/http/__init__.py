"""In front of a web application: rate limits (:class:`ASGILimit`, :class:`WSGILimit`), requests that are carried out
once (:class:`ASGIIdempotency`, :class:`WSGIIdempotency`), and its health (:class:`ASGIHealth`, :class:`WSGIHealth`)."""

from riskscale.http.address import Proxies
from riskscale.http.asgi import ASGILimit
from riskscale.http.asgi_idempotency import ASGIIdempotency
from riskscale.http.health import ASGIHealth, WSGIHealth
from riskscale.http.wsgi import WSGILimit
from riskscale.http.wsgi_idempotency import WSGIIdempotency

__all__ = ["ASGIHealth", "ASGIIdempotency", "ASGILimit", "Proxies", "WSGIHealth", "WSGIIdempotency", "WSGILimit"]
