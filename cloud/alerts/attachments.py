"""Evidence of rectification items: files under the data directory, named by the hash of what is in them.

What a file is, is read from its first bytes; what its name or its sender says does not count. A file is on disk,
with its folder, before its row says so; one without a row (power went in between) is found again by its hash.
"""

import hashlib
import os
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec
import sqlalchemy as sa

from cloud.facts.database import reading, writing
from cloud.facts.failures import asking
from cloud.facts.tables_handling import attachments
from devices.errors import Permanent, StorageUnavailable

BYTES_MAX = 10 * 1024 * 1024  # a photograph of a phone
PER_ITEM_MAX = 50
NAME_LENGTH_MAX = 120
_TEXT_LOOKED_AT = 1 << 16
_BEGINNINGS = (
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"%PDF-", "application/pdf"),
)


class Attachment(msgspec.Struct, frozen=True):
    """One file of an item. `size` is in bytes; `at_ms` is Unix ms UTC."""

    item: str
    id: str
    name: str
    media_type: str
    size: int
    sha256: str
    actor: str
    at_ms: int


class Unacceptable(Permanent):
    """A file that is not kept: of a kind that is not allowed, too large, empty, or one too many."""


def media_type_of(content: bytes) -> str | None:
    """What these bytes are, of what is kept; None for anything else."""
    for beginning, media_type in _BEGINNINGS:
        if content.startswith(beginning):
            return media_type
    if content[:4] == b"RIFF" and content[8:12] == b"WEBP":
        return "image/webp"
    return "text/plain" if _is_text(content) else None


def _is_text(content: bytes) -> bool:
    """UTF-8 without control characters; markup that a browser would run is no plain text."""
    try:
        text = content.decode()
    except UnicodeDecodeError:
        return False
    odd = any(ord(one) < 32 and one not in "\t\r\n" for one in text[:_TEXT_LOOKED_AT])
    return bool(text) and not odd and not text.lstrip("\ufeff \t\r\n").startswith("<")


@dataclass(frozen=True, slots=True)
class AttachmentStore:
    """Files of one data directory. Every method blocks; call them from a thread."""

    engine: sa.Engine
    folder: Path

    def add(self, site: str, item: str, name: str, content: bytes, *, actor: str, now_ms: int) -> Attachment:
        """Keep a file. The same content twice at one item is one. Raises Unacceptable, StorageUnavailable."""
        if not 0 < len(content) <= BYTES_MAX:
            raise Unacceptable(f"a file has 1 to {BYTES_MAX} bytes")
        media_type = media_type_of(content)
        if media_type is None:
            raise Unacceptable("kept are PNG, JPEG, WebP, PDF and plain text, told by what is in the file")
        digest = hashlib.sha256(content).hexdigest()
        known = self.of(site, item)
        for one in known:
            if one.sha256 == digest:
                return one
        if len(known) >= PER_ITEM_MAX:
            raise Unacceptable(f"an item has at most {PER_ITEM_MAX} files")
        self._write(digest, content)
        added = Attachment(
            item, f"at_{digest[:26]}", _safe(name), media_type, len(content), digest, actor, now_ms
        )  # fmt: skip
        with asking("attachments"), writing(self.engine) as connection:
            connection.execute(attachments.insert(), {"site": site, **msgspec.structs.asdict(added)})
        return added

    def of(self, site: str, item: str) -> list[Attachment]:
        """Give the files of an item, oldest first."""
        columns = [attachments.c[name] for name in Attachment.__struct_fields__]
        where = (attachments.c.site == site) & (attachments.c.item == item)
        with asking("attachments"), reading(self.engine) as connection:
            rows = connection.execute(sa.select(*columns).where(where).order_by(attachments.c.at_ms, attachments.c.id))
            return [Attachment(*row) for row in rows]

    def content(self, attachment: Attachment) -> bytes:
        """Give what is in a file, as it was sent. Raises StorageUnavailable when it is gone or was changed."""
        try:
            content = self._path(attachment.sha256).read_bytes()
        except OSError as error:
            raise StorageUnavailable(f"{attachment.name} cannot be read: {error.strerror}") from error
        if hashlib.sha256(content).hexdigest() != attachment.sha256:
            raise StorageUnavailable(f"{attachment.name} is no longer what was sent")
        return content

    def _path(self, digest: str) -> Path:
        return self.folder / digest[:2] / digest

    def _write(self, digest: str, content: bytes) -> None:
        path = self._path(digest)
        temporary = path.with_name(f".{digest}.{secrets.token_hex(4)}")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with temporary.open("xb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
            for folder in (path.parent, self.folder):
                _sync(folder)
        except OSError as error:
            temporary.unlink(missing_ok=True)
            raise StorageUnavailable(f"attachments cannot be written now: {error.strerror}") from error


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _safe(name: str) -> str:
    """The last part of a name, without anything that a header or a file system could take amiss."""
    kept = "".join(_allowed(name.replace("\\", "/").rsplit("/", 1)[-1])).strip(" .")
    return kept[-NAME_LENGTH_MAX:] or "attachment"


def _allowed(name: str) -> Iterator[str]:
    return (one for one in name if one.isalnum() or one in " ._-()")
