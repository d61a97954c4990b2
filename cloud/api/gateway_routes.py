"""Routes of gateways."""

from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import Response

from cloud.api import schema
from cloud.api.asking import instant_or_none, listing
from cloud.api.services import Services
from cloud.api.sign_in import visible
from devices.reading import Lane

ONLINE_MS = 90_000  # three of the empty frames that a gateway sends when it has nothing to say


def gateway_items(services: Services) -> list[dict[str, Any]]:
    """Every registered gateway as the API gives it."""
    now_ms = services.now()
    items = []
    for gateway in services.gateways.all():
        heard = services.live.site(gateway.site).gateways.get(gateway.id)
        last_ms = heard.last_frame_ms if heard is not None else 0
        lanes: dict[str, dict[str, Any]] = {lane.value: {"stored_seq": 0, "gaps": []} for lane in Lane}
        epochs = heard.epochs if heard is not None else {}
        for state in services.identities.states(gateway.id):
            # What an import or an earlier epoch brought says nothing about how far the agent has come.
            if epochs.get(state.lane, state.epoch) == state.epoch:
                lanes[state.lane.value] = {"stored_seq": state.contiguous_seq, "gaps": list(state.gaps)}
        items.append(
            {
                "id": gateway.id,
                "site": gateway.site,
                "online": last_ms > 0 and now_ms - last_ms < ONLINE_MS,
                "last_frame_at": instant_or_none(last_ms),
                "lanes": lanes,
                "clock_offset_ms": heard.clock_offset_ms if heard is not None else None,
                "software_version": heard.software_version if heard is not None else None,
            }
        )
    return items


def gateway_routes(services: Services) -> APIRouter:
    """Build the router."""
    router = APIRouter(prefix="/api/v1/gateways", tags=["gateways"])

    async def gateways(request: Request) -> Response:
        """Every gateway that who asks may see: when it was heard, what is stored of it, and what is missing."""
        return listing([one for one in gateway_items(services) if visible(request, one["site"])])

    router.add_api_route("", gateways, response_model=None, responses={200: {"model": schema.Gateways}})
    return router
