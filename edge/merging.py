"""Many pieces of content into the one of a frame.

A piece names its series by their ids in the agent's series table; a frame has a dictionary of its own, so
that it can be read alone. Merging keeps the order in which the pieces were handled.
"""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from devices.columns import Confirmations, Numbers, Poses, Texts
from devices.frame import Content
from devices.reading import Int32s, Series


def merge(pieces: Sequence[Content], series_of: Callable[[int], Series]) -> Content:
    """One self-contained Content. `series_of` gives the series of a table id."""
    numbers = _numbers([piece.numbers for piece in pieces if len(piece.numbers)])
    texts = _texts([piece.texts for piece in pieces if len(piece.texts)])
    poses = _poses([piece.poses for piece in pieces if len(piece.poses)])
    confirmations = _confirmations([piece.confirmations for piece in pieces if len(piece.confirmations)])
    used = np.unique(np.concatenate([numbers.series, texts.series, poses.series, confirmations.series]))
    return Content(
        series=tuple(series_of(one) for one in used.tolist()),
        numbers=Numbers(_renumber(numbers.series, used), numbers.time_ms, numbers.value, numbers.quality),
        texts=Texts(_renumber(texts.series, used), texts.time_ms, texts.word, texts.quality, texts.words),
        poses=_with_series(poses, _renumber(poses.series, used)),
        confirmations=Confirmations(
            _renumber(confirmations.series, used),
            confirmations.changed_ms,
            confirmations.confirmed_ms,
            confirmations.value,
            confirmations.quality,
        ),
        records=tuple(record for piece in pieces for record in piece.records),
    )


def _renumber(series: Int32s, used: Int32s) -> Int32s:
    return np.searchsorted(used, series).astype(np.int32)


def _with_series(poses: Poses, series: Int32s) -> Poses:
    return Poses(
        series,
        poses.time_ms,
        poses.x_mm,
        poses.y_mm,
        poses.theta_mrad,
        poses.map,
        poses.flags,
        poses.quality,
        poses.maps,
    )


def _numbers(parts: list[Numbers]) -> Numbers:
    if len(parts) < 2:
        return parts[0] if parts else Numbers.empty()
    return Numbers(
        np.concatenate([part.series for part in parts]),
        np.concatenate([part.time_ms for part in parts]),
        np.concatenate([part.value for part in parts]),
        np.concatenate([part.quality for part in parts]),
    )


def _texts(parts: list[Texts]) -> Texts:
    if len(parts) < 2:
        return parts[0] if parts else Texts.empty()
    words, indexes = _one_list([(part.words, part.word) for part in parts])
    return Texts(
        np.concatenate([part.series for part in parts]),
        np.concatenate([part.time_ms for part in parts]),
        indexes,
        np.concatenate([part.quality for part in parts]),
        words,
    )


def _poses(parts: list[Poses]) -> Poses:
    if len(parts) < 2:
        return parts[0] if parts else Poses.empty()
    maps, indexes = _one_list([(part.maps, part.map) for part in parts])
    return Poses(
        np.concatenate([part.series for part in parts]),
        np.concatenate([part.time_ms for part in parts]),
        np.concatenate([part.x_mm for part in parts]),
        np.concatenate([part.y_mm for part in parts]),
        np.concatenate([part.theta_mrad for part in parts]),
        indexes,
        np.concatenate([part.flags for part in parts]),
        np.concatenate([part.quality for part in parts]),
        maps,
    )


def _confirmations(parts: list[Confirmations]) -> Confirmations:
    if len(parts) < 2:
        return parts[0] if parts else Confirmations.empty()
    return Confirmations(
        np.concatenate([part.series for part in parts]),
        np.concatenate([part.changed_ms for part in parts]),
        np.concatenate([part.confirmed_ms for part in parts]),
        np.concatenate([part.value for part in parts]),
        np.concatenate([part.quality for part in parts]),
    )


def _one_list(parts: list[tuple[tuple[str, ...], Int32s]]) -> tuple[tuple[str, ...], Int32s]:
    """Join word lists, each with the column that indexes it, into one list without repetition."""
    known: dict[str, int] = {}
    columns: list[NDArray[np.int32]] = []
    for words, column in parts:
        new = np.array([known.setdefault(word, len(known)) for word in words], np.int32)
        columns.append(new[column])
    return tuple(known), np.concatenate(columns)
