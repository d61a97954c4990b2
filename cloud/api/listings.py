"""Lists sorted by something that may change while somebody turns their pages.

What the list held, and in which order, is settled with its first page and kept for a while; so each old thing comes
exactly once, whatever happens to it meanwhile. Belongs to one event loop.
"""

import secrets
from collections import OrderedDict
from collections.abc import Sequence

from cloud.api.problems import unusable

LISTS_MAX = 64
IDS_MAX = 10_000


class SettledLists:
    """The lists whose pages may still be turned, the least recently used forgotten first."""

    def __init__(self) -> None:
        self._lists: OrderedDict[str, Sequence[str]] = OrderedDict()

    def settle(self, ids: Sequence[str]) -> str:
        """Keep a list; the cursor of its beginning."""
        token = secrets.token_hex(8)
        self._lists[token] = ids
        while len(self._lists) > LISTS_MAX:
            self._lists.popitem(last=False)
        return f"s.{token}.0"

    def page(self, cursor: str, limit: int) -> tuple[Sequence[str], str | None]:
        """Give the ids from a cursor on, and the cursor of what follows. Raises Problem (422)."""
        _, _, place = cursor.partition(".")
        token, _, text = place.partition(".")
        ids = self._lists.get(token)
        if ids is None or not text.isascii() or not text.isdigit():
            raise unusable("/query/cursor", "this list is no longer known: ask for its first page", "cursor_expired")
        self._lists.move_to_end(token)
        begin = int(text)
        end = begin + limit
        return ids[begin:end], f"s.{token}.{end}" if end < len(ids) else None


def is_settled(cursor: str | None) -> bool:
    """Whether a cursor is one of a settled list."""
    return cursor is not None and cursor.startswith("s.")


def sorting(text: str | None, names: Sequence[str]) -> list[tuple[str, bool]]:
    """What `?sort=-severity,opened_at` asks for: names, and whether the greatest comes first. Raises Problem (422)."""
    found: list[tuple[str, bool]] = []
    for part in (text or "").split(","):
        name = part.strip().removeprefix("-")
        if not name:
            continue
        if name not in names or name in {known for known, _ in found}:
            raise unusable("/query/sort", f"expected some of {', '.join(names)}, with - for descending", "bad_sort")
        found.append((name, part.strip().startswith("-")))
    return found
