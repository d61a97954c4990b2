"""Child processes of the demo: started with a log each, watched, stopped in the order data flows."""

import asyncio
import contextlib
import os
import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from devices.errors import Permanent

LOG_LINES_SHOWN = 12
LOG_TAIL_BYTES = 8192
KILLED_WAIT_S = 0.5


class ChildFailed(Permanent):
    """A child process ended that should not have, or refused its work. Carries the last lines of its log."""


@dataclass(slots=True)
class Child:
    """One running child process in a session of its own, so that Ctrl-C reaches only us."""

    name: str
    process: asyncio.subprocess.Process
    log: Path

    @property
    def running(self) -> bool:
        """Whether it has not ended yet."""
        return self.process.returncode is None

    def signal(self, number: int) -> None:
        """Signal the child and whatever it started."""
        with contextlib.suppress(ProcessLookupError):  # it ended in between
            os.killpg(self.process.pid, number)

    def failure(self) -> ChildFailed:
        """What to say about its end."""
        return ChildFailed(f"{self.name} ended with code {self.process.returncode}\n{last_lines(self.log)}")


def last_lines(log: Path) -> str:
    """The last lines of a log, indented; empty when there is none."""
    if not log.exists():
        return ""
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - LOG_TAIL_BYTES))
        lines = file.read().decode(errors="replace").splitlines()[-LOG_LINES_SHOWN:]
    return "\n".join(f"    {line}" for line in lines)


class Children:
    """The children of one demo."""

    def __init__(self, logs: Path, environment: Mapping[str, str]) -> None:
        self._logs = logs
        self._environment = dict(environment)
        self._children: list[Child] = []

    async def start(
        self, name: str, command: Sequence[str], *, stdin: int | None = None, stdout: int | None = None
    ) -> Child:
        """Start a child; its output goes to `NAME.log` unless `stdout` says otherwise."""
        log = self._logs / f"{name}.log"
        with log.open("ab") as output:
            process = await asyncio.create_subprocess_exec(
                *command,
                stdin=asyncio.subprocess.DEVNULL if stdin is None else stdin,
                stdout=output if stdout is None else stdout,
                stderr=output,
                env=self._environment,
                start_new_session=True,
            )
        child = Child(name, process, log)
        self._children.append(child)
        return child

    async def run(self, name: str, command: Sequence[str]) -> str:
        """Run a child to its end and give what it printed. Raises ChildFailed when its exit code is not 0."""
        child = await self.start(name, command, stdout=asyncio.subprocess.PIPE)
        output, _ = await child.process.communicate()
        self._children.remove(child)
        if child.process.returncode != 0:
            raise child.failure()
        return output.decode()

    async def finish(self, child: Child) -> None:
        """Wait for the good end of a child. Raises ChildFailed."""
        await child.process.wait()
        self._children.remove(child)
        if child.process.returncode != 0:
            raise child.failure()

    async def watch(self, *children: Child) -> None:
        """Return never; raise ChildFailed as soon as one of these children ends."""
        waiting = {asyncio.ensure_future(child.process.wait()): child for child in children}
        try:
            done, _ = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in waiting:
                task.cancel()
        raise waiting[done.pop()].failure()

    async def stop(self, stages: Sequence[Sequence[str]], budget_s: float) -> None:
        """Stop the children stage by stage, unnamed ones last; kill what is left when the time is up."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + budget_s
        named = {name for stage in stages for name in stage}
        rest = [child.name for child in self._children if child.name not in named]
        for position, stage in enumerate([*stages, rest]):
            ending = [child for child in self._children if child.name in stage and child.running]
            for child in ending:
                child.signal(signal.SIGTERM)
            # What is left is shared among the stages to come, so that one that hangs does not starve the others.
            share_s = (deadline - loop.time()) / (len(stages) + 1 - position)
            await _ended(ending, max(share_s, 0.05))
        left = [child for child in self._children if child.running]
        for child in self._children:
            child.signal(signal.SIGKILL)  # also grandchildren of a child that is gone
        await _ended(left, KILLED_WAIT_S)


async def _ended(children: Sequence[Child], timeout_s: float) -> None:
    if children:
        await asyncio.wait([asyncio.ensure_future(child.process.wait()) for child in children], timeout=timeout_s)
