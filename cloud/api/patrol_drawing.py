"""A day of patrol as data for a page (compact), as PNG and as SVG. Pure; lengths of the drawing in pixels.

Cells: the darker the more passes; orange: required and not visited; grey: nothing is required.
"""

import base64
import json
import struct
import zlib
from itertools import pairwise
from typing import Any
from xml.sax.saxutils import escape

import numpy as np
from numpy.typing import NDArray

from cloud.facts.patrol_picture import PATH_M, PatrolPicture, simplified
from devices.reading import Int64s

Json = dict[str, Any]
PICTURE_BYTES_MAX = 30_000  # of the data for a page
TOLERANCE_M_MAX = 25.6
PIXELS_PER_CELL = 6
IMAGE_PIXELS_MAX = 4_000  # on the longer side
PASSES_TEXT_MAX = 18_000  # beyond it passes are told rounded down to a power of two
_OUTSIDE, _MISSED, _PATH = (236, 236, 232), (240, 163, 94), (16, 40, 130)
_SEEN = ((222, 239, 228), (180, 217, 193), (130, 191, 152), (88, 162, 116))  # 1, 2 to 3, 4 to 7, 8 and more passes
_WALL = (70, 70, 70)
Pixels = NDArray[np.uint8]


def picture_json(picture: PatrolPicture, head: Json) -> Json:
    """The data for a page: at most PICTURE_BYTES_MAX as JSON, paths as true as that allows.

    `passes` are bytes by cell, row 0 at the bottom, `required` bits by cell, most significant first; both zlib in
    base64. `passes_rounded`: they are rounded down to powers of two. A path is a list of lines
    [x, y, dx, dy, dx, dy, ...] in decimetres of the floor.
    """
    passes = _packed(picture.passes.tobytes())
    rounded = len(passes) > PASSES_TEXT_MAX
    if rounded:
        passes = _packed(_powers_of_two(picture.passes).tobytes())
    data: Json = {
        **head,
        "cell_m": picture.raster.cell_mm / 1000,
        "row": picture.row,
        "column": picture.column,
        "rows": picture.passes.shape[0],
        "columns": picture.passes.shape[1],
        "cells_required": int(picture.required.sum()),
        "cells_covered": int((picture.required & (picture.passes > 0)).sum()),
        "passes": passes,
        "passes_rounded": rounded,
        "required": _packed(np.packbits(picture.required).tobytes()),
    }
    tolerance_m, paths = PATH_M, {}
    while tolerance_m <= TOLERANCE_M_MAX:
        paths = {robot: [_decimetres(line) for line in lines]
                 for robot, lines in simplified(picture.paths, tolerance_m).items()}  # fmt: skip
        whole = {**data, "path_tolerance_m": tolerance_m, "paths": paths}
        if len(json.dumps(whole, separators=(",", ":"))) <= PICTURE_BYTES_MAX:
            return whole
        tolerance_m *= 2
    return {**data, "path_tolerance_m": None, "paths": {}}


def _decimetres(line: Int64s) -> list[int]:
    places = (line + 50) // 100
    steps = np.diff(places, axis=0)
    steps = steps[np.any(steps != 0, axis=1)]
    return [*places[0].tolist(), *steps.ravel().tolist()]


def _powers_of_two(passes: Pixels) -> Pixels:
    powers = np.array([0, 1, 2, 4, 8, 16, 32, 64, 128], np.uint8)
    found: Pixels = powers[np.searchsorted(powers, passes, "right") - 1]
    return found


def _packed(data: bytes) -> str:
    return base64.b64encode(zlib.compress(data, 9)).decode("ascii")


def picture_png(picture: PatrolPicture) -> bytes:
    """An image, row 0 of the floor at its lower edge."""
    scale = _scale(picture)
    pixels = np.repeat(np.repeat(_colours(picture), scale, axis=0), scale, axis=1)
    for lines in picture.paths.values():
        for line in lines:
            _draw(pixels, _in_pixels(picture, line), _PATH)
    floor = next(one for one in picture.plan.ledger.floors if one.id == picture.raster.floor)
    for wall in floor.walls:
        _draw(pixels, _in_pixels(picture, np.rint(np.array(wall) * 1000).astype(np.int64)), _WALL)
    return _png(np.ascontiguousarray(pixels[::-1]))


