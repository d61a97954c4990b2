"""The two ways out of the agent without sockets: to its devices and to the cloud, each with the faults of the plan."""

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path
from random import Random

import httpx
import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from devices.errors import LinkDown
from devices.point import Function
from devices.reading import Quality
from edge.clock import Clock
from edge.cloud_client import CloudClient
from edge.drivers.modbus_link import Question, Reply
from simulators.modbus import SimulatedDevice
from tests.virtual.plan import BROKEN, RUN, Plan, during

ANSWER_S = 0.04  # a device thinks
SILENCE_S = 1.0  # how long the agent waits for one that does not answer
CONNECT_S, READ_S = 5.0, 30.0  # the client's own limits
ILLEGAL_ADDRESS = 2


class MemoryLink:
    """Answers as the simulated devices would over a socket. `now_s` is the time of the plan."""

    def __init__(self, devices: dict[str, SimulatedDevice], plan: Plan, now_s: Callable[[], float]) -> None:
        self._by_unit = {device.unit: device for device in devices.values()}
        self._plan = plan
        self._now_s = now_s
        self._open = False

    @property
    def connected(self) -> bool:
        return self._open and not self._is_lost()

    async def connect(self) -> None:
        await asyncio.sleep(0.01)
        if self._is_lost():
            raise LinkDown("nobody takes the connection")
        self._open = True

    async def ready(self, _: Question) -> bool:
        return True

    async def read(self, question: Question) -> Reply:
        await asyncio.sleep(ANSWER_S / 2)
        device = self._by_unit[question.unit]
        words = self._words(device, question)  # true in the middle of question and answer
        await asyncio.sleep(ANSWER_S / 2)
        if self._is_lost():
            self._open = False
            return Reply(Quality.BAD_CONNECTION)
        if during(self._plan.silences.get(device.id, []), self._now_s()):
            await asyncio.sleep(SILENCE_S)
            return Reply(Quality.BAD_NO_ANSWER)
        if words is None:
            return Reply(Quality.BAD_EXCEPTION, exception=ILLEGAL_ADDRESS)
        return Reply(Quality.GOOD, np.array(words, ">u2").tobytes())

    def close(self) -> None:
        self._open = False

    def _words(self, device: SimulatedDevice, question: Question) -> list[int] | None:
        mode, minute = self._plan.mode(device.id, self._now_s()), int(self._now_s() // 60)
        device.behave({"alarm": float(mode == BROKEN), "running": float(mode == RUN), "load": float(minute * 37 % 100)})
        try:
            return device.words(Function(question.function), question.address, question.count)
        except KeyError:
            return None

    def _is_lost(self) -> bool:
        return bool(during(self._plan.connection_losses, self._now_s()))


class Network(httpx.AsyncBaseTransport):
    """The internet between one gateway and the cloud. `app` is the cloud's, None while it is down."""

    def __init__(self, plan: Plan, now_s: Callable[[], float]) -> None:
        self.app: Callable[..., object] | None = None
        self._plan = plan
        self._now_s = now_s
        self._rng = Random(plan.seed * 1_000_003 + 1)
        self._under_way: set[asyncio.Task[httpx.Response]] = set()
        self.asked_s: list[float] = []  # when a request came, whatever became of it
        self.answered_s: list[float] = []

    @property
    def fault(self) -> str:
        return during(self._plan.network, self._now_s())

    @property
    def reachable(self) -> bool:
        return self.app is not None and self.fault not in {"down", "black-hole"}

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        body = await request.aread()
        self.asked_s.append(self._now_s())
        fault, chance = self.fault, self._rng.random()
        await asyncio.sleep(0.02 + 0.06 * self._rng.random() + (3.0 * chance if fault == "slow" else 0.0))
        if fault == "down" or self.app is None:
            raise httpx.ConnectError("refused", request=request)
        if fault == "black-hole":
            await asyncio.sleep(CONNECT_S)
            raise httpx.ConnectTimeout("nobody there", request=request)
        if fault in {"busy", "throttled"} and chance < 0.8:
            status, headers = (500, {}) if fault == "busy" else (429, {"Retry-After": str(int(30 * chance))})
            return httpx.Response(status, headers=headers, content=b"", request=request)
        if fault == "late" and chance < 0.6:
            self._begin(self._forward(request, body, READ_S * 1.5))
            await asyncio.sleep(READ_S)
            raise httpx.ReadTimeout("too late", request=request)
        answer = await self._begin(self._forward(request, body, 0.0))
        if fault == "double":
            answer = await self._begin(self._forward(request, body, 0.0))
        if fault == "lost-ack" and chance < 0.6:
            await asyncio.sleep(READ_S * chance)
            raise httpx.ReadError("cut before the answer", request=request)
        await asyncio.sleep(0.02 + 0.06 * self._rng.random())
        self.answered_s.append(self._now_s())
        return answer

    async def cut(self) -> None:
        """The cloud goes down with whatever it was doing."""
        self.app = None
        under_way = tuple(self._under_way)
        for task in under_way:
            task.cancel()
        if under_way:
            await asyncio.wait(under_way)

    def _begin(self, work: Coroutine[None, None, httpx.Response]) -> "asyncio.Task[httpx.Response]":
        task = asyncio.create_task(work, name="request")
        self._under_way.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: "asyncio.Task[httpx.Response]") -> None:
        self._under_way.discard(task)
        if not task.cancelled():
            task.exception()  # a late one has nobody left to tell

    async def _forward(self, request: httpx.Request, body: bytes, after_s: float) -> httpx.Response:
        await asyncio.sleep(after_s)
        if self.app is None:
            raise httpx.ConnectError("refused", request=request)
        again = httpx.Request(request.method, request.url, headers=request.headers, content=body)
        try:
            answer = await httpx.ASGITransport(app=self.app).handle_async_request(again)  # type: ignore[arg-type]
            content = await answer.aread()
        except asyncio.CancelledError:
            raise httpx.ReadError("the cloud died", request=request) from None
        return httpx.Response(answer.status_code, headers=answer.headers, content=content, request=request)


def client_over(network: Network) -> Callable[..., CloudClient]:
    """A maker of clients that reach the cloud over this network."""

    class MemoryClient(CloudClient):
        def __init__(self, url: str, gateway: str, key: Ed25519PrivateKey, clock: Clock, ca_file: Path | None) -> None:
            super().__init__(url, gateway, key, clock, ca_file, transport=network)

        async def probe(self) -> bool:
            await asyncio.sleep(0.05)
            return network.reachable

        async def close(self) -> None:
            """The network outlives the client."""

    return MemoryClient
