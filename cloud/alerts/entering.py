"""People, teams, calendars and ladders as people enter them: checked, with versions, never overwritten."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC

import msgspec
import sqlalchemy as sa

from cloud.alerts.people import KINDS, LADDER, Ladder, ladder_mistake, parse, roster_of
from cloud.facts.database import reading, writing
from cloud.facts.failures import asking
from cloud.facts.inputs import Input, enter, in_force, inputs_of, newest, withdraw
from devices.errors import Permanent


class UnknownKind(Permanent):
    """There are no inputs of this kind, or none of this name."""


class BadDocument(Permanent):
    """A document that makes no sense; says what of it."""


@dataclass(frozen=True, slots=True)
class Entering:
    """One for a database; blocks. Raises StorageUnavailable, InputRefused and InputVersionMismatch besides."""

    engine: sa.Engine

    def enter(
        self, site: str, kind: str, name: str, document: bytes, *, actor: str, now_ms: int, version: int | None
    ) -> Input:
        """Add a version that counts from now on. `version` is the newest one that the writer saw, None: any."""
        _check_kind(kind)
        if kind == LADDER and name != LADDER:
            raise BadDocument(f"a site has one ladder, and its id is {LADDER!r}")
        try:
            meant = parse(kind, document)
            plain = msgspec.json.encode(meant).decode()
        except msgspec.MsgspecError as error:
            raise BadDocument(str(error)) from error
        with asking("people"), writing(self.engine) as connection:
            if isinstance(meant, Ladder):
                wrong = ladder_mistake(meant, roster_of(connection, site, UTC, now_ms))
                if wrong is not None:
                    raise BadDocument(wrong)
            return enter(
                connection, site, kind, name, plain, actor=actor, reason="entered", recorded_ms=now_ms,
                valid_from_ms=now_ms, expected_version=version,
            )  # fmt: skip

    def withdraw(self, site: str, kind: str, name: str, *, actor: str, now_ms: int, version: int | None) -> Input:
        """Take something back, from now on."""
        _check_kind(kind)
        with asking("people"), writing(self.engine) as connection:
            known = newest(connection, site, kind, name)
            if known is None or known.withdrawn:
                raise UnknownKind(f"there is no {kind} {name!r}")
            return withdraw(
                connection, site, kind, name, actor=actor, reason="withdrawn", recorded_ms=now_ms,
                expected_version=version,
            )  # fmt: skip

    def of(self, site: str, kind: str) -> Sequence[Input]:
        """What holds of a kind, by id."""
        _check_kind(kind)
        with asking("people"), reading(self.engine) as connection:
            return in_force(inputs_of(connection, site, kind))


def _check_kind(kind: str) -> None:
    if kind not in KINDS:
        raise UnknownKind(f"there are no inputs of kind {kind!r}; there are {', '.join(KINDS)}")
