"""Folders of pictures. The verb is `read_images`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from graphvae.compiler.errors import DataError, Span, visible
from graphvae.lab.sources import Array, Rows, Want, Wanted, check_size, normalised

ENDINGS = (".png", ".jpg", ".jpeg")
FLOAT = 4  # bytes


@dataclass(frozen=True)
class Picture:
    """A picture's size, and whether it has colours."""

    height: int
    width: int
    colour: bool

    @property
    def shape(self) -> tuple[int, ...]:
        return (3 if self.colour else 1, self.height, self.width)

    def __str__(self) -> str:
        return f"{self.height} x {self.width} pixels"


def read_images(folder: Path, wanted: Wanted | None, span: Span | None) -> Rows:
    """The pictures of a folder, in the order of their names, or of the table images.csv in it.

    The columns are `image`, between 0 and 1, gray or in colours as its shape wants; `file`, the path from the folder; and those
    of the table, or else `label`, the name of the folder that a picture stands in, which is empty outside of any.
    """
    table = _table(folder, wanted, span)
    files = [str(file) for file in table.columns["file"]] if table else _files(folder, span)
    labels = [normalised(file.rpartition("/")[0]) for file in files]
    plain = {"file": np.array(files, dtype=object), "label": np.array(labels, dtype=object)}
    columns = dict(table.columns) if table else plain if any(labels) else {"file": plain["file"]}
    names = ("image", *dict.fromkeys([*columns, *(table.names if table else ())]))
    if wanted is None or "image" in wanted:
        columns["image"] = _pixels(folder, files, (wanted or {}).get("image", Want()).event, span)
    return Rows(columns, names, place=lambda row: files[row])


def look(path: Path, span: Span | None = None) -> Picture:
    """What a picture says of itself before it is decoded."""
    with _opened(path, span) as image:
        return Picture(image.height, image.width, colour=image.mode not in ("1", "L", "LA"))


def _table(folder: Path, wanted: Wanted | None, span: Span | None) -> Rows | None:
    """The table beside the pictures, if there is one."""
    from graphvae.lab.tables import read_csv

    path = folder / "images.csv"
    if not path.is_file():
        return None
    asked = None if wanted is None else {**wanted, "file": Want(named=True)}
    table = read_csv(path, asked, span)
    if "file" not in table.names or "image" in table.names:
        message = f"{path} should have a column 'file' that names the pictures, and no column 'image'"
        raise DataError.of("GV302", message, span, f"its columns are: {', '.join(table.names)}")
    for row, file in enumerate(table.columns["file"]):
        if not file or not (folder / str(file)).is_file():
            named = f"there is no picture '{visible(str(file))}'" if file else "no picture is named"
            raise DataError.of("GV301", f"{named} in {folder}, as {table.place(row)} should have it", span)
    return table


def _files(folder: Path, span: Span | None) -> list[str]:
    """Every picture of the folder and of the folders in it, from there."""
    inside = [path.relative_to(folder) for path in folder.rglob("*") if path.suffix.lower() in ENDINGS and path.is_file()]
    paths = sorted(path for path in inside if not any(part.startswith(".") for part in path.parts))
    if not paths:
        raise DataError.of("GV301", f"there is no picture in {folder}", span, f"pictures end in {', '.join(ENDINGS)}")
    for path in paths:
        if len(path.parts) > 2:
            hint = "a picture stands in the folder of its class, or is named in a table: images.csv with a column 'file'"
            raise DataError.of("GV301", f"{path.as_posix()} stands more than one folder deep in {folder}", span, hint)
    return [path.as_posix() for path in paths]


def _pixels(folder: Path, files: Sequence[str], event: tuple[int, ...] | None, span: Span | None) -> Array:
    """The pictures as numbers between 0 and 1, [row, event...]; without an event, as the first of them is."""
    first = look(folder / files[0], span)
    wanted = first if event is None else Picture(event[-2], event[-1], colour=len(event) == 3 and event[0] == 3)
    shape = wanted.shape if event is None else event
    check_size(folder, len(files), int(np.prod(shape)), FLOAT, span)
    pixels = np.empty((len(files), *shape), np.float32)
    for row, file in enumerate(files):
        pixels[row] = decoded(folder / file, wanted, span).reshape(shape)
    pixels /= 255
    return pixels


def decoded(path: Path, wanted: Picture, span: Span | None) -> NDArray[np.uint8]:
    """One picture, [channel, height, width], or [height, width] if it has no colours.

    Raises:
        DataError: If it cannot be read, is of another size, or has no bytes for pixels.
    """
    with _opened(path, span) as image:
        if (image.height, image.width) != (wanted.height, wanted.width):
            message = f"{path} has {image.height} x {image.width} pixels, and not {wanted}"
            raise DataError.of("GV304", message, span, "make all pictures as large as the shape of the variable says")
        if image.mode.startswith(("I", "F")):
            message = f"{path} has pixels of more than 8 bits (mode {image.mode})"
            raise DataError.of("GV304", message, span, "save it with 8 bits a pixel")
        try:
            if image.has_transparency_data and np.asarray(image.convert("RGBA"))[..., 3].min() < 255:
                raise DataError.of("GV304", f"{path} is transparent in places", span, "save it on a background")
            bytes_ = np.asarray(image.convert("RGB" if wanted.colour else "L"))
        except (OSError, SyntaxError, ValueError) as error:
            raise _unreadable(path, error, span) from None
    return np.moveaxis(bytes_, -1, 0) if wanted.colour else bytes_


def _opened(path: Path, span: Span | None) -> Image.Image:
    try:
        return Image.open(path)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise _unreadable(path, error, span) from None


def _unreadable(path: Path, error: Exception, span: Span | None) -> DataError:
    return DataError.of("GV301", f"cannot read the picture {path}: {error}", span, "is the file whole?")
