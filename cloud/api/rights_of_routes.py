"""What each request needs: which act, and at which site. A request that no line names needs it in the whole deployment.

So a route that somebody forgets to write down here is closed to all whose rights end at their own sites.
"""

import re
from dataclasses import dataclass

from cloud.access.rights import Act

OPEN = (
    re.compile(r"/(healthz|readyz|static/.*|i18n/.*|problems/.*|api/v1/openapi\.json)?"),
    re.compile(r"/(s|e|g|sign-in)(/.*)?"),  # pages: files without anybody's data
    re.compile(r"/api/v1/session(/link)?"),  # signing in and out
    re.compile(r"/api/v1/gateways/[^/]+/(frames|receipt)"),  # gateways show a token of their own
)
_SITE = re.compile(r"/api/v1/sites/(?P<site>[^/]+)(?P<rest>/.*)?")
_EVIDENCE = re.compile(r"/(audit-package|spot-checks/.*)")
_CHANNELS = re.compile(r"/channels(/.*)?")
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})

# Lists of things of many sites: the route filters them by `visible`, or by its query parameter `site`.
FILTERED = re.compile(r"/api/v1/(sites|gateways|alerts/causes|portfolio(/[^/]+)?|rankings|target-packs)")
BY_SITE = re.compile(r"/api/v1/(alerts|rectification|rectification/export)")
# Changes whose sites are named in the body: the route asks `must` for each.
IN_BODY = re.compile(r"/api/v1/(alerts/bulk|rectification)")
# Things of one site whose address does not say which.
_THING = re.compile(r"/api/v1/(?P<kind>alert|rectification)s?/(?P<thing>(al|ri)_[0-9A-Z]+)(/.*)?")
EVERYWHERE = (
    (re.compile(r"/api/v1/audit"), Act.INSPECT),
    (re.compile(r"/api/v1/(users|keys)(/.*)?"), Act.ADMINISTER),
)


@dataclass(frozen=True, slots=True)
class Need:
    """An act at a site, at the site of a thing (kind, id), or (all None) in the whole deployment.

    `filters`: the route shows what may be seen and no more. `by_site`: so it does by its parameter `site`.
    """

    act: Act
    site: str | None = None
    thing: tuple[str, str] | None = None
    filters: bool = False
    by_site: bool = False


def need_of(method: str, path: str) -> Need | None:
    """What a request needs; None: nothing, not even to be signed in."""
    if any(pattern.fullmatch(path) for pattern in OPEN):
        return None
    reads = method in SAFE_METHODS
    if reads and FILTERED.fullmatch(path):
        return Need(Act.SEE, filters=True)
    if reads and BY_SITE.fullmatch(path):
        return Need(Act.SEE, by_site=True)
    if not reads and IN_BODY.fullmatch(path):
        return Need(Act.HANDLE, filters=True)
    if site := _SITE.fullmatch(path):
        rest = site["rest"] or ""
        if _EVIDENCE.fullmatch(rest):
            return Need(Act.INSPECT, site["site"])
        change = Act.CHANNELS if _CHANNELS.fullmatch(rest) else Act.DIRECT
        return Need(Act.SEE if reads else change, site["site"])
    if thing := _THING.fullmatch(path):
        act = Act.DIRECT if path.endswith("/assignment") else Act.HANDLE
        return Need(Act.SEE if reads else act, thing=(thing["kind"], thing["thing"]))
    for pattern, act in EVERYWHERE:
        if pattern.fullmatch(path):
            return Need(act)
    return Need(Act.SEE if reads else Act.ADMINISTER)
