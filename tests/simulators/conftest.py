import asyncio
import contextlib
import os
import socket
from collections.abc import AsyncIterator

import pytest

from simulators.broker import mosquitto_path, run_broker
from simulators.demonstration import free_port
from simulators.mqtt import Broker
from tests.waiting import until


def answers(broker: Broker) -> bool:
    try:
        socket.create_connection((broker.host, broker.port), timeout=1).close()
    except OSError:
        return False
    return True


@pytest.fixture
async def broker() -> AsyncIterator[Broker]:
    """A real Mosquitto on a port of its own."""
    if mosquitto_path() is None:
        if os.environ.get("CI") == "true":
            pytest.fail("Mosquitto is not installed")
        pytest.skip("Mosquitto is not installed")
    found = Broker(free_port())
    running = asyncio.ensure_future(run_broker(found.port))
    await until(lambda: answers(found), "the broker")
    try:
        yield found
    finally:
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await running
