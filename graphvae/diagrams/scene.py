"""Scene: a picture with every place in it decided, before it is written in any format.

All lengths are points (1/72 inch), x to the right and y upwards, from the lower left corner of the picture. A writer decides
nothing but how its format says an ellipse, a curve and a piece of mathematics.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Literal, TypeVar, cast

from graphvae.diagrams.symbols import Symbol

Point = tuple[float, float]
Part = TypeVar("Part")
Look = Literal["latent", "observed", "supervised", "deterministic", "given", "sub-model"]
Align = Literal["left", "centre", "right"]


@dataclass(frozen=True)
class Text:
    """A line of text: its size in points, and where it stands, which is halfway up a small letter."""

    symbol: Symbol
    at: Point
    size: float
    align: Align = "centre"


@dataclass(frozen=True)
class Mark:
    """A variable, the index of a plate, or a parameter: an ellipse with its symbol in the middle.

    A latent one is white, an observed one grey, a supervised one grey in its left half; what is given has no outline, and a
    closed sub-model is a rectangle. `double` is a second outline inside the first: a deterministic variable, and one that is
    collapsed to its mean.
    """

    name: str
    look: Look
    text: Text
    width: float
    height: float
    double: bool = False

    @property
    def centre(self) -> Point:
        """Where its symbol stands."""
        return self.text.at


@dataclass(frozen=True)
class Arrow:
    """A parent and its child, by the names of their marks: solid in p, dashed in q.

    `curve` is a chain of cubic Bezier curves, one point and then three for each, clipped at the outlines of what it joins.
    An arrow that is not `pointed` ends at the factor of its child. `previous` says that it comes from the slot before.
    """

    side: Literal["p", "q"]
    tail: str
    head: str
    curve: tuple[Point, ...]
    pointed: bool = True
    previous: bool = False
    label: Text | None = None


@dataclass(frozen=True)
class Factor:
    """A conditional as a black square, with an arrow from it to its variable, and the name of its family."""

    side: Literal["p", "q"]
    child: str
    centre: Point
    curve: tuple[Point, ...]
    caption: Text


@dataclass(frozen=True)
class Frame:
    """A plate, with rounded corners, or a sub-model, without, by its corners at the lower left and the upper right."""

    kind: Literal["plate", "sub-model"]
    name: str
    label: Text
    lower: Point
    upper: Point

    @property
    def box(self) -> tuple[float, float, float, float]:
        """Its left, lower, right and upper edge."""
        return *self.lower, *self.upper


@dataclass(frozen=True)
class Panel:
    """p, q, both over each other, or the legend. Frames come first and are drawn from the outside in; captions are below."""

    name: Literal["p", "q", "overlay", "legend"]
    frames: tuple[Frame, ...]
    arrows: tuple[Arrow, ...]
    factors: tuple[Factor, ...]
    marks: tuple[Mark, ...]
    texts: tuple[Text, ...]


def over_arrows(panel: Panel) -> Iterator[Text]:
    """What is written over arrows, on a white ground: their labels, and the families at factors."""
    yield from (arrow.label for arrow in panel.arrows if arrow.label)
    yield from (factor.caption for factor in panel.factors)


@dataclass(frozen=True)
class Scene:
    """A whole picture. `title` and `description` say in words what is seen."""

    title: str
    description: str
    width: float
    height: float
    panels: tuple[Panel, ...]


def moved(part: Part, across: float, up: float) -> Part:
    """Anything of a scene, moved."""
    if isinstance(part, tuple) and len(part) == 2 and all(isinstance(number, float) for number in part):
        return cast(Part, (part[0] + across, part[1] + up))
    if isinstance(part, tuple):
        return cast(Part, tuple(moved(each, across, up) for each in part))
    if is_dataclass(part) and not isinstance(part, type):
        return replace(part, **{each.name: moved(getattr(part, each.name), across, up) for each in fields(part)})
    return part
