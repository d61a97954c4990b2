"""A store that does not answer, told in our own words, for parts that know no SQL."""

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy.exc import OperationalError

from devices.errors import StorageUnavailable


@contextmanager
def asking(what: str) -> Iterator[None]:
    """Raise StorageUnavailable where the store raises OperationalError: locked for too long, disk full, I/O error."""
    try:
        yield
    except OperationalError as error:
        raise StorageUnavailable(f"{what} cannot be read or written now: {error.orig}") from error
