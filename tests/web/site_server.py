"""A stand-in for the cloud: the real page routes over a made-up site, whose stream a test can break on purpose."""

import argparse
import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from typing import Any

import uvicorn
from fastapi import FastAPI, Request
from fastapi.middleware.gzip import GZipMiddleware
from fastapi.responses import JSONResponse, StreamingResponse

from cloud.web.pages import static_routes
from tests.web.made_up_site import MadeUpSite

Json = dict[str, Any]
BASE = "/api/v1/sites/jinji-lake"


class Stage:
    """What a test moves: the site, the open streams, and the faults the server plays."""

    def __init__(self, site: MadeUpSite) -> None:
        self.site = site
        self.sites = [
            {"id": "jinji-lake", "name": {"en": "Jinji Lake Centre", "zh-CN": "金鸡湖中心"}, "type": "commercial"}
        ]
        self.queues: set[asyncio.Queue[bytes | None]] = set()
        self.refuse_status = 0
        self.snapshots = 0
        self.streams = 0
        self.acknowledgements: list[Json] = []

    def tell(self, parts: Json) -> None:
        """One delta with the next number to every open stream."""
        self.site.seq += 1
        self.send("delta", {"epoch": self.site.epoch, "seq": self.site.seq, "t": self.site.snapshot()["time"]} | parts)

    def send(self, event: str, data: Json) -> None:
        number = f"{self.site.epoch}-{self.site.seq}"
        for queue in self.queues:
            queue.put_nowait(f"event: {event}\nid: {number}\ndata: {json.dumps(data)}\n\n".encode())

    def drop_streams(self) -> None:
        for queue in self.queues:
            queue.put_nowait(None)

    async def stream(self) -> AsyncIterator[bytes]:
        queue: asyncio.Queue[bytes | None] = asyncio.Queue()
        self.queues.add(queue)
        try:
            yield b": ping\n\n"
            while (part := await queue.get()) is not None:
                yield part
        finally:
            self.queues.discard(queue)


def problem(status: int, code: str, detail: str, **more: object) -> JSONResponse:
    body = {"type": f"/problems/{code}", "title": code, "status": status, "detail": detail, "code": code} | more
    return JSONResponse(body, status, media_type="application/problem+json")


def create_app(stage: Stage, *, lively: bool = False) -> FastAPI:
    """`lively`: robots drive and cars come and go once a second, for looking at."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        task = asyncio.create_task(_live(stage)) if lively else None
        yield
        if task:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    app = FastAPI(lifespan=lifespan, docs_url=None, redoc_url=None)
    app.include_router(static_routes())
    app.add_middleware(GZipMiddleware)

    @app.middleware("http")
    async def faults(request: Request, proceed: Any) -> Any:
        if stage.refuse_status and request.url.path.startswith("/api/"):
            return problem(stage.refuse_status, "played", "A played fault.")
        return await proceed(request)

    add_routes(app, stage)
    return app


def add_routes(app: FastAPI, stage: Stage) -> None:
    """The part of the public interface that the page uses."""

    @app.get("/api/v1/session")
    def session() -> dict[str, object]:
        return {"id": "open", "name": "", "grants": []}

    @app.get("/api/v1/sites")
    async def sites() -> Json:
        more = {"zone": "Asia/Shanghai", "gateways_online": 1, "gateways_total": 1}
        return {"items": [item | more for item in stage.sites], "next_cursor": None}

    @app.get("/api/v1/sites/{site}/snapshot", response_model=None)
    async def snapshot(site: str) -> Json | JSONResponse:
        if site != "jinji-lake":
            return problem(404, "not_found", f"There is no site {site!r}.")
        stage.snapshots += 1
        return stage.site.snapshot()

    @app.get(f"{BASE}/stream")
    async def stream(since: str = "") -> StreamingResponse:
        stage.streams += 1
        headers = {"Cache-Control": "no-store"}
        if since != f"{stage.site.epoch}-{stage.site.seq}":
            return StreamingResponse(
                iter([b"event: resync\ndata: {}\n\n"]), media_type="text/event-stream", headers=headers
            )
        return StreamingResponse(stage.stream(), media_type="text/event-stream", headers=headers)

    @app.get(f"{BASE}/indicators/{{name}}/trend")
    async def trend(name: str, days: int) -> Json:
        return stage.site.trend(name, days)

    @app.post("/api/v1/alerts/{alert}/acknowledgement", response_model=None)
    async def acknowledge(alert: str, request: Request) -> Json | JSONResponse:
        body = await request.json()
        stage.acknowledgements.append(body)
        try:
            changed = stage.site.acknowledge(alert, body["actor"])
        except PermissionError as error:
            at = stage.site.snapshot()["time"]
            return problem(
                409, "already_acknowledged", f"{error} was first.", acknowledged_by=str(error), acknowledged_at=at
            )
        stage.tell({"alerts": [changed]})
        return changed


async def _live(stage: Stage) -> None:
    rng = stage.site.rng
    while True:
        await asyncio.sleep(1)
        stage.site.now = datetime.now(UTC)
        parts = stage.site.drive(1.0)
        for _ in range(3):
            parts |= stage.site.park(rng.choice(list(stage.site.spaces)), rng.choice(["free", "occupied"]))
        stage.tell(parts | {"indicators": stage.site.indicators()})


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, default=8099)
    parser.add_argument("--still", action="store_true")
    asked = parser.parse_args()
    site_stage = Stage(MadeUpSite(datetime.now(UTC)))
    uvicorn.run(create_app(site_stage, lively=not asked.still), host="127.0.0.1", port=asked.port, log_level="warning")
