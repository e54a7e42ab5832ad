"""The shapes of expressions: the named axes of every part, and how parts meet. The verb is `meet`.

The dimensions of a value have names: its plates, then the axes of its event. A vector is channels, a picture of two dimensions
has height and width, one of three channel, height and width. Two values meet by name: an axis that one of them does not have is
inserted, an axis of size 1 stretches, and anything else is an error.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from graphvae.compiler.errors import SpecError, visible
from graphvae.compiler.expressions import ATOM, Expression, written
from graphvae.compiler.plugins import Arity

CHANNEL, HEIGHT, WIDTH = EVENT_AXES = ("channel", "height", "width")
NAMED: Mapping[int, tuple[str, ...]] = {0: (), 1: (CHANNEL,), 2: (HEIGHT, WIDTH), 3: EVENT_AXES}

Axes = tuple[tuple[str, int], ...]
"""The axes of an event with their sizes, in the order of their dimensions."""


@dataclass(frozen=True)
class Known:
    """A name that an expression may read: its Python name, its plates, and its event's shape."""

    python: str
    plates: tuple[str, ...]
    event: tuple[int, ...]


@dataclass(frozen=True)
class Weights:
    """The active weights of a plate's slots: their Python name, and the plates that they have, that one the last."""

    python: str
    plates: tuple[str, ...]


@dataclass(frozen=True)
class Environment:
    """What an expression may read.

    `plates` are in their order, outermost first; `weights` are those of the plates whose slots are counted; `wanted` is the
    shape that the whole expression is for, where it is stated; `functions` are a person's own.
    """

    names: Mapping[str, Known]
    plates: tuple[str, ...] = ()
    weights: Mapping[str, Weights] = field(default_factory=dict)
    wanted: tuple[int, ...] | None = None
    functions: Mapping[str, Arity | None] = field(default_factory=dict)


@dataclass(frozen=True)
class Text:
    """The Python text of a part of an expression.

    `binds` says how tightly it holds together; `needs` what it imports, `torch.nn.functional`, `torch`, a name of the runtime,
    or `plugin.NAME`; `reads` the names in it. What follows from numbers alone is a `number`, or a vector
    that is `fixed`: without rows and plates.
    """

    tree: Expression
    code: str
    binds: int = ATOM
    plates: tuple[str, ...] = ()
    axes: Axes = ()
    needs: tuple[str, ...] = ()
    reads: tuple[str, ...] = ()
    number: float | None = None
    fixed: bool = False

    @property
    def event(self) -> tuple[int, ...]:
        """The shape of the event."""
        return tuple(size for _, size in self.axes)

    @property
    def dimensions(self) -> tuple[str, ...]:
        """The names of its dimensions behind the row."""
        return (*self.plates, *(name for name, _ in self.axes))

    @property
    def shown(self) -> str:
        """Its plates, axes and sizes, for a message."""
        return ", ".join([*self.plates, *(f"{name} {size}" for name, size in self.axes)]) or "no axes"

    @property
    def named(self) -> str:
        """The part as a message names it."""
        return f"'{visible(written(self.tree))}'"

    def within(self, binds: int) -> str:
        """The text where it must hold together so tightly."""
        return self.code if self.binds >= binds else f"({self.code})"

    def place(self, name: str) -> int:
        """Where a dimension stands, counted from the right."""
        return self.dimensions.index(name) - len(self.dimensions)


def axes_of(event: Sequence[int]) -> Axes:
    """The axes of an event's shape.

    >>> axes_of((48, 42))
    (('height', 48), ('width', 42))
    """
    names = NAMED.get(len(event)) or tuple(f"axis{place}" for place in range(len(event)))
    return tuple(zip(names, event, strict=True))


def meet(parts: Sequence[Text], environment: Environment) -> list[Text]:
    """Values that meet by name, each with the dimensions of all; a number needs none.

    Raises SpecError GV120 where two have an axis of different sizes.
    """
    seen: dict[str, tuple[int, Text]] = {}
    for part in parts:
        for name, size in part.axes:
            before, other = seen.get(name, (1, part))
            if size != before and 1 not in (size, before):
                message = f"{other.named} has {other.shown}, and {part.named} has {part.shown}: they differ in '{name}'"
                raise SpecError.of("GV120", message, part.tree.span, "axes meet by their names, and one of size 1 stretches")
            if name not in seen or before == 1:
                seen[name] = (size, part)
    return aligned_to_each_other(parts, environment)


def aligned_to_each_other(parts: Sequence[Text], environment: Environment) -> list[Text]:
    """Values with the dimensions of all, whatever their sizes."""
    plates, names = united_plates(parts, environment), _united_axes(parts)
    return [part if part.number is not None else aligned(part, plates, names) for part in parts]


def united_plates(parts: Iterable[Text], environment: Environment) -> tuple[str, ...]:
    """The plates of all parts, in their order."""
    own = {plate for part in parts for plate in part.plates}
    return tuple(plate for plate in environment.plates if plate in own)


def _united_axes(parts: Iterable[Text]) -> list[str]:
    """The axes of all parts: a channel stands before height and width."""
    names = dict.fromkeys(name for part in parts for name, _ in part.axes)
    return sorted(names, key=lambda name: EVENT_AXES.index(name) if name in EVENT_AXES else len(EVENT_AXES))


def aligned(text: Text, plates: tuple[str, ...], names: Sequence[str]) -> Text:
    """A value with dimensions of size 1 for the plates and axes that it lacks, inserted from the right.

    What is fixed has nothing in front of its axes that plates would have to be told from.
    """
    own = dict(text.axes)
    target = [*plates, *names]
    first = len(plates) if text.fixed else 0
    missing = [place for place, name in enumerate(target) if place >= first and name not in text.dimensions]
    made = replace(text, plates=plates, axes=tuple((name, own.get(name, 1)) for name in names))
    if not missing:
        return made
    if missing == list(range(missing[0], len(target))):
        return replace(made, code=f"{text.within(ATOM)}[..., {', '.join(['None'] * len(missing))}]", binds=ATOM)
    inserted = "".join(f".unsqueeze({place - len(target)})" for place in reversed(missing))
    return replace(made, code=f"{text.within(ATOM)}{inserted}", binds=ATOM)


def of_parts(
    tree: Expression, code: str, parts: Sequence[Text], environment: Environment, *needs: str, binds: int = ATOM
) -> Text:
    """A text of parts that have met: it has all their dimensions, stretched."""
    sizes: dict[str, int] = {}
    for part in parts:
        for name, size in part.axes:
            sizes[name] = size if sizes.get(name, 1) == 1 else sizes[name]
    axes = tuple((name, sizes[name]) for name in _united_axes(parts))
    needed = unique(needs, *(part.needs for part in parts))
    read = unique(*(part.reads for part in parts))
    return Text(tree, code, binds, united_plates(parts, environment), axes, needed, read)


def unique(*parts: Iterable[str]) -> tuple[str, ...]:
    """Everything once, in the order in which it comes first."""
    return tuple(dict.fromkeys(each for part in parts for each in part))
