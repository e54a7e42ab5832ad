"""A spec as a picture in a file; the verb is `render`."""

from __future__ import annotations

import contextlib
import json
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from graphvae.compiler.check import read_graph
from graphvae.compiler.errors import FlagError, did_you_mean, visible
from graphvae.compiler.graph import ModelGraph
from graphvae.diagrams.scene import Point
from graphvae.diagrams.sketch import Sketch, Style, sketch

if TYPE_CHECKING:
    from graphvae.diagrams.compose import Composed

FORMATS = ("svg", "pdf", "png", "tex", "dot", "mmd", "json")


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

    `layout` is a .json that was written before: what stands in it keeps its place. `standalone` makes a .tex file a document.

    Raises:
        SpecError: For every mistake in the spec.
        FlagError: For a setting or plugin that cannot be followed, or an output that cannot be drawn or written.

    >>> render("specs/digits.yaml", "digits.dot")
    []
    >>> Path("digits.dot").read_text().splitlines()[0]
    'digraph digits {'
    """
    path = Path(output)
    kind = path.suffix.lower().removeprefix(".")
    if kind not in FORMATS:
        hint = f"end it in one of: {', '.join(f'.{name}' for name in FORMATS)}"
        raise FlagError.of("GV501", f"the format of '{path}' is not known by its suffix", hint=hint)
    if standalone and kind != "tex":
        raise FlagError.of(
            "GV501", f"only a .tex file can be a document that stands alone, and not '{path}'", hint="leave it out"
        )
    drawn = sketch(read_graph(spec, settings, plugin), style or Style())
    if kind in ("dot", "mmd"):
        _write(path, _text(kind, drawn).encode())
        return []
    composed = _composed(kind, drawn, drawn.placed(_places(drawn.graph, Path(layout)) if layout else {}))
    _write(path, _drawn(kind, composed, standalone))
    return [] if composed.fits else [f"{composed.scene.width / 72:.2f} inches wide: its letters would be smaller than 7 points"]


def _text(kind: str, drawn: Sketch) -> str:
    """What others lay out."""
    if kind == "dot":
        from graphvae.diagrams.dot import to_dot

        return to_dot(drawn)
    from graphvae.diagrams.mermaid import to_mermaid

    return to_mermaid(drawn)


def _composed(kind: str, drawn: Sketch, places: Mapping[str, Point]) -> Composed:
    """The picture with its places; what LaTeX sets needs the room that it takes there."""
    from graphvae.diagrams.compose import compose
    from graphvae.diagrams.typeset import room_for_latex

    with room_for_latex() if kind == "tex" else contextlib.nullcontext():
        return compose(drawn, places)


def _drawn(kind: str, composed: Composed, standalone: bool) -> bytes:
    """What is laid out here."""
    if kind == "json":
        places = {name: [round(number, 1) for number in place] for name, place in composed.positions.items()}
        lines = ",\n".join(f"  {json.dumps(name, ensure_ascii=False)}: {place}" for name, place in places.items())
        return f"{{\n{lines}\n}}\n".encode()
    if kind == "tex":
        from graphvae.diagrams.tikz import to_tikz

        return to_tikz(composed.scene, standalone).encode()
    if kind == "svg":
        from graphvae.diagrams.svg import to_svg

        return to_svg(composed.scene)
    from graphvae.diagrams.paper import to_paper

    return to_paper(composed.scene, "pdf" if kind == "pdf" else "png")


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
