"""Five roles x sites, decided in one function. Pure. ux.md section 8."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum

EVERYWHERE = "*"


class Role(StrEnum):
    """What somebody is at a site."""

    VIEWER = "viewer"
    ENGINEER = "engineer"
    MANAGER = "manager"
    AUDITOR = "auditor"
    ADMIN = "admin"


class Act(StrEnum):
    """What can be done."""

    SEE = "see"
    HANDLE = "handle"  # acknowledge, comment, resolve, maintenance, notes
    DIRECT = "direct"  # assign, long shelves, targets, briefs
    INSPECT = "inspect"  # raw inputs, recomputing, audit log, exports
    CHANNELS = "channels"  # notification channels of a site
    ADMINISTER = "administer"  # users, keys, rules


RIGHTS: Mapping[Role, frozenset[Act]] = {
    Role.VIEWER: frozenset({Act.SEE}),
    Role.ENGINEER: frozenset({Act.SEE, Act.HANDLE}),
    Role.MANAGER: frozenset({Act.SEE, Act.HANDLE, Act.DIRECT, Act.INSPECT, Act.CHANNELS}),
    Role.AUDITOR: frozenset({Act.SEE, Act.INSPECT}),
    Role.ADMIN: frozenset(Act),
}


@dataclass(frozen=True, slots=True)
class Grant:
    """A role at a site, or at `EVERYWHERE`. An auditor is one everywhere."""

    role: Role
    site: str = EVERYWHERE

    @property
    def is_everywhere(self) -> bool:
        """Whether it holds at every site, also at those to come."""
        return self.site == EVERYWHERE or self.role is Role.AUDITOR


@dataclass(frozen=True, slots=True)
class Principal:
    """Who asks: a person, or a script with a key. `name` is what changes are recorded under."""

    id: str
    name: str
    grants: tuple[Grant, ...]


def may(who: Principal, act: Act, site: str | None) -> bool:
    """Whether somebody may do that at a site; None: in the whole deployment. What no grant gives is denied."""
    return any(
        act in RIGHTS[grant.role] and (grant.is_everywhere or (site is not None and grant.site == site))
        for grant in who.grants
    )


def visible(who: Principal, sites: Iterable[str]) -> list[str]:
    """Those of the sites that somebody may see."""
    return [site for site in sites if may(who, Act.SEE, site)]
