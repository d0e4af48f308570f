"""The HTTP API: FastAPI over the engine."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Annotated

import prometheus_client
from fastapi import Body, Depends, FastAPI, Header, Path, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from risk_engine.errors import EXPECTED
from risk_engine.events import Assessment, Event, EventId
from risk_engine.limits import BodyLimit
from risk_engine.problems import on_failure, on_http, on_invalid
from risk_engine.tenants import LONGEST, tenant_in
from risk_engine.wiring import Engine

Running = Callable[[], AbstractAsyncContextManager[Engine]]
PROBLEMS = {status: {"description": what, "content": {"application/problem+json": {}}} for status, what in {
    400: "malformed", 404: "there is none", 409: "the same event is being worked on", 413: "too large",
    422: "not valid", 429: "over the tenant's limit", 500: "failed", 503: "cannot be done now", 504: "took too long",
}.items()}  # fmt: skip


async def engine_of(request: Request) -> Engine:  # a plain function would go through a thread
    """The engine that serves this application."""
    engine: Engine = request.app.state.engine
    return engine


# The framework sees the header as it came, a character a byte; the description says what a tenant is.
TENANT = {"maxLength": LONGEST, "pattern": r"^[^\x00-\x20\x7f]([^\x00-\x1f\x7f]*[^\x00-\x20\x7f])?$"}
TenantHeader = Annotated[str, Header(min_length=1, max_length=4 * LONGEST, json_schema_extra=TENANT)]


async def tenant_of(request: Request, x_tenant: TenantHeader) -> str:
    """The tenant, as the gateway in front says after it has authenticated the caller; UTF-8, 1 to 128 characters."""
    return tenant_in(request.headers)


Tenant = Annotated[str, Depends(tenant_of)]
Parts = Annotated[Engine, Depends(engine_of)]
Key = Annotated[str | None, Header(min_length=1, max_length=255, description="default: the event's id")]


def create_app(running: Running, max_body: int = 16_384) -> FastAPI:
    """The application; ``running`` builds the engine at start and takes it down at the end."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with running() as engine:
            app.state.engine = engine
            yield

    app = FastAPI(title="risk engine", version="1", lifespan=lifespan, responses=PROBLEMS)  # type: ignore[arg-type]
    app.add_middleware(BodyLimit, most=max_body)
    app.add_exception_handler(RequestValidationError, on_invalid)
    app.add_exception_handler(HTTPException, on_http)
    for kind in (*EXPECTED, Exception):  # those that are not expected leave a traceback in the log, too
        app.add_exception_handler(kind, on_failure)

    @app.post("/events", status_code=201, response_model=Assessment)
    async def create_event(
        engine: Parts, tenant: Tenant, event: Annotated[Event, Body()], idempotency_key: Key = None
    ) -> Response:
        """Assess an event. A repeat with the same key gets the same bytes, and the header Idempotent-Replayed."""
        created = await engine.service.create_event(tenant, event, idempotency_key)
        headers = {"Location": f"/events/{event.event_id}", "X-Tenant": tenant.encode().decode("latin-1")}
        if created.replayed:
            headers["Idempotent-Replayed"] = "true"
        return Response(created.body, 201, headers, "application/json")

    @app.get("/events/{event_id}")
    async def find_event(engine: Parts, tenant: Tenant, event_id: Annotated[EventId, Path()]) -> Assessment:
        """What became of an event of the tenant."""
        found = await engine.service.find(tenant, event_id)
        if found is None:
            raise HTTPException(404, "there is no such event of the tenant")
        return found

    @app.get("/health", include_in_schema=False)
    @app.get("/health/{group}", include_in_schema=False)
    async def health(engine: Parts, group: str = "ready") -> Response:
        """``application/health+json``; the groups are live and ready."""
        if group not in ("live", "ready"):
            raise HTTPException(404, "the groups are live and ready")
        report = await engine.health.system_health(group)
        return Response(report.as_json(), report.http_status, media_type="application/health+json")

    @app.get("/metrics", include_in_schema=False)
    async def metrics(engine: Parts) -> Response:
        """For Prometheus."""
        page = prometheus_client.generate_latest(engine.registry)
        return Response(page, media_type=prometheus_client.CONTENT_TYPE_LATEST)

    return app
