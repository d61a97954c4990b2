"""The gateway's proof of who it is: a short-lived JWT signed with its own Ed25519 key."""

import jwt
from jwt.exceptions import PyJWTError

from cloud.ingest.gateways import Gateway, GatewayKeys
from devices.errors import Permanent

AUDIENCE = "gatehouse-cloud"
LEEWAY_MS = 60_000  # a gateway's idea of server time may be off by this much
LIFETIME_MS_MAX = 3_600_000  # tokens are made for five minutes; one that never ends is a stolen one
TOKENS_KEPT = 4_096  # checked ones: a gateway sends each for minutes, and checking costs more than a frame
TOKEN_CHARACTERS_MAX = 4_096


class Unauthorised(Permanent):
    """The token does not prove who asks."""


class Tokens:
    """Checks tokens and remembers the good ones until they expire or any key changes."""

    def __init__(self, keys: GatewayKeys) -> None:
        self._keys = keys
        self._checked: dict[tuple[str, str], int] = {}
        self._generation = -1

    def check(self, gateway_id: str, token: str, now_ms: int) -> Gateway:
        """The gateway that holds this token. Raises Unauthorised.

        The claims: `sub` the gateway's id, `aud` `gatehouse-cloud`, `exp` within an hour, in server time.
        """
        if self._generation != self._keys.generation:
            self._checked.clear()
            self._generation = self._keys.generation
        gateway = self._keys.get(gateway_id)
        if gateway is None or len(token) > TOKEN_CHARACTERS_MAX:
            raise Unauthorised("this gateway is not known here, or its token is not signed with its key")
        expires_ms = self._checked.get((gateway_id, token))
        if expires_ms is None:
            expires_ms = _expiry_ms(gateway, token, now_ms)
            if len(self._checked) >= TOKENS_KEPT:
                self._checked.clear()
            self._checked[gateway_id, token] = expires_ms
        if now_ms > expires_ms + LEEWAY_MS:
            raise Unauthorised("the token has expired")
        return gateway


def _expiry_ms(gateway: Gateway, token: str, now_ms: int) -> int:
    for key in gateway.keys:
        if not key.is_valid(now_ms):
            continue
        try:
            # Expiry is checked against the aggregator's clock by the caller, not against the machine's here.
            claims = jwt.decode(
                token,
                key.public,
                algorithms=["EdDSA"],
                audience=AUDIENCE,
                options={
                    "require": ["exp", "sub", "aud"],
                    "verify_exp": False,
                    "verify_iat": False,
                    "verify_nbf": False,
                },
            )
            expires_ms = int(claims["exp"]) * 1000
        except (PyJWTError, ValueError, TypeError, OverflowError):
            continue
        if claims["sub"] != gateway.id:
            raise Unauthorised("the token was made for another gateway")
        if expires_ms > now_ms + LIFETIME_MS_MAX + LEEWAY_MS:
            raise Unauthorised("the token would be good for too long")
        return expires_ms
    raise Unauthorised("this gateway is not known here, or its token is not signed with its key")
