"""Health over HTTP, as ASGI and as WSGI middleware; it needs no framework."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from http import HTTPStatus
from typing import TYPE_CHECKING

from riskscale.errors import ArgumentError
from riskscale.health.base import LIVE, READY, BaseHealthMonitor
from riskscale.health.monitor import HealthMonitor
from riskscale.health.report import HEALTH_JSON, HealthReport
from riskscale.http.asgi import App, Receive, Scope, Send, encoded
from riskscale.http.headers import Headers
from riskscale.sync.health import HealthMonitor as BlockingMonitor

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

PATHS: Mapping[str, str | None] = {"/livez": LIVE, "/readyz": READY, "/healthz": None}
METHODS = ("GET", "HEAD")


class ASGIHealth:
    """Middleware: answers some paths with the health of the service; all others are the application's.

    ::

        app = ASGIHealth(app, monitor)
        app.add_middleware(ASGIHealth, monitor=monitor)  # Starlette, FastAPI; the last one added is asked first

    Args:
        app: the ASGI application.
        monitor: a :class:`riskscale.HealthMonitor`, with its checks.
        paths: for each path the group that is asked; None: all. Unless said ``/livez``, ``/readyz`` and ``/healthz``.

    Raises:
        ArgumentError: an argument is malformed, or the monitor has no such group.

    200 where the report passes or warns, 503 where it fails; the body is ``application/health+json``. It names what the
    service stands on: keep the paths from strangers.
    """

    def __init__(self, app: App, monitor: HealthMonitor, *, paths: Mapping[str, str | None] = PATHS) -> None:
        self._app, self._monitor = app, monitor
        self._paths = _checked(paths, monitor, HealthMonitor)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] not in self._paths:
            await self._app(scope, receive, send)
            return
        status, headers, body = 405, NOT_ALLOWED, b""
        if scope["method"] in METHODS:
            status, headers, body = _answer(await self._monitor.system_health(self._paths[scope["path"]]))
        await send({"type": "http.response.start", "status": status, "headers": encoded(headers)})
        await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body})


class WSGIHealth:
    """The same as WSGI middleware; see :class:`riskscale.http.ASGIHealth`.

    Args:
        app: the WSGI application.
        monitor: a :class:`riskscale.sync.HealthMonitor`, with its checks.
        paths: for each path the group that is asked; None: all.

    Raises:
        ArgumentError: an argument is malformed, or the monitor has no such group.
    """

    def __init__(
        self, app: WSGIApplication, monitor: BlockingMonitor, *, paths: Mapping[str, str | None] = PATHS
    ) -> None:
        self._app, self._monitor = app, monitor
        self._paths = _checked(paths, monitor, BlockingMonitor)

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        path, method = environ.get("SCRIPT_NAME", "") + environ.get("PATH_INFO", ""), environ["REQUEST_METHOD"]
        if path not in self._paths:
            return self._app(environ, start_response)
        status, headers, body = 405, NOT_ALLOWED, b""
        if method in METHODS:
            status, headers, body = _answer(self._monitor.system_health(self._paths[path]))
        start_response(f"{status} {HTTPStatus(status).phrase}", headers)
        return [b"" if method == "HEAD" else body]


NOT_ALLOWED: Headers = [("Allow", ", ".join(METHODS)), ("Content-Length", "0")]


def _answer(report: HealthReport) -> tuple[int, Headers, bytes]:
    body = report.as_json()
    headers = [("Content-Type", HEALTH_JSON), ("Content-Length", str(len(body))), ("Cache-Control", "no-store")]
    return report.http_status, headers, body


def _checked(
    paths: Mapping[str, str | None], monitor: BaseHealthMonitor, kind: type[BaseHealthMonitor]
) -> dict[str, str | None]:
    if not isinstance(monitor, kind):
        raise ArgumentError("monitor", f"must be a {kind.__module__.split('.health')[0]}.HealthMonitor")
    for path, group in paths.items():
        if not isinstance(path, str) or not path.startswith("/"):
            raise ArgumentError("paths", f"must begin with a slash, unlike {path!r}")
        if group is not None and group not in monitor.groups:
            raise ArgumentError("paths", f"must name one of {', '.join(sorted(monitor.groups))}, not {group!r}")
    return dict(paths)
