"""From an expression to torch: the shape that follows, and the text that computes it. The verb is `translate`.

The dimensions of a value have names: its plates, then the axes of its event. A vector is channels, a picture of two dimensions
has height and width, one of three channel, height and width. Two values meet by name: an axis that one of them does not have is
inserted, an axis of size 1 stretches, and anything else is an error.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from graphvae.compiler.errors import Span, SpecError, did_you_mean
from graphvae.compiler.expressions import COMPARISONS, Apply, Binary, Expression, Name, Negative, Number

CHANNEL, HEIGHT, WIDTH = EVENT_AXES = ("channel", "height", "width")
NAMED: Mapping[int, tuple[str, ...]] = {0: (), 1: (CHANNEL,), 2: (HEIGHT, WIDTH), 3: EVENT_AXES}
PLACE = 3  # the numbers of a place: scale, and two shifts

Axes = tuple[tuple[str, int], ...]
"""The axes of an event with their sizes, in the order channel, height, width."""


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
    """What an expression may read. `plates` are in their order, outermost first; `wanted` is the shape that it is for."""

    names: Mapping[str, Known]
    plates: tuple[str, ...] = ()
    weights: Mapping[str, Weights] = field(default_factory=dict)
    wanted: tuple[int, ...] | None = None
    functions: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Text:
    """The Python text of a value: how tightly it binds, its plates and axes, what it needs to import, and what it reads."""

    code: str
    binds: int
    plates: tuple[str, ...]
    axes: Axes
    needs: tuple[str, ...] = ()
    reads: tuple[str, ...] = ()

    @property
    def event(self) -> tuple[int, ...]:
        """The shape of the event."""
        return tuple(size for _, size in self.axes)

    @property
    def shown(self) -> str:
        """Its axes and sizes, for a message."""
        return ", ".join([*self.plates, *(f"{name} {size}" for name, size in self.axes)]) or "no axes"


ATOM, POWER, SIGN, PRODUCT, SUM, COMPARE = range(6, 0, -1)
_BINDS = {"+": SUM, "-": SUM, "*": PRODUCT, "/": PRODUCT, "**": POWER, **dict.fromkeys(COMPARISONS, COMPARE)}


def translate(expression: Expression, environment: Environment) -> Text:
    """The text and the shape of an expression.

    Raises SpecError GV120 at the part that reads what is not there, or whose shapes do not fit.

    >>> names = {"light": Known("light", (), (3,)), "normals": Known("normals", (), (3, 48, 42))}
    >>> from graphvae.compiler.expressions import parse_expression
    >>> made = translate(parse_expression("relu(dot(normals, light, channel))", None), Environment(names))
    >>> print(made.code, made.event)
    torch.relu((normals * light[..., None, None]).sum(-3)) (48, 42)
    """
    match expression:
        case Number():
            return Text(expression.text, ATOM, (), ())
        case Name():
            return _name(expression, environment)
        case Negative():
            part = translate(expression.part, environment)
            return replace(part, code=f"-{_within(part, SIGN)}", binds=SIGN)
        case Binary():
            return _binary(expression, environment)
        case Apply():
            return _apply(expression, environment)


def fitted(text: Text, plates: tuple[str, ...], event: tuple[int, ...], environment: Environment, span: Span | None) -> Text:
    """A value with all the axes of what it is for, so that it stands where its shape is expected.

    Raises SpecError GV120 where it cannot: it may lack axes, and stretch, but have none beside them.
    """
    outside = [plate for plate in text.plates if plate not in plates]
    if outside:
        message = f"the value has a part for every slot of '{outside[0]}', and what it is for has none"
        raise SpecError.of("GV120", message, span, f"gather them, as in sum(..., {outside[0]})")
    target: Axes = _axes(event)
    own = dict(text.axes)
    if any(name not in dict(target) or size not in (1, dict(target)[name]) for name, size in own.items()):
        shown = ", ".join(f"{name} {size}" for name, size in target) or "no axes"
        raise SpecError.of("GV120", f"the value has {text.shown}, and what it is for has {shown}", span)
    if text.code and not text.reads:
        return text  # numbers alone meet everything
    return _aligned(text, plates, tuple((name, own.get(name, 1)) for name, _ in target))


def _axes(event: tuple[int, ...]) -> Axes:
    names = NAMED.get(len(event)) or tuple(f"axis{place}" for place in range(len(event)))
    return tuple(zip(names, event, strict=True))


def _name(name: Name, environment: Environment) -> Text:
    known = environment.names.get(name.text)
    if known is None:
        hint = did_you_mean(name.text, environment.names, "parents")
        raise SpecError.of("GV120", f"'{name.text}' is not a parent", name.span, hint)
    return Text(known.python, ATOM, known.plates, _axes(known.event), reads=(name.text,))


def _within(text: Text, binds: int) -> str:
    return text.code if text.binds >= binds else f"({text.code})"


def _method(text: Text, call: str) -> str:
    simple = text.binds == ATOM and not text.code[:1].isdigit()
    return f"{text.code if simple else f'({text.code})'}.{call}"


def _binary(expression: Binary, environment: Environment) -> Text:
    left, right = (translate(part, environment) for part in (expression.left, expression.right))
    if expression.operator in COMPARISONS:
        raise SpecError.of("GV120", "a comparison stands in where(CONDITION, A, B) alone", expression.span)
    return _joined(expression, left, right, environment)


def _joined(expression: Binary, left: Text, right: Text, environment: Environment) -> Text:
    left, right = _together([left, right], [expression.left, expression.right], environment)
    binds = _BINDS[expression.operator]
    # Of equal operators the left one binds first, but for powers.
    sides = (binds + 1, binds) if expression.operator == "**" else (binds, binds + 1)
    code = f"{_within(left, sides[0])} {expression.operator} {_within(right, sides[1])}"
    return _made(code, binds, [left, right], environment)


def _made(code: str, binds: int, parts: Sequence[Text], environment: Environment, *needs: str) -> Text:
    """A text of parts that have met: it has all their axes, stretched."""
    plates = tuple(plate for plate in environment.plates if any(plate in part.plates for part in parts))
    sizes: dict[str, int] = {}
    for part in parts:
        for name, size in part.axes:
            sizes[name] = max(sizes.get(name, 1), size)
    axes = tuple((name, sizes[name]) for name in _order(sizes))
    needed = _unique(needs, *(part.needs for part in parts))
    return Text(code, binds, plates, axes, needed, _unique(*(part.reads for part in parts)))


def _unique(*parts: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(each for part in parts for each in part))


def _order(names: Iterable[str]) -> list[str]:
    return sorted(names, key=lambda name: (EVENT_AXES.index(name) if name in EVENT_AXES else len(EVENT_AXES), name))


def _together(parts: Sequence[Text], trees: Sequence[Expression], environment: Environment) -> list[Text]:
    """Values that meet by name, each with the axes of all; a number needs none."""
    sizes: dict[str, tuple[int, Expression, Text]] = {}
    for part, tree in zip(parts, trees, strict=True):
        for name, size in part.axes:
            before = sizes.get(name)
            if before and size != before[0] and 1 not in (size, before[0]):
                message = f"these parts differ in '{name}': one has {before[2].shown}, the other {part.shown}"
                raise SpecError.of("GV120", message, tree.span, "axes meet by their names, and one of size 1 stretches")
            if not before or before[0] == 1:
                sizes[name] = (size, tree, part)
    plates = tuple(plate for plate in environment.plates if any(plate in part.plates for part in parts))
    names = _order(sizes)
    met = []
    for part in parts:
        own = dict(part.axes)
        met.append(_aligned(part, plates, tuple((name, own.get(name, 1)) for name in names)) if part.reads else part)
    return met


def _aligned(text: Text, plates: tuple[str, ...], axes: Axes) -> Text:
    """A value with dimensions inserted for the plates and axes that it lacks, the innermost first."""
    own = {*text.plates, *(name for name, _ in text.axes)}
    target = [*plates, *(name for name, _ in axes)]
    missing = [place for place, name in enumerate(target) if name not in own]
    made = replace(text, plates=plates, axes=axes)
    if missing and missing == list(range(missing[0], len(target))):
        return replace(made, code=f"{_within(text, ATOM)}[..., {', '.join(['None'] * len(missing))}]", binds=ATOM)
    for place in reversed(missing):
        made = replace(made, code=_method(made, f"unsqueeze({place - len(target)})"), binds=ATOM)
    return made


def _apply(call: Apply, environment: Environment) -> Text:
    if call.function in environment.functions:
        parts = [translate(part, environment) for part in call.arguments]
        parts = _together(parts, call.arguments, environment)
        code = f"{call.function}({', '.join(part.code for part in parts)})"
        return _made(code, ATOM, parts, environment, f"plugin.{call.function}")
    rule = FUNCTIONS.get(call.function)
    if rule is None:
        hint = did_you_mean(call.function, [*FUNCTIONS, *sorted(environment.functions)], "functions")
        raise SpecError.of("GV120", f"there is no function '{call.function}'", call.place, hint)
    least, most, usage, make = rule
    if not least <= len(call.arguments) <= most:
        message = f"'{call.function}' does not take {len(call.arguments)} argument(s)"
        raise SpecError.of("GV120", message, call.span, f"as in {usage}")
    return make(call, environment)


def _elementwise(code: str, *needs: str) -> Callable[[Apply, Environment], Text]:
    def make(call: Apply, environment: Environment) -> Text:
        part = translate(call.arguments[0], environment)
        return replace(part, code=f"{code}({part.code})", binds=ATOM, needs=_unique(needs, part.needs))

    return make


def _axis(call: Apply, place: int, part: Text, environment: Environment, plates: bool = False) -> str:
    """The axis that an argument names; without it, the only one that there is."""
    choices = [*(name for name, _ in part.axes), *(part.plates if plates else ())]
    if place >= len(call.arguments):
        if len(part.axes) == 1:
            return part.axes[0][0]
        message = f"'{call.function}' needs the name of an axis: the value has {part.shown}"
        raise SpecError.of("GV120", message, call.span, f"as in {call.function}(..., {choices[0] if choices else CHANNEL})")
    name = call.arguments[place]
    if not isinstance(name, Name) or name.text not in choices:
        message = f"the value has no such axis: it has {part.shown}"
        hint = did_you_mean(name.text if isinstance(name, Name) else "", choices, "axes")
        raise SpecError.of("GV120", message, name.span, hint)
    return name.text


def _position(part: Text, name: str) -> int:
    names = [*part.plates, *(axis for axis, _ in part.axes)]
    return names.index(name) - len(names)


def _without(part: Text, name: str) -> Text:
    return replace(
        part,
        plates=tuple(plate for plate in part.plates if plate != name),
        axes=tuple((axis, size) for axis, size in part.axes if axis != name),
    )


def _reduction(word: Literal["sum", "mean", "max", "product"]) -> Callable[[Apply, Environment], Text]:
    method = {"sum": "sum", "mean": "mean", "max": "amax", "product": "prod"}[word]

    def make(call: Apply, environment: Environment) -> Text:
        part = translate(call.arguments[0], environment)
        if len(call.arguments) == 1:
            for name, _ in reversed(part.axes):
                part = replace(_without(part, name), code=_method(part, f"{method}({_position(part, name)})"), binds=ATOM)
            return part
        name = _axis(call, 1, part, environment, plates=True)
        dim = _position(part, name)
        weights = environment.weights.get(name)
        if weights is None or name not in part.plates:
            return replace(_without(part, name), code=_method(part, f"{method}({dim})"), binds=ATOM)
        own = Text(weights.python, ATOM, weights.plates, (), reads=(f"{name}.active",))
        plates = tuple(plate for plate in environment.plates if plate in {*part.plates, *own.plates})
        aligned = _aligned(own, plates, tuple((axis, 1) for axis, _ in part.axes))
        made = replace(_without(part, name), code=f"{word}_over({part.code}, {dim}, {aligned.code})", binds=ATOM)
        return replace(made, needs=_unique([f"{word}_over"], part.needs), reads=_unique(part.reads, own.reads))

    return make


def _along(code: str, need: str) -> Callable[[Apply, Environment], Text]:
    """A function along an axis, which stays."""

    def make(call: Apply, environment: Environment) -> Text:
        part = translate(call.arguments[0], environment)
        name = _axis(call, 1, part, environment)
        text = f"{code}({part.code}, {_position(part, name)})"
        return replace(part, code=text, binds=ATOM, needs=_unique([need], part.needs))

    return make


def _dot(call: Apply, environment: Environment) -> Text:
    product = Binary("*", call.arguments[0], call.arguments[1], call.span)
    both = translate(product, environment)
    name = _axis(call, 2, both, environment)
    for part in call.arguments[:2]:
        own = translate(part, environment)
        if name not in dict(own.axes):
            raise SpecError.of("GV120", f"this part has no axis '{name}': it has {own.shown}", part.span)
    return replace(_without(both, name), code=f"({both.code}).sum({_position(both, name)})", binds=ATOM)


def _stack(call: Apply, environment: Environment) -> Text:
    """Numbers as a vector, or planes as the channels of a picture."""
    parts = [translate(part, environment) for part in call.arguments]
    if any(CHANNEL in dict(part.axes) for part in parts):
        raise SpecError.of("GV120", "stack makes channels of parts that have none", call.span, "as in concatenate(a, b)")
    if not any(part.reads for part in parts):
        return Text(f"torch.tensor([{', '.join(part.code for part in parts)}])", ATOM, (), ((CHANNEL, len(parts)),), ("torch",))
    parts = _together(parts, call.arguments, environment)
    made = _made("", ATOM, parts, environment, "torch")
    code = f"torch.stack(torch.broadcast_tensors({', '.join(_tensor(part) for part in parts)}), {-1 - len(made.axes)})"
    return replace(made, code=code, axes=((CHANNEL, len(parts)), *made.axes), needs=_unique(["torch"], made.needs))


def _tensor(part: Text) -> str:
    return part.code if part.reads else f"torch.tensor({float(part.code)!r})"


def _concatenate(call: Apply, environment: Environment) -> Text:
    parts = [translate(part, environment) for part in call.arguments]
    for part, tree in zip(parts, call.arguments, strict=True):
        if CHANNEL not in dict(part.axes):
            message = f"concatenate joins channels, and this part has {part.shown}"
            raise SpecError.of("GV120", message, tree.span, "as in stack(a, b)")
    others = _together([_without(part, CHANNEL) for part in parts], call.arguments, environment)
    rest = _made("", ATOM, others, environment)
    plates = rest.plates
    shaped = [
        _aligned(part, plates, tuple((name, dict(part.axes).get(name, 1)) for name in [CHANNEL, *(n for n, _ in rest.axes)]))
        for part in parts
    ]
    channels = sum(dict(part.axes)[CHANNEL] for part in parts)
    code = f"concatenated({', '.join(part.code for part in shaped)}, dim={-1 - len(rest.axes)})"
    needs = _unique(["concatenated"], *(part.needs for part in parts))
    return replace(rest, code=code, axes=((CHANNEL, channels), *rest.axes), needs=needs)


def _where(call: Apply, environment: Environment) -> Text:
    condition = call.arguments[0]
    if not isinstance(condition, Binary) or condition.operator not in COMPARISONS:
        raise SpecError.of("GV120", "where needs a comparison", condition.span, "as in where(a > 0, a, b)")
    trees = [condition.left, condition.right, *call.arguments[1:]]
    left, right, yes, no = _together([translate(part, environment) for part in trees], trees, environment)
    code = f"torch.where({_within(left, SUM)} {condition.operator} {_within(right, SUM)}, {yes.code}, {no.code})"
    return _made(code, ATOM, [left, right, yes, no], environment, "torch")


def _clamp(call: Apply, environment: Environment) -> Text:
    part = translate(call.arguments[0], environment)
    for bound in call.arguments[1:]:
        if not isinstance(bound.part if isinstance(bound, Negative) else bound, Number):
            raise SpecError.of("GV120", "the bounds of clamp are numbers", bound.span, "as in clamp(x, 0, 1)")
    low, high = (translate(bound, environment).code for bound in call.arguments[1:])
    return replace(part, code=_method(part, f"clamp({low}, {high})"), binds=ATOM)


def _transformer(call: Apply, environment: Environment) -> Text:
    """The spatial transformer, whose height and width are written, or those of what it is for."""
    picture, place = (translate(part, environment) for part in call.arguments[:2])
    if [name for name, _ in picture.axes] != list(EVENT_AXES):
        message = f"{call.function} needs a picture [channel, height, width], and this part has {picture.shown}"
        raise SpecError.of("GV120", message, call.arguments[0].span)
    if place.axes != ((CHANNEL, PLACE),):
        message = f"a place is a vector of 3: scale, shift to the right, shift downwards; this part has {place.shown}"
        raise SpecError.of("GV120", message, call.arguments[1].span)
    height, width = _written_size(call) or _wanted_size(call, environment)
    plates = tuple(p for p in environment.plates if p in {*picture.plates, *place.plates})
    picture, place = _aligned(picture, plates, picture.axes), _aligned(place, plates, place.axes)
    code = f"{call.function}({picture.code}, {place.code}, {height}, {width})"
    made = _made(code, ATOM, [picture, place], environment, call.function)
    return replace(made, axes=(picture.axes[0], (HEIGHT, height), (WIDTH, width)))


def _written_size(call: Apply) -> tuple[int, int] | None:
    if len(call.arguments) == 2:
        return None
    sizes = []
    for part in call.arguments[2:]:
        if not isinstance(part, Number) or not part.text.isdigit() or int(part.text) < 1 or len(call.arguments) != 4:
            raise SpecError.of("GV120", "height and width are whole numbers", part.span, f"as in {call.function}(a, b, 50, 50)")
        sizes.append(int(part.text))
    return sizes[0], sizes[1]


def _wanted_size(call: Apply, environment: Environment) -> tuple[int, int]:
    if environment.wanted is None or len(environment.wanted) != 3:
        message = f"the height and width that {call.function} makes are not known here"
        raise SpecError.of("GV120", message, call.span, f"write them, as in {call.function}(a, b, 50, 50)")
    return environment.wanted[1], environment.wanted[2]


Rule = tuple[int, int, str, Callable[[Apply, Environment], Text]]
FUNCTIONS: Mapping[str, Rule] = {
    "sum": (1, 2, "sum(x, AXIS)", _reduction("sum")),
    "mean": (1, 2, "mean(x, AXIS)", _reduction("mean")),
    "max": (1, 2, "max(x, AXIS)", _reduction("max")),
    "product": (1, 2, "product(x, AXIS)", _reduction("product")),
    "relu": (1, 1, "relu(x)", _elementwise("torch.relu", "torch")),
    "sigmoid": (1, 1, "sigmoid(x)", _elementwise("torch.sigmoid", "torch")),
    "softplus": (1, 1, "softplus(x)", _elementwise("softplus", "torch.nn.functional.softplus")),
    "exp": (1, 1, "exp(x)", _elementwise("torch.exp", "torch")),
    "log": (1, 1, "log(x)", _elementwise("torch.log", "torch")),
    "tanh": (1, 1, "tanh(x)", _elementwise("torch.tanh", "torch")),
    "sqrt": (1, 1, "sqrt(x)", _elementwise("torch.sqrt", "torch")),
    "abs": (1, 1, "abs(x)", _elementwise("torch.abs", "torch")),
    "softmax": (1, 2, "softmax(x, AXIS)", _along("torch.softmax", "torch")),
    "normalise": (1, 2, "normalise(x, AXIS)", _along("normalise", "normalise")),
    "dot": (2, 3, "dot(a, b, AXIS)", _dot),
    "stack": (1, 64, "stack(a, b)", _stack),
    "concatenate": (2, 64, "concatenate(a, b)", _concatenate),
    "where": (3, 3, "where(a > 0, a, b)", _where),
    "clamp": (3, 3, "clamp(x, 0, 1)", _clamp),
    "paste": (2, 4, "paste(WINDOW, PLACE)", _transformer),
    "crop": (2, 4, "crop(CANVAS, PLACE)", _transformer),
}
