"""A real HTTP server on a port of the system's choice, in the test's own event loop."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import uvicorn
from fastapi import FastAPI

from devices.batches import CONTENT_TYPE, join_frames
from devices.receipt import Receipt, decode_receipt
from tests.cloud.sealed import SealingGateway
from tests.waiting import until


@asynccontextmanager
async def serving(app: FastAPI) -> AsyncIterator[str]:
    """Gives the server's address, `http://127.0.0.1:port`."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        server = uvicorn.Server(uvicorn.Config(app, log_config=None, lifespan="off"))
        task = asyncio.create_task(server.serve([listening]), name="server")
        address = f"http://127.0.0.1:{listening.getsockname()[1]}"
        await until(lambda: server.started or task.done(), "the server")
        try:
            yield address
        finally:
            server.should_exit = True
            await task


class Uplink:
    """What a gateway does over HTTP, step by step."""

    def __init__(self, client: httpx.AsyncClient, gateway: SealingGateway) -> None:
        self._client = client
        self.gateway = gateway

    async def post_bytes(
        self, body: bytes, *, token: str | None = None, content_type: str = CONTENT_TYPE
    ) -> httpx.Response:
        headers = {"Authorization": f"Bearer {token or self.gateway.token()}", "Content-Type": content_type}
        url = f"/api/v1/gateways/{self.gateway.name}/frames"
        return await self._client.post(url, content=body, headers=headers)

    async def post(self, *frames: bytes) -> Receipt:
        response = await self.post_bytes(join_frames(frames))
        assert response.status_code == 200, response.text
        return decode_receipt(response.content)

    async def receipt(self) -> Receipt:
        headers = {"Authorization": f"Bearer {self.gateway.token()}"}
        response = await self._client.get(f"/api/v1/gateways/{self.gateway.name}/receipt", headers=headers)
        assert response.status_code == 200, response.text
        return decode_receipt(response.content)
