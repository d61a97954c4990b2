"""What a person or a test does to a running simulation: one line a command over a Unix socket, one line back.

set DEVICE POINT VALUE | release DEVICE [POINT] | fail THING | mend THING
silence DEVICE | speak DEVICE | announce
"""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from devices.errors import GatehouseError, LinkDown, Permanent, Refused
from simulators.world import World

LINE_BYTES_MAX = 1024
ANSWER_TIMEOUT_S = 5.0


def obey(world: World, line: str) -> str:
    """Carry out one command; `ok`, or `error: ` and why."""
    try:
        _carry_out(world, line.split())
    except GatehouseError as error:
        return f"error: {error}".replace("\n", " ")
    except ValueError:
        return "error: the value is not a number"
    return "ok"


def _carry_out(world: World, words: list[str]) -> None:
    match words:
        case ["set", device, point, value]:
            world.set(device, point, float(value))
        case ["release", device]:
            world.release(device)
        case ["release", device, point]:
            world.release(device, point)
        case ["fail", thing]:
            world.fail(thing)
        case ["mend", thing]:
            world.mend(thing)
        case ["silence", device]:
            world.silence(device, silent=True)
        case ["speak", device]:
            world.silence(device, silent=False)
        case ["announce"]:
            world.announce()
        case _:
            raise Permanent(
                "expected set DEVICE POINT VALUE, release DEVICE [POINT], fail THING, mend THING, "
                "silence DEVICE, speak DEVICE or announce"
            )


@asynccontextmanager
async def listen(world: World, path: Path) -> AsyncIterator[None]:
    """Take commands at a Unix socket while the context is open."""

    async def serve_one(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while line := await reader.readline():
                writer.write(f"{obey(world, line.decode(errors='replace'))}\n".encode())
                await writer.drain()
        except (ValueError, ConnectionError):
            pass  # a line without end, or a caller who left: nothing to tell anybody
        finally:
            writer.close()

    path.unlink(missing_ok=True)
    server = await asyncio.start_unix_server(serve_one, path, limit=LINE_BYTES_MAX)
    try:
        yield
    finally:
        server.close()
        path.unlink(missing_ok=True)


def command(path: Path, line: str) -> None:
    """Send one command. Raises LinkDown when nobody listens, Refused with the simulation's words."""
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as link:
            link.settimeout(ANSWER_TIMEOUT_S)
            link.connect(str(path))
            link.sendall(f"{line}\n".encode())
            answer = link.makefile(encoding="utf-8").readline().strip()
    except OSError as error:
        raise LinkDown(f"no simulation listens at {path}: {error}") from error
    if answer != "ok":
        raise Refused(answer.removeprefix("error: ") or "the simulation hung up")
