"""From an expression to torch: the shape that follows, and the text that computes it. The verb is `translate`."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from graphvae.compiler.errors import SpecError, did_you_mean
from graphvae.compiler.expression_shapes import (
    CHANNEL,
    EVENT_AXES,
    HEIGHT,
    WIDTH,
    Environment,
    Text,
    aligned,
    aligned_to_each_other,
    axes_of,
    meet,
    of_parts,
    unique,
    united_plates,
)
from graphvae.compiler.expressions import (
    ATOM,
    BINDING,
    COMPARISONS,
    PRODUCT,
    SIGN,
    SUM,
    Apply,
    Binary,
    Expression,
    Name,
    Negative,
    Number,
    sides,
)
from graphvae.compiler.plugins import Arity

PLACE = 3  # the numbers of a place: scale, and two shifts
_EXACT = 2**53  # up to here a float is every whole number


def translate(expression: Expression, environment: Environment) -> Text:
    """The text and the shape of an expression.

    Raises SpecError GV120 at the part that reads what is not there, or whose shapes do not fit.

    >>> from graphvae.compiler.expression_shapes import Known
    >>> from graphvae.compiler.expressions import parse_expression
    >>> names = {"light": Known("light", (), (3,)), "normals": Known("normals", (), (3, 48, 42))}
    >>> made = translate(parse_expression("relu(dot(normals, light, channel))", None), Environment(names))
    >>> print(made.code, made.event)
    torch.relu((normals * light[..., None, None]).sum(-3)) (48, 42)
    """
    if isinstance(expression, Apply) and expression.function in environment.functions:
        return _own(expression, environment, environment.wanted)
    return _text(expression, environment)


def fitted(text: Text, plates: tuple[str, ...], event: tuple[int, ...], whole: bool = False) -> Text:
    """A value with all the axes of what it is for, so that it stands where its shape is expected.

    Args:
        text: The translation of a whole expression.
        plates: Those of what it is for.
        event: The shape of what it is for.
        whole: Whether it is for a variable's value, which others read, and not for a parameter.

    Raises SpecError GV120 where it cannot: it may lack axes, and stretch, but have none beside them. A variable's value depends
    on something, and on the slot of each of its plates.
    """
    _check_fit(text, plates, axes_of(event), whole)
    if text.number is not None:
        return replace(text, code=repr(text.number))
    made = aligned(text, plates, [name for name, _ in axes_of(event)])
    if made.event == event:
        return made
    return replace(made, code=f"stretched({made.code}, {event})", axes=axes_of(event), needs=unique(made.needs, ["stretched"]))


def _check_fit(text: Text, plates: tuple[str, ...], target: tuple[tuple[str, int], ...], whole: bool) -> None:
    span = text.tree.span
    if outside := [plate for plate in text.plates if plate not in plates]:
        message = f"the value has a part for every slot of '{outside[0]}', and what it is for has none"
        raise SpecError.of("GV120", message, span, f"gather them, as in sum(..., {outside[0]})")
    if any(name not in dict(target) or size not in (1, dict(target)[name]) for name, size in text.axes):
        shown = ", ".join(f"{name} {size}" for name, size in target) or "no axes"
        raise SpecError.of("GV120", f"the value has {text.shown}, and what it is for has {shown}", span)
    if whole and text.number is not None:
        raise SpecError.of("GV120", "the value is a number, the same in every row", span, "write the number where it is read")
    if whole and (same := [plate for plate in plates if plate not in text.plates]):
        message = f"the value is the same in every slot of '{same[0]}'"
        raise SpecError.of("GV120", message, span, f"leave the plate out of the variable, or read what differs in '{same[0]}'")


def _text(tree: Expression, environment: Environment) -> Text:
    match tree:
        case Number():
            return _number(tree, tree.value, tree.text)
        case Name():
            return _name(tree, environment)
        case Negative():
            part = _text(tree.part, environment)
            if part.number is not None:
                return _number(tree, -part.number, f"-{part.within(SIGN)}", SIGN)
            return replace(part, tree=tree, code=f"-{part.within(SIGN)}", binds=SIGN)
        case Binary():
            return _binary(tree, environment)
        case Apply():
            return _apply(tree, environment)


def _number(tree: Expression, value: float, code: str = "", binds: int = ATOM) -> Text:
    """A number, as it is written where Python reads it as the same one, and quickly."""
    if not math.isfinite(value):
        raise SpecError.of("GV120", "this number is too large", tree.span, "the largest are about 1.8e308")
    if code and abs(value) < _EXACT:
        return Text(tree, code, binds, number=value)
    return Text(tree, repr(value), SIGN if value < 0 else ATOM, number=value)


def _name(name: Name, environment: Environment) -> Text:
    known = environment.names.get(name.text)
    if known is None:
        hint = did_you_mean(name.text, environment.names, "parents")
        raise SpecError.of("GV120", f"'{name.text}' is not a parent", name.span, hint)
    if same := [plate for plate in known.plates if plate in EVENT_AXES]:
        message = f"'{name.text}' is in the plate '{same[0]}', and an axis of every picture is called so"
        raise SpecError.of("GV120", message, name.span, "rename the plate")
    return Text(name, known.python, plates=known.plates, axes=axes_of(known.event), reads=(name.text,))


def _binary(tree: Binary, environment: Environment) -> Text:
    if tree.operator in COMPARISONS:
        hint = "as in where(a > 0, x, y)"
        raise SpecError.of("GV120", "a comparison stands in where(CONDITION, A, B) alone", tree.span, hint)
    left, right = _text(tree.left, environment), _text(tree.right, environment)
    if tree.operator == "/" and right.number == 0:
        raise SpecError.of("GV120", "this divides by 0", right.tree.span)
    binds, inside = BINDING[tree.operator], sides(tree.operator)
    if left.number is not None and right.number is not None:
        value = _folded(tree, lambda: _ARITHMETIC[tree.operator](left.number, right.number))
        code = f"{left.within(inside[0])} {tree.operator} {right.within(inside[1])}"
        return _number(tree, value, "" if tree.operator == "**" else code, binds)
    left, right = meet([left, right], environment)
    code = f"{left.within(inside[0])} {tree.operator} {right.within(inside[1])}"
    return of_parts(tree, code, [left, right], environment, binds=binds)


_ARITHMETIC: Mapping[str, Callable[..., float]] = {
    "+": lambda a, b: a + b,
    "-": lambda a, b: a - b,
    "*": lambda a, b: a * b,
    "/": lambda a, b: a / b,
    "**": math.pow,
}


def _folded(tree: Expression, compute: Callable[[], float]) -> float:
    """What follows from numbers alone."""
    try:
        return compute()
    except (ArithmeticError, ValueError):
        raise SpecError.of("GV120", "this has no value among the real numbers", tree.span) from None


def _apply(call: Apply, environment: Environment) -> Text:
    if call.function in environment.functions:
        return _own(call, environment, None)
    row = FUNCTIONS.get(call.function)
    if row is None:
        hint = did_you_mean(call.function.rpartition(".")[2], [*FUNCTIONS, *sorted(environment.functions)], "functions")
        raise SpecError.of("GV120", f"there is no function '{call.function}'", call.place, hint)
    if wrong := row.arity.refuses(len(call.arguments)):
        raise SpecError.of("GV120", f"'{call.function}' {wrong}", call.span, f"as in {row.usage}")
    return row.make(call, environment)


def _own(call: Apply, environment: Environment, event: tuple[int, ...] | None) -> Text:
    """A person's own function: it makes what its arguments have together, or, where that is stated, an event of its own."""
    name, arity = call.function, environment.functions[call.function]
    if name in FUNCTIONS:
        message = f"'{name}' is a function of the language, and one of the plugin"
        raise SpecError.of("GV120", message, call.place, f"rename it in the plugin, as in my_{name}")
    if arity and (wrong := arity.refuses(len(call.arguments))):
        raise SpecError.of("GV120", f"'{name}' of the plugin {wrong}", call.span)
    parts = [_text(part, environment) for part in call.arguments]
    if not any(part.reads for part in parts):
        raise SpecError.of("GV120", f"'{name}' reads no parent here", call.span, "a number can be written as it is")
    parts = meet(parts, environment) if event is None else aligned_to_each_other(parts, environment)
    made = of_parts(call, f"{name}({', '.join(part.code for part in parts)})", parts, environment, f"plugin.{name}")
    return made if event is None else replace(made, axes=axes_of(event))


