"""The ASGI application: health, readiness and metrics around the API tree (rest-api D.2, D.10)."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from fastapi import FastAPI, Request
from fastapi.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response
from starlette.exceptions import HTTPException

from pbs_cloud.gateway.rest.endpoints.general import PRODUCT_VERSION
from pbs_cloud.gateway.rest.tree import ApiTree
from pbs_cloud.runtime.settings import Settings
from pbs_cloud.runtime.telemetry import CONTENT_TYPE, render_metrics

Missing = Callable[[], Awaitable[list[str]]]
_PAGE: Final = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>PBS Cloud</title></head>
<body><h1>PBS Cloud</h1><p>This server is {state}.</p><p>API: <code>/api2/json</code></p></body></html>
"""


def create_app(tree: ApiTree, settings: Settings, missing: Missing) -> FastAPI:
    """The application. ``missing`` names the parts that cannot work right now."""
    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None, redirect_slashes=False)

    @app.get("/health")
    @app.get("/healthz")
    async def health() -> Response:
        """Liveness only: asks nobody."""
        return JSONResponse({"status": "healthy", "version": PRODUCT_VERSION})

    @app.get("/ready")
    @app.get("/readyz")
    async def ready() -> Response:
        """Whether everything that requests need serves."""
        if names := await missing():
            return JSONResponse({"status": "not_ready", "reason": "waiting for " + ", ".join(names)}, 503)
        return JSONResponse({"status": "ready"})

    @app.get("/metrics")
    async def metrics() -> Response:
        """Aggregated metrics without tenants, if they are public."""
        if not settings.metrics_public:
            return PlainTextResponse("Path '/metrics' not found.", 404)
        text = public_metrics(await asyncio.to_thread(render_metrics))
        return Response(text, headers={"Content-Type": CONTENT_TYPE})  # a media type would get a charset

    @app.get("/")
    async def dashboard() -> Response:
        """A small status page, if it is switched on."""
        if not settings.dashboard_enabled:
            return PlainTextResponse("Path '/' not found.", 404)
        return HTMLResponse(_PAGE.format(state="not ready" if await missing() else "ready"))

    @app.exception_handler(HTTPException)
    async def wrong_method(_: Request, error: HTTPException) -> Response:
        """Outside of the API only GET exists."""
        return PlainTextResponse("invalid http method for path", 400 if error.status_code == 405 else error.status_code)

    app.router.default = tree  # a mount would not match paths with line breaks
    return app


def public_metrics(text: bytes) -> bytes:
    """The series without a tenant label: the public page shows no tenant (rest-api D.10)."""
    return b"".join(line + b"\n" for line in text.splitlines() if b'tenant="' not in line)
