"""The cropped faces of Extended Yale B: an .npz file, or the folders of the original PGM files. The verb is `read_yaleb`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from graphvae.compiler.errors import DataError, Span, visible
from graphvae.lab.images import Picture, decoded, look
from graphvae.lab.sources import Rows, Want, Wanted, read_source

HEIGHT, WIDTH = 48, 42
PACKED = f"yaleb_{HEIGHT}x{WIDTH}.npz"
NAME = re.compile(r"(yaleB\d\d)_P00A([+-]\d{3})E([+-]\d\d)\.pgm")
Bytes = NDArray[np.uint8]


class Face(NamedTuple):
    """What the name of a file says: the person, and where the light is, in degrees."""

    identity: str
    azimuth: int
    elevation: int


def read_yaleb(path: Path | None, wanted: Wanted | None, span: Span | None) -> Rows:
    """38 people under up to 64 lights: an .npz file with `images` and `filename`, a folder with such a file, or the PGM files.

    The columns are `image` [48, 42] between 0 and 1; `identity`, such as yaleB01; `azimuth` and `elevation` of the light, in
    degrees, as the files are named; and `direction`, the unit vector from the face to the light. Its axes are those of the
    picture: to the right, upwards, and towards the camera. A positive azimuth is on the left of the picture.

    Raises:
        DataError: If there are no such faces, or they cannot be read.
    """
    if path is None:
        hint = f"pass --data PATH, or write it in the spec as data: {{path: PATH}}: {PACKED}, or the folder of the PGM files"
        raise DataError.of("GV301", "the source yaleb needs its file or folder", span, hint)
    packed = path / PACKED if (path / PACKED).is_file() else path
    files, pixels = _unpacked(path, span) if packed.is_dir() else _packed(packed, span)
    faces = [_face(file, path, span) for file in files]
    columns = {
        "image": pixels.astype(np.float32) / np.float32(255),
        "identity": np.array([face.identity for face in faces], dtype=object),
        "direction": _direction(faces),
        "azimuth": np.array([face.azimuth for face in faces], np.float32),
        "elevation": np.array([face.elevation for face in faces], np.float32),
    }
    return Rows(columns, tuple(columns), place=lambda row: files[row])


def _packed(path: Path, span: Span | None) -> tuple[list[str], Bytes]:
    """The names of the files, and their pixels [row, height, width]."""
    columns = read_source("npz", path, {"images": Want(), "filename": Want()}, span).columns
    if len(columns) < 2:
        raise DataError.of("GV302", f"{path} should have the arrays 'images' and 'filename'", span, f"as {PACKED} has")
    pixels = columns["images"]
    if pixels.ndim != 3 or pixels.dtype != np.uint8:
        message = f"'images' in {path} should be bytes [row, height, width], and is {pixels.dtype} {list(pixels.shape)}"
        raise DataError.of("GV304", message, span)
    return columns["filename"].astype(str).tolist(), pixels.astype(np.uint8, copy=False)


def _unpacked(folder: Path, span: Span | None) -> tuple[list[str], Bytes]:
    """The same of the folder of a person each, in the order of their lights; files with other names are left out."""
    found = [path for path in folder.rglob("*.pgm") if NAME.fullmatch(path.name)]
    if not found:
        hint = "the files are called like yaleB01/yaleB01_P00A+000E+00.pgm"
        raise DataError.of("GV301", f"there are no faces of Extended Yale B in {folder}", span, hint)
    found.sort(key=lambda path: _face(path.name, folder, span))
    size = look(found[0], span)
    grey = Picture(size.height, size.width, colour=False)
    if size.height % HEIGHT or size.height * WIDTH != size.width * HEIGHT:
        message = f"{found[0]} has {size}, no multiple of {HEIGHT} x {WIDTH}"
        raise DataError.of("GV304", message, span, "the cropped faces have 192 x 168 pixels")
    return [path.name for path in found], np.stack([_smaller(decoded(path, grey, span)) for path in found])


def _face(file: str, path: Path, span: Span | None) -> Face:
    found = NAME.fullmatch(file)
    if found is None:
        message = f"'{visible(file)}' in {path} is not the name of a face, such as yaleB01_P00A+000E+00.pgm"
        raise DataError.of("GV304", message, span)
    identity, azimuth, elevation = found.groups()
    return Face(identity, int(azimuth), int(elevation))


def _smaller(pixels: Bytes) -> Bytes:
    """A picture whose every pixel is the mean of a square of pixels, to the nearest byte."""
    side = len(pixels) // HEIGHT
    sums = pixels.reshape(HEIGHT, side, WIDTH, side).sum((1, 3), dtype=np.int64)
    smaller: Bytes = ((sums + side**2 // 2) // side**2).astype(np.uint8)
    return smaller


def _direction(faces: Sequence[Face]) -> NDArray[np.float32]:
    """Unit vectors [row, 3]: to the right of the picture, upwards, towards the camera."""
    azimuth, elevation = np.radians([(face.azimuth, face.elevation) for face in faces]).T
    across = np.cos(elevation)
    vectors = np.stack([-across * np.sin(azimuth), np.sin(elevation), across * np.cos(azimuth)], axis=1)
    return vectors.astype(np.float32)