def _elementwise(code: str, need: str, of_number: Callable[[float], float]) -> Callable[[Apply, Environment], Text]:
    def make(call: Apply, environment: Environment) -> Text:
        part = _text(call.arguments[0], environment)
        if part.number is not None:
            number = part.number
            return _number(call, _folded(call, lambda: of_number(number)))
        return of_parts(call, f"{code}({part.code})", [part], environment, need)

    return make


def _axis(call: Apply, place: int, part: Text, plates: bool = False) -> str:
    """The axis that an argument names; without it, the only one that there is."""
    choices = [*(name for name, _ in part.axes), *(part.plates if plates else ())]
    if place >= len(call.arguments):
        if len(part.axes) == 1:
            return part.axes[0][0]
        if not choices:
            raise SpecError.of("GV120", f"'{call.function}' goes along an axis, and {part.named} has none", call.span)
        message = f"'{call.function}' needs the name of an axis: {part.named} has {part.shown}"
        hint = f"as in {call.function}({'a, b' if place > 1 else 'x'}, {choices[0]})"
        raise SpecError.of("GV120", message, call.span, hint)
    axis = call.arguments[place]
    if not isinstance(axis, Name) or axis.text not in choices:
        word = f"'{axis.text}'" if isinstance(axis, Name) else "this"
        message = f"{word} is no axis of {part.named}, which has {part.shown}"
        hint = did_you_mean(axis.text if isinstance(axis, Name) else "", choices, "axes")
        raise SpecError.of("GV120", message, axis.span, hint)
    return axis.text


