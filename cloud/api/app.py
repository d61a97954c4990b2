"""The API as an ASGI application."""

from fastapi import APIRouter, FastAPI
from starlette.middleware.gzip import GZipMiddleware

from cloud.api.access_routes import access_routes, open_routes
from cloud.api.alert_acting_routes import alert_acting_routes
from cloud.api.alert_figure_routes import alert_figure_routes
from cloud.api.alert_routes import alert_routes
from cloud.api.gateway_routes import gateway_routes
from cloud.api.indicator_routes import indicator_routes
from cloud.api.problems import RequestGuard, install_problems
from cloud.api.rectification_routes import rectification_routes
from cloud.api.services import Services
from cloud.api.sign_in import SignInGuard
from cloud.api.site_routes import site_routes

GZIP_BYTES_MIN = 1_000
GZIP_LEVEL = 5  # 9 costs three times the time for 2 % less


def build_api(services: Services, *more: APIRouter) -> FastAPI:
    """The application with every route of the API and of `more` (uplink, static files, health).

    Its background work is `services.alerts.run()` and `services.pages.run()`; `services.pages.stop()` ends the open
    streams and belongs before the server's shutdown.
    """
    app = FastAPI(
        title="Gatehouse",
        version=services.version,
        openapi_url="/api/v1/openapi.json",
        docs_url=None,  # they load from a CDN
        redoc_url=None,
    )
    for router in (
        site_routes(services),
        indicator_routes(services),
        alert_routes(services),
        alert_acting_routes(services),
        alert_figure_routes(services),
        gateway_routes(services),
        *more,
    ):
        app.include_router(router)
    if services.office is not None:
        app.include_router(rectification_routes(services, services.office))
    door = services.door
    app.include_router(access_routes(door, services.now) if door is not None else open_routes())
    install_problems(app)
    app.add_middleware(GZipMiddleware, minimum_size=GZIP_BYTES_MIN, compresslevel=GZIP_LEVEL)
    app.add_middleware(SignInGuard, door=door, now=services.now, site_of=services.site_of)
    app.add_middleware(RequestGuard, unbounded=("/frames", "/attachments"))
    return app
