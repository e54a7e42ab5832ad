"""A spec as a picture in a file; the verb is `render`."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from graphvae.compiler.check import read_graph
from graphvae.compiler.errors import FlagError, did_you_mean
from graphvae.diagrams.scene import Point
from graphvae.diagrams.sketch import Sketch, Style, sketch

DOTS_PER_INCH = 300


def render(
    spec: str | Path,
    output: str | Path,
    settings: Sequence[str] = (),
    plugin: str | Path | None = None,
    *,
    style: Style = Style(),  # noqa: B008
    layout: str | Path | None = None,
) -> list[str]:
    """Draw p and q of a spec into a file, in the format of its suffix; returned is what a person should know about it.

    `layout` is a .json that was written before: what stands in it keeps its place.

    Raises:
        SpecError: For every mistake in the spec.
        FlagError: For a setting or plugin that cannot be followed, or an output that cannot be drawn or written.

    >>> render("specs/digits.yaml", "digits.dot")
    []
    >>> Path("digits.dot").read_text().splitlines()[0]
    'digraph digits {'
    """
    path = Path(output)
    writer = _WRITERS.get(path.suffix.lower())
    if writer is None:
        hint = f"end it in one of: {', '.join(_WRITERS)}"
        raise FlagError.of("GV501", f"the format of '{path}' is not known by its suffix", hint=hint)
    drawn = sketch(read_graph(spec, settings, plugin), style)
    picture, remarks = writer(drawn, _pinned(drawn, layout) if layout else {})
    _write(path, picture)
    return remarks


Written = tuple[bytes, list[str]]


def _dot(drawn: Sketch, pinned: Mapping[str, Point]) -> Written:
    from graphvae.diagrams.dot import to_dot

    return to_dot(drawn).encode(), []


def _json(drawn: Sketch, pinned: Mapping[str, Point]) -> Written:
    from graphvae.diagrams.compose import compose

    places = {name: [round(number, 2) for number in at] for name, at in compose(drawn, pinned).positions.items()}
    lines = ",\n".join(f"  {json.dumps(name, ensure_ascii=False)}: {at}" for name, at in places.items())
    return f"{{\n{lines}\n}}\n".encode(), []


def _scene(write: Callable[[Scene], bytes]) -> Callable[[Sketch, Mapping[str, Point]], Written]:
    ...


def _pinned(drawn: Sketch, layout: str | Path) -> dict[str, Point]:
    ...


def _write(path: Path, picture: bytes) -> None:
    """The whole file, or the one that stood there before."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        if path.exists():
            path.open("ab").close()  # a file that may not be written is not replaced either
        temporary.write_bytes(picture)
        temporary.replace(path)
    except OSError as error:
        hint = "choose another output" if path.parent.is_dir() else f"there is no folder '{path.parent}'"
        reason = (error.strerror or str(error)).lower()
        raise FlagError.of("GV501", f"cannot write '{path}': {reason}", hint=hint) from None
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()