def _method(part: Text, call: str) -> str:
    return f"{part.within(ATOM)}.{call}"


def _without(part: Text, call: Apply, code: str, *names: str) -> Text:
    """What a reduction leaves of a part."""
    plates = tuple(plate for plate in part.plates if plate not in names)
    axes = tuple((axis, size) for axis, size in part.axes if axis not in names)
    return replace(part, tree=call, code=code, binds=ATOM, plates=plates, axes=axes)


def _reduction(word: str, method: str) -> Callable[[Apply, Environment], Text]:
    def make(call: Apply, environment: Environment) -> Text:
        part = _text(call.arguments[0], environment)
        if len(call.arguments) == 1:
            return _over_the_event(call, part, method)
        name = _axis(call, 1, part, plates=True)
        if name in part.plates and name in environment.weights:
            return _over_slots(call, part, word, name, environment)
        return _without(part, call, _method(part, f"{method}({part.place(name)})"), name)

    return make


def _over_the_event(call: Apply, part: Text, method: str) -> Text:
    """All axes of the event together; torch multiplies up one at a time."""
    names = [name for name, _ in part.axes]
    places = [part.place(name) for name in names]
    if len(places) > 1 and method != "prod":
        return _without(part, call, _method(part, f"{method}(({', '.join(map(str, places))}))"), *names)
    return (
        _without(part, call, part.within(ATOM) + f".{method}(-1)" * len(places), *names) if places else replace(part, tree=call)
    )


def _over_slots(call: Apply, part: Text, word: str, plate: str, environment: Environment) -> Text:
    """The slots of a plate that are active, by its weights."""
    own = _weights(plate, call, environment)
    plates = united_plates([part, own], environment)
    names = [name for name, _ in part.axes]
    part, active = aligned(part, plates, names), aligned(own, plates, names)
    made = _without(part, call, f"{word}_over({part.code}, {part.place(plate)}, {active.code})", plate)
    return replace(made, needs=unique([f"{word}_over"], part.needs), reads=unique(part.reads, own.reads))


def _weights(plate: str, call: Apply, environment: Environment) -> Text:
    """The weights of a plate, with their dimensions in the order of the plates."""
    weights = environment.weights[plate]
    plates = tuple(name for name in environment.plates if name in weights.plates)
    behind = len(plates) - 1 - plates.index(plate)
    code = weights.python + f".movedim(-1, {-1 - behind})" * (behind > 0)
    return Text(call, code, plates=plates, reads=(f"{plate}.active",))


def _along(code: str, need: str) -> Callable[[Apply, Environment], Text]:
    """A function along an axis, which stays."""

    def make(call: Apply, environment: Environment) -> Text:
        part = _text(call.arguments[0], environment)
        name = _axis(call, 1, part)
        return of_parts(call, f"{code}({part.code}, {part.place(name)})", [part], environment, need)

    return make


def _dot(call: Apply, environment: Environment) -> Text:
    parts = [_text(part, environment) for part in call.arguments[:2]]
    left, right = meet(parts, environment)
    both = of_parts(call, f"{left.within(PRODUCT)} * {right.within(SIGN)}", [left, right], environment, binds=PRODUCT)
    name = _axis(call, 2, both)
    for part in parts:
        if name not in dict(part.axes):
            raise SpecError.of("GV120", f"{part.named} has no axis '{name}': it has {part.shown}", part.tree.span)
    return _without(both, call, _method(both, f"sum({both.place(name)})"), name)


