"""Where the nodes of a sketch stand: `place`. Graphviz gives the positions, and nothing else is asked of it.

The system's `dot` serves where there is one, and the `graphviz-pure` wheel where there is none. p and q are laid out together,
so that both have the same positions; ranks run from top to bottom as p does, from causes down to what is observed.

Plates that cross cannot both be clusters of Graphviz. Where some do, the nodes are sorted into blocks by the plates that they
are in, and the blocks stand side by side in an order in which every plate is a run of neighbours.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import shutil
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from importlib import metadata
from typing import Any

import graphviz

from graphvae.compiler.errors import FlagError
from graphvae.diagrams.boxes import Box, Group
from graphvae.diagrams.scene import Point
from graphvae.diagrams.sketch import Sketch, links

Size = tuple[float, float]
Positions = dict[str, Point]

_WHEEL = "graphviz-pure"
_INSTALL = "install Graphviz (https://graphviz.org/download/) so that `dot` is on the PATH"
_INCH = 72
_BLOCKS = 7


def place(sketch: Sketch, sizes: Mapping[str, Size], gap: float, rank: float, margin: float, label: float) -> Positions:
    """The centre of every node, in points, y upwards.

    `sizes` is the room that each node takes. Neighbours are at least `gap` apart, ranks `rank`, and a box is `margin` wider
    than what is in it, with a label of size `label`.
    """
    text = _as_dot(sketch, sizes, gap, rank, margin, label)
    found = {each["name"]: each["pos"] for each in _run(text)["objects"] if "pos" in each}
    positions = {name: _point(found[name]) for name in sketch.nodes}
    crossing = [group for group in sketch.groups if group.name in sketch.nested.crossing]
    return _in_blocks(positions, sizes, sketch.groups, gap + 2 * margin) if crossing else positions


def _as_dot(sketch: Sketch, sizes: Mapping[str, Size], gap: float, rank: float, margin: float, label: float) -> str:
    attributes = {"newrank": "true", "nodesep": f"{gap / _INCH:.4f}", "ranksep": f"{rank / _INCH:.4f}"}
    drawing = graphviz.Digraph(graph_attr=attributes, node_attr={"shape": "box", "fixedsize": "true", "label": ""})
    nested = sketch.nested
    _fill(drawing, nested.variables, nested.boxes, sizes, sketch, {"margin": f"{margin}", "fontsize": f"{label}"})
    for link in links(sketch):
        if link.upper != link.lower:
            drawing.edge(link.upper, link.lower, **({} if link.ranked else {"constraint": "false"}))
    return str(drawing.source)


def _fill(
    part: graphviz.Digraph,
    names: Iterable[str],
    boxes: Iterable[Box],
    sizes: Mapping[str, Size],
    sketch: Sketch,
    look: dict[str, str],
) -> None:
    for name in names:
        width, height = sizes[name]
        part.node(name, width=f"{width / _INCH:.4f}", height=f"{height / _INCH:.4f}")
    for box in boxes:
        place = {"labelloc": "b", "labeljust": "r"} if box.kind == "plate" else {"labelloc": "t", "labeljust": "l"}
        attributes = {**look, **place, "label": graphviz.escape(sketch.labels[box.name].text)}
        inside = graphviz.Digraph(f"cluster_{box.name}", graph_attr=attributes)
        _fill(inside, box.variables, box.boxes, sizes, sketch, look)
        part.subgraph(inside)


def _run(text: str) -> dict[str, Any]:
    command = [_engine(), "-Tjson"]
    try:
        made = subprocess.run(command, input=text.encode(), capture_output=True, check=True).stdout
        return dict(json.loads(made))
    except OSError as error:
        reason = error.strerror or str(error)
    except subprocess.CalledProcessError as error:
        reason = error.stderr.decode(errors="replace").strip()
    except ValueError as error:
        reason = f"its JSON cannot be read: {error}"
    raise FlagError.of("GV501", f"'{command[0]}' cannot lay out the picture: {reason}", hint=_INSTALL)


def _engine() -> str:
    """The program that lays out: the system's, or that of the wheel, wherever pip put it."""
    system = shutil.which("dot")
    if system:
        return system
    with contextlib.suppress(metadata.PackageNotFoundError):
        programs = [file.locate() for file in metadata.files(_WHEEL) or () if file.stem == _WHEEL]
        if programs:
            return str(programs[0])
    raise FlagError.of("GV501", "there is nothing to draw with: neither `dot` nor graphviz-pure is installed", hint=_INSTALL)


def _point(text: str) -> Point:
    across, up = text.split(",")
    return float(across), float(up)


def _in_blocks(positions: Positions, sizes: Mapping[str, Size], groups: Sequence[Group], gap: float) -> Positions:
    """The positions moved to the left and right, so that the blocks stand next to each other."""
    blocks: dict[frozenset[str], list[str]] = {}
    for name in positions:
        blocks.setdefault(frozenset(group.name for group in groups if name in group.members), []).append(name)
    left = 0.0
    moved: Positions = {}
    for signature in _ordered(list(blocks)):
        names = blocks[signature]
        start = min(positions[name][0] - sizes[name][0] / 2 for name in names)
        moved |= {name: (positions[name][0] - start + left, positions[name][1]) for name in names}
        left = max(moved[name][0] + sizes[name][0] / 2 for name in names) + gap
    return moved


def _ordered(signatures: list[frozenset[str]]) -> Sequence[frozenset[str]]:
    """The order in which groups are torn apart least; of a few blocks, the best of all orders."""
    if len(signatures) > _BLOCKS:
        return signatures
    return min(itertools.permutations(signatures), key=_torn)


def _torn(order: Sequence[frozenset[str]]) -> int:
    """How many blocks stand between those of a group without being in it."""
    total = 0
    for name in set().union(*order):
        held = [number for number, signature in enumerate(order) if name in signature]
        total += held[-1] - held[0] + 1 - len(held)
    return total
