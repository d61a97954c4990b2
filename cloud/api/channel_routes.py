"""Routes of notification channels: enter, list, test, take back; and what was delivered over them."""

import asyncio
from collections.abc import Callable
from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Path, Query, Request
from pydantic import BaseModel, Field
from starlette.responses import Response

from cloud.alerts.notify.channels import KIND, Channel, parse_channel
from cloud.alerts.notify.deliveries import PAGE_MAX, Delivery
from cloud.alerts.notify.dispatcher import Dispatcher
from cloud.api.acting import actor_of
from cloud.api.asking import answer, listing
from cloud.api.problems import Problem, not_found, unusable
from cloud.facts.database import writing
from cloud.facts.inputs import InputRefused, enter, withdraw
from cloud.facts.store import FactStore
from devices.errors import Permanent, Transient
from devices.instants import format_instant

ChannelId = Annotated[str, Path(pattern=r"^[a-z0-9-]{1,63}$")]


class ChannelBody(BaseModel):
    """A channel as it shall be from now on."""

    channel: dict[str, Any]
    actor: str | None = Field(default=None, max_length=100)
    reason: str = Field(default="entered", min_length=1, max_length=500)


class Acting(BaseModel):
    """Who takes a channel back, and why."""

    actor: str | None = Field(default=None, max_length=100)
    reason: str = Field(default="taken back", min_length=1, max_length=500)


def channel_routes(store: FactStore, dispatcher: Dispatcher, now: Callable[[], int]) -> APIRouter:
    """Build the router."""
    routes = _ChannelRoutes(store, dispatcher, now)
    router = APIRouter(prefix="/api/v1/sites/{site}", tags=["notifications"])
    router.add_api_route("/channels", routes.channels, methods=["GET"])
    router.add_api_route("/channels/{channel}", routes.put, methods=["PUT"])
    router.add_api_route("/channels/{channel}", routes.take_back, methods=["DELETE"])
    router.add_api_route("/channels/{channel}/test", routes.test, methods=["POST"])
    router.add_api_route("/deliveries", routes.deliveries, methods=["GET"])
    return router


class _ChannelRoutes:
    def __init__(self, store: FactStore, dispatcher: Dispatcher, now: Callable[[], int]) -> None:
        self._store = store
        self._dispatcher = dispatcher
        self._log = dispatcher.log
        self._now = now

    async def channels(self, site: str) -> Response:
        """Channels of a site and of all sites; of their addresses only what is no secret."""
        found = await self._channels(site)
        return listing([_channel_json(name, channel) for name, channel in sorted(found.items())])

    async def put(self, request: Request, site: str, channel: ChannelId, body: ChannelBody) -> Response:
        """Enter a channel of this site, or say something else about it."""
        actor = actor_of(request, body.actor)
        await self._channels(site)
        document = msgspec.json.encode(body.channel)
        try:
            parsed = parse_channel(document)
        except msgspec.MsgspecError as error:
            raise unusable("/body/channel", str(error), "bad_channel") from error

        def write() -> None:
            now_ms = self._now()
            with writing(self._store.engine) as connection:
                enter(
                    connection, site, KIND, channel, document.decode(), actor=actor, reason=body.reason,
                    recorded_ms=now_ms, valid_from_ms=now_ms,
                )  # fmt: skip

        try:
            await asyncio.to_thread(write)
        except InputRefused as error:
            raise unusable("/body", str(error), "refused") from error
        return answer(_channel_json(channel, parsed))

    async def take_back(self, request: Request, site: str, channel: ChannelId, body: Acting) -> Response:
        """End a channel; what waits on it is given up."""
        actor = actor_of(request, body.actor)

        def write() -> None:
            with writing(self._store.engine) as connection:
                withdraw(connection, site, KIND, channel, actor=actor, reason=body.reason, recorded_ms=self._now())

        try:
            await asyncio.to_thread(write)
        except InputRefused as error:
            raise not_found("channel", channel) from error
        await self._dispatcher.end_alerts_of_gone()
        return Response(status_code=204)

    async def test(self, site: str, channel: ChannelId) -> Response:
        """Send a test message now, and say what the receiver said."""
        found = (await self._channels(site)).get(channel)
        if found is None:
            raise not_found("channel", channel)
        try:
            await self._dispatcher.test(site, channel, found)
        except (Permanent, Transient) as error:
            raise Problem(502, "not_delivered", str(error)) from error
        return answer({"delivered": True})

    async def deliveries(self, site: str, limit: Annotated[int, Query(ge=1, le=PAGE_MAX)] = 50) -> Response:
        """What was told over which channel, with every try; newest first."""
        await self._channels(site)
        found = await asyncio.to_thread(self._log.of_site, site, limit)
        return listing([_delivery_json(one) for one in found])

    async def _channels(self, site: str) -> dict[str, Channel]:
        if await asyncio.to_thread(self._store.ledger, site) is None:
            raise not_found("site", site)
        return dict(await asyncio.to_thread(self._dispatcher.addresses.channels, site))


def _channel_json(name: str, channel: Channel) -> dict[str, object]:
    return {
        "id": name,
        "name": channel.name,
        "type": channel.type,
        "address": channel.shown_url,
        "language": channel.language,
        "listens": channel.listens,
        "severity": channel.severity.value,
        "signed": bool(channel.secrets),
        "allow_private": channel.allow_private,
    }


def _delivery_json(one: Delivery) -> dict[str, object]:
    return {
        "notification": one.notification.id,
        "channel": one.channel,
        "status": one.status,
        "severity": one.notification.severity.value,
        "alerts": [line.alert for line in one.notification.lines],
        "added_at": format_instant(one.added_ms),
        "next_at": format_instant(one.next_ms) if one.status == "waiting" else None,
        "tries": [
            {"at": format_instant(each.at_ms), "took_ms": each.took_ms, "error": each.error or None}
            for each in one.tries
        ],
    }