def _stack(call: Apply, environment: Environment) -> Text:
    """Numbers as a vector, or planes as the channels of a picture."""
    parts = [_text(part, environment) for part in call.arguments]
    for part in parts:
        if CHANNEL in dict(part.axes):
            message = f"stack makes channels of parts that have none, and {part.named} has {part.shown}"
            raise SpecError.of("GV120", message, part.tree.span, "concatenate(a, b) joins channels")
    if all(part.number is not None for part in parts):
        return _vector(call, f"[{_listed(parts)}]", len(parts), environment)
    parts = meet(parts, environment)
    made = of_parts(call, "", parts, environment, "as_channels")
    code = f"as_channels({_listed(parts)}, dim={-1 - len(made.axes)})"
    return replace(made, code=code, axes=((CHANNEL, len(parts)), *made.axes))


def _listed(parts: Sequence[Text]) -> str:
    return ", ".join(part.code if part.number is None else repr(part.number) for part in parts)


def _vector(call: Apply, numbers: str, length: int, environment: Environment) -> Text:
    """A vector of numbers alone; where there is a parent, on its device and in its precision."""
    axes = ((CHANNEL, length),)
    for name, known in environment.names.items():
        return Text(call, f"{known.python}.new_tensor({numbers})", axes=axes, reads=(name,), fixed=True)
    return Text(call, f"torch.tensor({numbers})", axes=axes, needs=("torch",), fixed=True)


def _concatenate(call: Apply, environment: Environment) -> Text:
    last = call.arguments[-1]
    names_axis = isinstance(last, Name) and last.text in EVENT_AXES and last.text not in environment.names
    axis = last.text if isinstance(last, Name) and names_axis else CHANNEL
    parts = [_text(part, environment) for part in call.arguments[: len(call.arguments) - names_axis]]
    for part in parts:
        if axis not in dict(part.axes):
            message = f"concatenate joins '{axis}', and {part.named} has {part.shown}"
            raise SpecError.of("GV120", message, part.tree.span, "stack(a, b) makes channels of parts that have none")
    rest = meet([_without(part, call, part.code, axis) for part in parts], environment)
    together = of_parts(call, "", rest, environment, "concatenated")
    names = [name for name in EVENT_AXES if name == axis or name in dict(together.axes)]
    joined = [aligned(part, together.plates, names) for part in parts]
    sizes = {**dict(together.axes), axis: sum(dict(part.axes)[axis] for part in parts)}
    code = f"concatenated({_listed(joined)}, dim={names.index(axis) - len(names)})"
    return replace(together, code=code, axes=tuple((name, sizes[name]) for name in names))


def _where(call: Apply, environment: Environment) -> Text:
    condition = call.arguments[0]
    if not isinstance(condition, Binary) or condition.operator not in COMPARISONS:
        raise SpecError.of("GV120", "where begins with a comparison", condition.span, "as in where(a > 0, x, y)")
    trees = [condition.left, condition.right, *call.arguments[1:]]
    left, right, yes, no = meet([_text(part, environment) for part in trees], environment)
    if left.number is not None and right.number is not None:
        raise SpecError.of("GV120", "the condition reads no parent: it always holds, or never", condition.span)
    question = f"{left.within(SUM)} {condition.operator} {right.within(SUM)}"
    answers = _listed([yes, no])
    if yes.number is not None and no.number is not None:
        source = next(environment.names[name].python for name in (*left.reads, *right.reads) if name in environment.names)
        answers = f"{source}.new_tensor({yes.number!r}), {no.number!r}"
    return of_parts(call, f"torch.where({question}, {answers})", [left, right, yes, no], environment, "torch")


def _clamp(call: Apply, environment: Environment) -> Text:
    part, low, high = (_text(part, environment) for part in call.arguments)
    for bound in (low, high):
        if bound.number is None:
            raise SpecError.of("GV120", "the bounds of clamp are numbers", bound.tree.span, "as in clamp(x, 0, 1)")
    assert low.number is not None
    assert high.number is not None
    if low.number >= high.number:
        raise SpecError.of("GV120", f"nothing lies between {low.number:g} and {high.number:g}", call.span)
    if part.number is not None:
        return _number(call, min(max(part.number, low.number), high.number))
    return of_parts(call, _method(part, f"clamp({low.code}, {high.code})"), [part], environment)


