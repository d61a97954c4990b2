"""The aggregator as a real child process."""

import asyncio
import re
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
STARTED_S = 30.0
STOPPED_S = 10.0


class RunningCloud:
    """`gatehouse cloud run` in a data directory; can be killed and started again."""

    def __init__(self, data_dir: Path, *options: str) -> None:
        self._data_dir = data_dir
        self._options = options
        self._process: asyncio.subprocess.Process | None = None
        self._output: asyncio.Task[None] | None = None
        self.said: list[str] = []
        self.address = ""

    async def start(self) -> str:
        """Start it; its address once it serves."""
        command = ("-m", "gatehouse", "cloud", "run", "--data-dir", str(self._data_dir), "--port", "0")
        self._process = await asyncio.create_subprocess_exec(
            sys.executable,
            *command,
            *self._options,
            cwd=ROOT,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        assert self._process.stdout is not None
        async with asyncio.timeout(STARTED_S):
            while True:
                line = (await self._process.stdout.readline()).decode()
                assert line, "\n".join(self.said)
                self.said.append(line.rstrip())
                if found := re.search(r"address\S*?(http://[\d.]+:\d+)", line):
                    self.address = found[1]
                    break
        self._output = asyncio.create_task(self._read(self._process.stdout), name="output")
        return self.address

    async def kill(self) -> int:
        """Pull the plug."""
        return await self._end(signal.SIGKILL)

    async def stop(self) -> int:
        """Stop as an operator does; the exit code."""
        return await self._end(signal.SIGTERM)

    async def _read(self, output: asyncio.StreamReader) -> None:
        async for line in output:
            self.said.append(line.decode().rstrip())

    async def _end(self, number: int) -> int:
        if self._process is None or self._output is None:
            return 0
        if self._process.returncode is None:
            self._process.send_signal(number)
        async with asyncio.timeout(STOPPED_S):
            code = await self._process.wait()
            await self._output
        self._process = None
        return code


@asynccontextmanager
async def running(data_dir: Path, *options: str) -> AsyncIterator[RunningCloud]:
    """A started aggregator that is gone at the end, whatever happens."""
    cloud = RunningCloud(data_dir, *options)
    await cloud.start()
    try:
        yield cloud
    finally:
        await cloud.kill()
