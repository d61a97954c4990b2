"""Those who are told, for tests: an HTTP receiver that answers as it is told, and a mail server."""

# ruff: noqa: ARG002  what is called has the arguments that its caller gives

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope, Session
from fastapi import FastAPI, Request, Response

from tests.cloud.serving import serving

Answer = Callable[[int], Response]  # the how-manieth request, from 0 on


def fine(_: int) -> Response:
    return Response('{"errcode":0,"code":0,"errmsg":"ok"}', media_type="application/json")


@dataclass
class Received:
    """One request."""

    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes


@dataclass
class Receiver:
    """Every request that came, and how they are answered."""

    address: str = ""
    answer: Answer = fine
    requests: list[Received] = field(default_factory=list)


@asynccontextmanager
async def receiving(answer: Answer = fine) -> AsyncIterator[Receiver]:
    receiver = Receiver(answer=answer)
    app = FastAPI()

    @app.post("/{path:path}")
    async def take(request: Request, path: str) -> Response:
        headers = {name.lower(): value for name, value in request.headers.items()}
        receiver.requests.append(Received(path, dict(request.query_params), headers, await request.body()))
        return receiver.answer(len(receiver.requests) - 1)

    async with serving(app) as address:
        receiver.address = address
        yield receiver


class Mailbox:
    """Mails that came."""

    def __init__(self) -> None:
        self.mails: list[bytes] = []

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802
        content = envelope.content
        self.mails.append(content if isinstance(content, bytes) else (content or "").encode())
        return "250 OK"


@contextmanager
def mail_server(port: int) -> Iterator[Mailbox]:
    mailbox = Mailbox()
    controller = Controller(mailbox, hostname="127.0.0.1", port=port)
    controller.start()
    try:
        yield mailbox
    finally:
        controller.stop()
