"""A spec as a picture in a file; the verb is `render`."""

from __future__ import annotations

import contextlib
import json
import math
import os
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from graphvae.compiler.check import read_graph
from graphvae.compiler.errors import FlagError, did_you_mean, visible
from graphvae.compiler.graph import ModelGraph
from graphvae.diagrams.scene import Point
from graphvae.diagrams.sketch import Sketch, Style, sketch

if TYPE_CHECKING:
    from graphvae.diagrams.compose import Composed

Written = tuple[bytes, list[str]]
"""A picture, and what a person should know about it."""


def render(
    spec: str | Path,
    output: str | Path,
    settings: Sequence[str] = (),
    plugin: str | Path | None = None,
    *,
    style: Style | None = None,
    layout: str | Path | None = None,
    standalone: bool = False,
) -> list[str]:
    """Draw p and q of a spec into a file, in the format of its suffix; returned is what a person should know about it.

    `layout` is a .json that was written before: what stands in it keeps its place. A .tex file is to be read by another, or is
    a `standalone` document.

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
    if standalone and writer is not _tex:
        raise FlagError.of("GV501", f"'{path}' is complete in itself", hint="only a .tex file can be one or the other")
    drawn = sketch(read_graph(spec, settings, plugin), style or Style())
    pinned = drawn.placed(_places(drawn.graph, Path(layout)) if layout else {})
    picture, remarks = _tex(drawn, pinned, standalone) if writer is _tex else writer(drawn, pinned)
    _write(path, picture)
    return remarks


def _dot(drawn: Sketch, pinned: Mapping[str, Point]) -> Written:
    from graphvae.diagrams.dot import to_dot

    return to_dot(drawn).encode(), []


def _json(drawn: Sketch, pinned: Mapping[str, Point]) -> Written:
    composed = _composed(drawn, pinned)
    places = {name: [round(number, 1) for number in at] for name, at in composed.positions.items()}
    lines = ",\n".join(f"  {json.dumps(name, ensure_ascii=False)}: {at}" for name, at in places.items())
    return f"{{\n{lines}\n}}\n".encode(), _remarks(composed)


def _svg(drawn: Sketch, pinned: Mapping[str, Point]) -> Written:
    from graphvae.diagrams.svg import to_svg

    composed = _composed(drawn, pinned)
    return to_svg(composed.scene), _remarks(composed)


def _paper(kind: Literal["pdf", "png"], drawn: Sketch, pinned: Mapping[str, Point]) -> Written:
    from graphvae.diagrams.paper import to_paper

    composed = _composed(drawn, pinned)
    return to_paper(composed.scene, kind), _remarks(composed)


def _tex(drawn: Sketch, pinned: Mapping[str, Point], standalone: bool = False) -> Written:
    from graphvae.diagrams.tikz import to_tikz
    from graphvae.diagrams.typeset import room_for_latex

    with room_for_latex():
        composed = _composed(drawn, pinned)
    return to_tikz(composed.scene, standalone).encode(), _remarks(composed)


def _mermaid(drawn: Sketch, pinned: Mapping[str, Point]) -> Written:
    from graphvae.diagrams.mermaid import to_mermaid

    return to_mermaid(drawn).encode(), []


def _composed(drawn: Sketch, pinned: Mapping[str, Point]) -> Composed:
    from graphvae.diagrams.compose import compose

    return compose(drawn, pinned)


def _remarks(composed: Composed) -> list[str]:
    if composed.fits:
        return []
    return [f"with letters of 7 points the picture is {composed.scene.width / 72:.2f} inches wide, more than was asked for"]


_WRITERS: dict[str, Callable[[Sketch, Mapping[str, Point]], Written]] = {
    ".svg": _svg,
    ".pdf": partial(_paper, "pdf"),
    ".png": partial(_paper, "png"),
    ".tex": _tex,
    ".dot": _dot,
    ".mmd": _mermaid,
    ".json": _json,
}


def _places(graph: ModelGraph, path: Path) -> dict[str, Point]:
    """The places that a file gives."""
    hint = 'give a .json file that `graphvae render` wrote: {"NAME": [X, Y], ...}, in points, y upwards'
    try:
        places = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        reason = (getattr(error, "strerror", None) or str(error)).lower()
        raise FlagError.of("GV501", f"cannot read places from '{path}': {reason}", hint=hint) from None
    if not isinstance(places, dict) or not all(map(_is_point, places.values())):
        raise FlagError.of("GV501", f"'{path}' is not a mapping of names to pairs of numbers", hint=hint)
    names = [*graph.variables, *graph.plates, *graph.submodels]
    for name in places:
        if name not in names:
            message = f"'{path}' has a place for the unknown '{visible(name)}'"
            raise FlagError.of("GV501", message, hint=did_you_mean(name, names, "names"))
    return {name: (float(across), float(up)) for name, (across, up) in places.items()}


def _is_point(value: object) -> bool:
    return (
        isinstance(value, list)
        and len(value) == 2
        and all(isinstance(number, int | float) and not isinstance(number, bool) and math.isfinite(number) for number in value)
    )


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
