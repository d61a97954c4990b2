"""`journal` in site.yaml: how much of the disk the journal may take."""

from pydantic import Field

from devices.document import Section

JOURNAL_BYTES_MAX = 2 * 1024**3  # about three days of a busy site, on the smallest disk worth buying
JOURNAL_BYTES_MIN = 4 * 1024**2  # both lanes need a few segments
FREE_BYTES_MIN = 64 * 1024**2  # what the operating system needs to stay alive


class JournalSettings(Section):
    """`max_bytes` is never exceeded; `min_free_bytes` of the file system are left to others."""

    max_bytes: int = Field(default=JOURNAL_BYTES_MAX, ge=JOURNAL_BYTES_MIN)
    min_free_bytes: int = Field(default=FREE_BYTES_MIN, ge=0)