def _transformer(call: Apply, environment: Environment) -> Text:
    """The spatial transformer, whose height and width are written, or those of what it is for."""
    inside = replace(environment, wanted=None)
    picture, place = (_text(part, inside) for part in call.arguments[:2])
    if [name for name, _ in picture.axes] != list(EVENT_AXES):
        message = f"'{call.function}' needs a picture with channel, height and width, and {picture.named} has {picture.shown}"
        raise SpecError.of("GV120", message, picture.tree.span)
    if place.axes != ((CHANNEL, PLACE),):
        message = f"a place has {CHANNEL} {PLACE}: scale, shift to the right, shift downwards; {place.named} has {place.shown}"
        raise SpecError.of("GV120", message, place.tree.span)
    height, width = _written_size(call) or _wanted_size(call, environment)
    plates = united_plates([picture, place], environment)
    picture, place = aligned(picture, plates, EVENT_AXES), aligned(place, plates, [CHANNEL])
    code = f"{call.function}({picture.code}, {place.code}, {height}, {width})"
    made = of_parts(call, code, [picture, place], environment, call.function)
    return replace(made, axes=(picture.axes[0], (HEIGHT, height), (WIDTH, width)))


def _written_size(call: Apply) -> tuple[int, int] | None:
    if len(call.arguments) == 2:
        return None
    usage = f"as in {call.function}(a, b, 50, 50)"
    sizes = [int(part.text) for part in call.arguments[2:] if isinstance(part, Number) and part.text.isdigit()]
    if len(sizes) != 2 or 0 in sizes:
        raise SpecError.of("GV120", "height and width are two whole numbers", call.arguments[2].span, usage)
    return sizes[0], sizes[1]


def _wanted_size(call: Apply, environment: Environment) -> tuple[int, int]:
    if environment.wanted is None or len(environment.wanted) != len(EVENT_AXES):
        message = f"the height and width of what '{call.function}' makes are not known here"
        raise SpecError.of("GV120", message, call.span, f"write them, as in {call.function}(a, b, 50, 50)")
    return environment.wanted[1], environment.wanted[2]


@dataclass(frozen=True)
class Function:
    """A function of the language: how many arguments it takes, as in which example, and what makes its text."""

    arity: Arity
    usage: str
    make: Callable[[Apply, Environment], Text]


_F = "torch.nn.functional"
FUNCTIONS: Mapping[str, Function] = {
    "sum": Function(Arity(1, 2), "sum(x, AXIS)", _reduction("sum", "sum")),
    "mean": Function(Arity(1, 2), "mean(x, AXIS)", _reduction("mean", "mean")),
    "max": Function(Arity(1, 2), "max(x, AXIS)", _reduction("max", "amax")),
    "product": Function(Arity(1, 2), "product(x, AXIS)", _reduction("product", "prod")),
    "relu": Function(Arity(1, 1), "relu(x)", _elementwise("torch.relu", "torch", lambda x: max(x, 0.0))),
    "sigmoid": Function(
        Arity(1, 1), "sigmoid(x)", _elementwise("torch.sigmoid", "torch", lambda x: (1 + math.tanh(x / 2)) / 2)
    ),
    "softplus": Function(
        Arity(1, 1),
        "softplus(x)",
        _elementwise("functional.softplus", _F, lambda x: max(x, 0.0) + math.log1p(math.exp(-abs(x)))),
    ),
    "exp": Function(Arity(1, 1), "exp(x)", _elementwise("torch.exp", "torch", math.exp)),
    "log": Function(Arity(1, 1), "log(x)", _elementwise("torch.log", "torch", math.log)),
    "tanh": Function(Arity(1, 1), "tanh(x)", _elementwise("torch.tanh", "torch", math.tanh)),
    "sqrt": Function(Arity(1, 1), "sqrt(x)", _elementwise("torch.sqrt", "torch", math.sqrt)),
    "abs": Function(Arity(1, 1), "abs(x)", _elementwise("torch.abs", "torch", abs)),
    "softmax": Function(Arity(1, 2), "softmax(x, AXIS)", _along("torch.softmax", "torch")),
    "normalise": Function(Arity(1, 2), "normalise(x, AXIS)", _along("normalise", "normalise")),
    "dot": Function(Arity(2, 3), "dot(a, b, AXIS)", _dot),
    "stack": Function(Arity(1, None), "stack(a, b)", _stack),
    "concatenate": Function(Arity(2, None), "concatenate(a, b)", _concatenate),
    "where": Function(Arity(3, 3), "where(a > 0, x, y)", _where),
    "clamp": Function(Arity(3, 3), "clamp(x, 0, 1)", _clamp),
    "paste": Function(Arity(2, 4), "paste(WINDOW, PLACE)", _transformer),
    "crop": Function(Arity(2, 4), "crop(CANVAS, PLACE)", _transformer),
}