def picture_svg(picture: PatrolPicture, title: str) -> str:
    """The same as a drawing: cells as runs of rows, paths as lines."""
    scale = _scale(picture)
    rows, columns = picture.passes.shape
    height = rows * scale
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {columns * scale} {height}" role="img">',
        f"<title>{escape(title)}</title>",
        f'<rect width="{columns * scale}" height="{height}" fill="{_hex(_OUTSIDE)}"/>',
    ]
    colours = _colours(picture)
    for colour in (_MISSED, *_SEEN):
        here = np.all(colours == np.array(colour, np.uint8), axis=2)
        runs = "".join(_run_path(here, height, scale))
        if runs:
            parts.append(f'<path fill="{_hex(colour)}" d="{runs}"/>')
    floor = next(one for one in picture.plan.ledger.floors if one.id == picture.raster.floor)
    walls = [np.rint(np.array(wall) * 1000).astype(np.int64) for wall in floor.walls]
    drawn = [(_WALL, 2.0, walls), *((_PATH, 1.0, lines) for lines in simplified(picture.paths, PATH_M).values())]
    for colour, width, lines in drawn:
        for line in lines:
            places = _in_pixels(picture, line)
            points = " ".join(f"{x},{height - y}" for x, y in places.tolist())
            stroke = f'fill="none" stroke="{_hex(colour)}" stroke-width="{width}" stroke-linejoin="round"'
            parts.append(f'<polyline {stroke} points="{points}"/>')
    return "\n".join([*parts, "</svg>\n"])


def _colours(picture: PatrolPicture) -> Pixels:
    passes, required = picture.passes, picture.required
    pixels: Pixels = np.empty((*passes.shape, 3), np.uint8)
    pixels[:] = _OUTSIDE
    pixels[required] = _MISSED
    for least, colour in zip((1, 2, 4, 8), _SEEN, strict=True):
        pixels[passes >= least] = colour
    return pixels


def _run_path(here: NDArray[np.bool_], height: int, scale: int) -> list[str]:
    found = []
    for row in range(here.shape[0]):
        edges = np.flatnonzero(np.diff(np.concatenate([[False], here[row], [False]]).astype(np.int8)))
        for begin, end in edges.reshape(-1, 2).tolist():
            found.append(
                f"M{begin * scale} {height - (row + 1) * scale}h{(end - begin) * scale}v{scale}H{begin * scale}z"
            )
    return found


def _in_pixels(picture: PatrolPicture, line: Int64s) -> Int64s:
    """Millimetres of the floor -> pixels of the image, y upwards."""
    cell = picture.raster.cell_mm
    corner = np.array([picture.column * cell, picture.row * cell])
    found: Int64s = (line - corner) * _scale(picture) // cell
    return found


def _scale(picture: PatrolPicture) -> int:
    """Pixels to a cell."""
    cells = int(max(picture.passes.shape))
    return max(1, min(PIXELS_PER_CELL, IMAGE_PIXELS_MAX // cells))


def _draw(pixels: Pixels, line: Int64s, colour: tuple[int, int, int]) -> None:
    for begin, end in pairwise(line):
        count = int(np.abs(end - begin).max()) + 1
        x = np.rint(np.linspace(begin[0], end[0], count)).astype(np.int64)
        y = np.rint(np.linspace(begin[1], end[1], count)).astype(np.int64)
        inside = (x >= 0) & (y >= 0) & (x < pixels.shape[1]) & (y < pixels.shape[0])
        pixels[y[inside], x[inside]] = colour


def _png(pixels: Pixels) -> bytes:
    """Truecolour, 8 bit, no filter."""
    height, width, _ = pixels.shape
    rows = np.concatenate([np.zeros((height, 1), np.uint8), pixels.reshape(height, width * 3)], axis=1)
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(rows.tobytes(), 6)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    )


def _hex(colour: tuple[int, int, int]) -> str:
    return "#{:02x}{:02x}{:02x}".format(*colour)
