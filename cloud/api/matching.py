"""Optimistic locking: the ETag of a thing is its version, and If-Match says which version somebody has seen."""

from typing import Annotated

from fastapi import Header

from cloud.api.problems import Problem, unusable

IfMatch = Annotated[str | None, Header()]


def etag(version: int) -> str:
    """The ETag of a version."""
    return f'"{version}"'


def seen_version(if_match: str | None) -> int | None:
    """The version that If-Match names; None where it is absent or `*`. Raises Problem (422)."""
    if if_match is None or if_match.strip() == "*":
        return None
    text = if_match.strip().strip('"')
    if not text.isascii() or not text.isdigit() or len(text) > 9:
        raise unusable("/header/if-match", 'expected the ETag that you read, like "3"', "bad_etag")
    return int(text)


def must_have_seen(if_match: str | None) -> int | None:
    """As `seen_version`, for PUT, PATCH and DELETE: without If-Match they are refused. Raises Problem (428, 422)."""
    if if_match is None:
        raise Problem(428, "if_match_required", "Send If-Match with the ETag that you read.")
    return seen_version(if_match)
