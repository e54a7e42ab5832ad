"""What expressions compute: their shapes, their numbers, the text they become, and what is said of parts that do not fit."""

from __future__ import annotations

import ast
import math
import random
import re
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy import ndimage, special
from torch import Tensor
from torch.nn import functional

from graphvae import runtime
from graphvae.compiler.errors import Span, SpecError
from graphvae.compiler.expression_code import FUNCTIONS, translate
from graphvae.compiler.expression_code import fitted as fit
from graphvae.compiler.expression_shapes import EVENT_AXES, Environment, Known, Text, Weights
from graphvae.compiler.expressions import Apply, Binary, Expression, Name, Negative, Number, parse_expression, parts_of
from graphvae.compiler.plugins import Arity
from graphvae.runtime.expressions import bent, crop, max_over, mean_over, normalise, paste, product_over, stretched, sum_over

Array = NDArray[np.float64]

PLATES = ("view", "slot")
SLOTS = {"view": 2, "slot": 3}
AXES = ("sample", "row", *PLATES, *EVENT_AXES)
ROWS = {"sample": 4, "row": 5}


class Named(NamedTuple):
    """An array with named axes, in the order of AXES."""

    axes: tuple[str, ...]
    value: Array


class UnfitError(Exception):
    """Two parts do not meet."""


# The oracle: a tree over arrays with named axes, by numpy.


def met(parts: Sequence[Named]) -> tuple[tuple[str, ...], list[Array]]:
    """Values with the axes of all; an axis of the same name has one size, or size 1."""
    axes = tuple(axis for axis in AXES if any(axis in part.axes for part in parts))
    for axis in axes:
        if len({part.value.shape[part.axes.index(axis)] for part in parts if axis in part.axes} - {1}) > 1:
            raise UnfitError(axis)
    own = [[part.value.shape[part.axes.index(axis)] if axis in part.axes else 1 for axis in axes] for part in parts]
    return axes, [part.value.reshape(shape) for part, shape in zip(parts, own, strict=True)]


def together(function: Callable[..., Array], *parts: Named) -> Named:
    axes, values = met(parts)
    return Named(axes, function(*values))


ARITHMETIC: Mapping[str, Callable[..., Array]] = {
    "+": np.add,
    "-": np.subtract,
    "*": np.multiply,
    "/": np.divide,
    "**": np.power,
    "<": np.less,
    ">": np.greater,
    "<=": np.less_equal,
    ">=": np.greater_equal,
}
ELEMENTWISE: Mapping[str, Callable[[Array], Array]] = {
    "relu": lambda x: x * (x > 0),
    "sigmoid": special.expit,
    "softplus": lambda x: np.logaddexp(0, x),
    "exp": np.exp,
    "log": np.log,
    "tanh": np.tanh,
    "sqrt": np.sqrt,
    "abs": np.abs,
}
ALONG: Mapping[str, Callable[..., Array]] = {
    "softmax": special.softmax,
    "normalise": lambda x, axis: x / np.linalg.norm(x, axis=axis, keepdims=True),
}
REDUCTIONS: Mapping[str, Callable[..., Array]] = {"sum": np.sum, "mean": np.mean, "max": np.max, "product": np.prod}


def evaluate(tree: Expression, names: Mapping[str, Named], weights: Mapping[str, Named]) -> Named:
    """What an expression should be."""

    def at(part: Expression) -> Named:
        return evaluate(part, names, weights)

    match tree:
        case Number():
            return Named((), np.array(float(tree.text)))
        case Name():
            return names[tree.text]
        case Negative():
            return together(np.negative, at(tree.part))
        case Binary():
            left, right = at(tree.left), at(tree.right)
            refuse_if(tree.operator == "/" and constant(tree.right) and not right.value)
            return together(ARITHMETIC[tree.operator], left, right)
    return apply(tree.function, tree.arguments, at, weights)


def apply(function: str, arguments: Sequence[Any], at: Callable[[Expression], Named], weights: Mapping[str, Named]) -> Named:
    """What a function makes of its arguments."""
    if function == "where":
        refuse_if(constant(arguments[0].left) and constant(arguments[0].right))
    if function in ("where", "clamp"):
        return together({"where": np.where, "clamp": np.clip}[function], *map(at, arguments))
    if function in ELEMENTWISE:
        return together(ELEMENTWISE[function], at(arguments[0]))
    if function in REDUCTIONS:
        return reduced(function, at(arguments[0]), [part.text for part in arguments[1:]], weights)
    if function in ("softmax", "normalise"):
        first, axis = at(arguments[0]), arguments[1].text if len(arguments) > 1 else "channel"
        refuse_if(axis not in first.axes)
        return Named(first.axes, ALONG[function](first.value, axis=first.axes.index(axis)))
    if function == "dot":
        parts, axis = [at(part) for part in arguments[:2]], arguments[2].text
        refuse_if(any(axis not in part.axes for part in parts))
        return reduced("sum", together(np.multiply, *parts), [axis], {})
    parts = [at(part) for part in arguments]
    refuse_if(any(("channel" in part.axes) == (function == "stack") for part in parts))
    if function == "concatenate":
        return concatenated(parts)
    axes, values = met(parts)
    return ordered(Named((*axes, "channel"), np.stack(np.broadcast_arrays(*values), -1)))


def constant(tree: Expression) -> bool:
    """Whether it follows from numbers alone, and is no vector."""
    return not any(isinstance(part, Name) or (isinstance(part, Apply) and part.function == "stack") for part in parts_of(tree))


def refuse_if(wrong: bool) -> None:
    if wrong:
        raise UnfitError


def reduced(function: str, part: Named, names: list[str], weights: Mapping[str, Named]) -> Named:
    if not names:
        names = [axis for axis in part.axes if axis in EVENT_AXES]
    for axis in names:
        refuse_if(axis not in part.axes)
        part = over_slots(function, part, axis, weights[axis]) if axis in weights else over_axis(function, part, axis)
    return part


def over_axis(function: str, part: Named, axis: str) -> Named:
    place = part.axes.index(axis)
    return Named((*part.axes[:place], *part.axes[place + 1 :]), REDUCTIONS[function](part.value, axis=place))


def over_slots(function: str, part: Named, axis: str, weights: Named) -> Named:
    """A reduction over the slots that are active, one cell after the other."""
    axes, (value, weight) = met([part, weights])
    value, weight = np.broadcast_arrays(value, weight)
    place = axes.index(axis)
    cells = [np.moveaxis(each, place, -1).reshape(-1, SLOTS[axis]) for each in (value, weight)]
    made = np.array([of_active(function, list(zip(*cell, strict=True))) for cell in zip(*cells, strict=True)])
    rest = (*axes[:place], *axes[place + 1 :])
    return Named(rest, made.reshape(*value.shape[:place], *value.shape[place + 1 :]))


def of_active(function: str, slots: list[tuple[float, float]]) -> float:
    active = [(value, weight) for value, weight in slots if weight > 0]
    if function == "product":
        return math.prod(weight * value + 1 - weight for value, weight in active)
    if not active:
        return 0.0
    if function == "max":
        return max(value for value, _ in active)
    total = math.fsum(value * weight for value, weight in active)
    return total if function == "sum" else total / math.fsum(weight for _, weight in active)


def ordered(part: Named) -> Named:
    axes = tuple(axis for axis in AXES if axis in part.axes)
    return Named(axes, part.value.transpose([part.axes.index(axis) for axis in axes]))


def concatenated(parts: list[Named]) -> Named:
    axes, _ = met([over_axis("sum", part, "channel") for part in parts])
    whole = (*axes, "channel")
    values = []
    for part in parts:
        shape = [part.value.shape[part.axes.index(axis)] if axis in part.axes else 1 for axis in axes]
        moved = np.moveaxis(part.value, part.axes.index("channel"), -1)
        values.append(moved.reshape(*shape, moved.shape[-1]))
    leading = np.broadcast_shapes(*(value.shape[:-1] for value in values))
    return ordered(Named(whole, np.concatenate([np.broadcast_to(v, (*leading, v.shape[-1])) for v in values], -1)))


# Random names, and random expressions over them.

SHAPES = {
    "a": ((), ()),
    "b": (("slot",), ()),
    "v": ((), (3,)),
    "w": (("slot",), (3,)),
    "one": (("view",), (1,)),
    "four": ((), (4,)),
    "plane": (("view",), (2, 4)),
    "row_": ((), (1, 4)),
    "grey": (("slot",), (1, 2, 4)),
    "rgb": (("view", "slot"), (3, 2, 4)),
}
SAMPLED = {"a", "w", "rgb", "one"}
ROWLESS = {"four"}
NAMES = {name: Known(f"self.{name}" if name in ROWLESS else name, plates, event) for name, (plates, event) in SHAPES.items()}
EVENTS = {0: (), 1: ("channel",), 2: ("height", "width"), 3: EVENT_AXES}


def arrays(seed: int) -> dict[str, Named]:
    """Positive numbers for every name, with the axes that it has."""
    generator = np.random.default_rng(seed)
    made = {}
    for name, (plates, event) in SHAPES.items():
        leading = ("sample",) * (name in SAMPLED) + ("row",) * (name not in ROWLESS)
        sizes = [{**ROWS, **SLOTS}[axis] for axis in (*leading, *plates)]
        made[name] = Named((*leading, *plates, *EVENTS[len(event)]), generator.uniform(0.3, 1.8, (*sizes, *event)))
    return made


def weights_of(seed: int, counted: bool) -> dict[str, Named]:
    """Weights of the slots, which depend on the row and the view: none, some or all are active, or active in part."""
    if not counted:
        return {}
    generator = np.random.default_rng(seed)
    value = generator.choice([0.0, 1.0, 1.0, 0.4], (ROWS["row"], SLOTS["view"], SLOTS["slot"]))
    value[0] = 0
    return {"slot": Named(("row", "view", "slot"), value)}


def environment_of(weights: Mapping[str, Named], **options: Any) -> Environment:
    known = {name: Weights(f"{name}_active", weight.axes[1:]) for name, weight in weights.items()}
    return Environment(NAMES, PLATES, known, **options)


class Attributes:
    """Values that emitted code reads from `self`."""


def run(text: Text, names: Mapping[str, Tensor], weights: Mapping[str, Tensor]) -> Any:
    """The text as Python."""
    self = Attributes()
    for name, known in NAMES.items():
        if known.python.startswith("self."):
            setattr(self, name, names[name])
    scope: dict[str, Any] = {"self": self, **names, **{f"{name}_active": weight for name, weight in weights.items()}}
    for need in text.needs:
        if need == "torch":
            scope["torch"] = torch
        elif need == "torch.nn.functional":
            scope["functional"] = functional
        else:
            scope[need] = getattr(runtime, need)
    return eval(text.code, scope)


def tensors(named: Mapping[str, Named]) -> dict[str, Tensor]:
    return {name: torch.from_numpy(part.value) for name, part in named.items()}


LEAVES = (*SHAPES, *SHAPES, "0.5", "2", "1.25")
FORMS = (
    *["({0} + {1})", "({0} * {1})", "({0} / {1})", "({0} - {1})", "-{0}", "clamp({0}, -0.5, 1.5)"],
    *[f"{name}({{0}})" for name in ("relu", "sigmoid", "softplus", "tanh", "abs", *REDUCTIONS)],
    *[f"{name}({{0}}, {{axis}})" for name in (*REDUCTIONS, "softmax")],
    *[f"{name}({{0}}, {{plate}})" for name in REDUCTIONS],
    *["dot({0}, {1}, {axis})", "stack({0}, {1}, {2})", "concatenate({0}, {1})"],
    *["where({0} > {1}, {2}, {3})", "where({0} <= {1}, {2}, {3})"],
)


def random_text(source: random.Random, parts: int) -> str:
    """An expression of so many parts, of which some fit."""
    if parts == 0:
        return source.choice(LEAVES)
    inner = (random_text(source, source.randrange(parts)) for _ in range(4))
    return source.choice(FORMS).format(*inner, axis=source.choice(EVENT_AXES), plate=source.choice(PLATES))


@pytest.mark.parametrize("counted", [False, True], ids=["all slots", "counted slots"])
@pytest.mark.parametrize("parts", [1, 2, 3, 4])
def test_shapes_and_values_are_those_of_arrays_with_named_axes(parts: int, counted: bool) -> None:
    """What is translated has the shape that its text gives, and the numbers of the oracle; what is refused has none."""
    source = random.Random(parts)
    for _ in range(400):
        check(random_text(source, parts), arrays(parts), weights_of(parts, counted))


def check(text: str, names: Mapping[str, Named], weights: Mapping[str, Named]) -> None:
    tree = parse_expression(text, None)
    try:
        made = translate(tree, environment_of(weights))
    except SpecError:
        made = None
    with np.errstate(all="ignore"):
        if made is None:
            with pytest.raises(UnfitError):
                evaluate(tree, names, weights)
            return
        wanted = evaluate(tree, names, weights)
    found = run(made, tensors(names), tensors(weights))
    check_equal(made, found, wanted)


def check_equal(made: Text, found: Any, wanted: Named) -> None:
    """The text's shape is the oracle's, and that of what it gave, and so are the numbers."""
    assert made.dimensions == tuple(axis for axis in wanted.axes if axis not in ROWS), made.code
    if made.number is not None:
        assert made.number == found == pytest.approx(float(wanted.value), rel=1e-14)
        return
    behind = wanted.value.shape[len(wanted.axes) - len(made.dimensions) :]
    assert made.event == behind[len(made.plates) :]
    assert found.shape[found.dim() - len(behind) :] == behind, made.code
    leading = [ROWS[axis] if axis in wanted.axes else 1 for axis in ROWS]
    value = torch.from_numpy(wanted.value.reshape(*leading, *behind))
    torch.testing.assert_close(found.expand(value.shape), value, rtol=1e-10, atol=1e-12, equal_nan=True)


@pytest.mark.parametrize("counted", [False, True], ids=["all slots", "counted slots"])
@pytest.mark.parametrize(
    "text",
    [
        "exp(rgb)",
        "log(w)",
        "sqrt(plane)",
        "v ** 2",
        "2 ** v",
        "-v ** 2 ** b",
        "(rgb / w) ** (a - 1)",
        "a - (b - a) - (v - one)",
        "2 / (v / b) / 3",
        "normalise(rgb, channel)",
        "normalise(w)",
        "sum(rgb * b, slot)",
        "mean(w, slot)",
        "max(b, slot)",
        "product(w + one, slot)",
        "mean(sum(rgb, slot), view)",
        "sum(sum(rgb, view), slot)",
        "stack(a, b, 0.5)",
        "stack(plane, sum(row_), 1)",
        "dot(rgb, stack(0, 0, 1), channel)",
        "concatenate(rgb, grey)",
        "where(w > one, 1, 0.25)",
        "where(0.5 < v, v, 2)",
        "rgb * 10 ** 17 * 10 ** 17",
    ],
)
def test_values(text: str, counted: bool) -> None:
    check(text, arrays(0), weights_of(0, counted))


def test_concatenate_along_height() -> None:
    [made, found] = [
        translate(parse_expression(f"concatenate({names}, height)", None), environment_of({}))
        for names in ("rgb, grey, row_", "rgb, rgb")
    ]
    assert (made.axes, found.axes) == (
        (("channel", 3), ("height", 5), ("width", 4)),
        (("channel", 3), ("height", 4), ("width", 4)),
    )
    named = tensors(arrays(0))
    value = run(made, named, {})
    leading = (ROWS["sample"], ROWS["row"], *SLOTS.values())
    torch.testing.assert_close(value[..., :2, :], named["rgb"].expand(*leading, 3, 2, 4), rtol=0, atol=0)
    torch.testing.assert_close(value[..., 2:4, :], named["grey"].unsqueeze(1).expand(*leading, 3, 2, 4), rtol=0, atol=0)
    row = named["row_"][:, None, None, None].expand(ROWS["row"], *SLOTS.values(), 3, 1, 4)
    torch.testing.assert_close(value[..., 4:, :], row.expand(*leading, 3, 1, 4), rtol=0, atol=0)


# The text.

FACES = {
    "albedo": Known("albedo", (), (1, 48, 42)),
    "normals": Known("normals", (), (3, 48, 42)),
    "shading": Known("shading", (), (48, 42)),
    "light": Known("light", (), (3,)),
    "gain": Known("gain", (), ()),
    "four": Known("four", (), (4,)),
    "network": Known("network", (), (3, 48, 42)),
    "window": Known("window", ("slot",), (1, 28, 28)),
    "glyph.image": Known("glyph_image", ("slot",), (1, 28, 28)),
    "place": Known("place", ("slot",), (3,)),
    "look": Known("look", ("view", "slot"), (3,)),
    "canvas": Known("canvas", (), (1, 50, 50)),
}
OWN = {"my_blend": Arity(2, 3), "my_all": Arity(1, None), "my_named": Arity(1, 1, ("strength",))}


def faces(**options: Any) -> Environment:
    counted = {"slot": Weights("slot_active", ("slot",))}
    return Environment(FACES, PLATES, counted, **{"wanted": (1, 50, 50), "functions": OWN, **options})


@pytest.mark.parametrize(
    ("text", "code", "needs"),
    [
        ("albedo * shading", "albedo * shading.unsqueeze(-3)", ()),
        ("sigmoid(network)", "torch.sigmoid(network)", ("torch",)),
        ("normalise(network, channel)", "normalise(network, -3)", ("normalise",)),
        ("dot(normals, light, channel)", "(normals * light[..., None, None]).sum(-3)", ()),
        (
            "dot(normals, normalise(light), channel)",
            "(normals * normalise(light, -1)[..., None, None]).sum(-3)",
            ("normalise",),
        ),
        (
            "sum(paste(glyph.image, place), slot)",
            "sum_over(paste(glyph_image, place, 50, 50), -4, slot_active[..., None, None, None])",
            ("sum_over", "paste"),
        ),
        ("crop(canvas, place, 28, 28)", "crop(canvas.unsqueeze(-4), place, 28, 28)", ("crop",)),
        ("mean(look, view)", "look.mean(-3)", ()),
        ("max(look, slot)", "max_over(look, -2, slot_active.unsqueeze(-1).unsqueeze(-3))", ("max_over",)),
        ("sum(albedo)", "albedo.sum((-3, -2, -1))", ()),
        ("product(shading)", "shading.prod(-1).prod(-1)", ()),
        ("softplus(light) + 0.01", "functional.softplus(light) + 0.01", ("torch.nn.functional",)),
        ("softmax(light + gain, channel)", "torch.softmax(light + gain[..., None], -1)", ("torch",)),
        ("clamp(light + gain, -1, 2 / 3)", "(light + gain[..., None]).clamp(-1, 2 / 3)", ()),
        ("where(gain > 0, gain, 0)", "torch.where(gain > 0, gain, 0.0)", ("torch",)),
        ("where(gain > 0, 1, 0)", "torch.where(gain > 0, gain.new_tensor(1.0), 0.0)", ("torch",)),
        ("stack(gain, 1, 0)", "as_channels(gain, 1.0, 0.0, dim=-1)", ("as_channels",)),
        ("stack(shading, gain)", "as_channels(shading, gain[..., None, None], dim=-3)", ("as_channels",)),
        ("light * stack(0, 0, 1)", "light * albedo.new_tensor([0.0, 0.0, 1.0])", ()),
        ("place * -stack(0, 0, 1)", "place * -albedo.new_tensor([0.0, 0.0, 1.0])", ()),
        ("concatenate(albedo, normals)", "concatenated(albedo, normals, dim=-3)", ("concatenated",)),
        ("-(gain - 1) ** -2 / (gain * 2)", "-(gain - 1) ** -2 / (gain * 2)", ()),
        ("(gain ** 2) ** 3 - (gain - 1)", "(gain ** 2) ** 3 - (gain - 1)", ()),
        ("2 * 3 * gain", "2 * 3 * gain", ()),
        ("exp(1) * gain ** (1 / 2)", "2.718281828459045 * gain ** (1 / 2)", ()),
        ("my_blend(albedo, shading) * 2", "my_blend(albedo, shading.unsqueeze(-3)) * 2", ("plugin.my_blend",)),
    ],
)
def test_text(text: str, code: str, needs: tuple[str, ...]) -> None:
    made = translate(parse_expression(text, None), faces())
    assert (made.code, made.needs) == (code, needs)


def test_weights_of_slots_stand_in_the_order_of_the_plates() -> None:
    """A count in a plate that comes behind the counted one: its weights [view, slot] are read as [slot, view]."""
    names = {"x": Known("x", ("slot", "view"), (2,))}
    environment = Environment(names, ("slot", "view"), {"slot": Weights("slot_active", ("view", "slot"))})
    made = translate(parse_expression("sum(x, slot)", None), environment)
    assert made.plates == ("view",)
    x, active = torch.randn(5, 3, 2, 2, dtype=torch.float64), torch.rand(5, 2, 3, dtype=torch.float64)
    found = eval(made.code, {"sum_over": sum_over, "x": x, "slot_active": active})
    torch.testing.assert_close(found, torch.einsum("rsvc,rvs->rvc", x, active))


# Numbers alone.


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("2 * 3 - 1 / 4", 5.75),
        ("-2 ** 2", -4.0),
        ("2 ** -1", 0.5),
        ("exp(1)", math.e),
        ("log(sqrt(2)) + abs(0 - 3)", math.log(2) / 2 + 3),
        ("relu(0 - 1) + relu(2)", 2.0),
        ("sigmoid(2) * (1 + exp(-2))", 1.0),
        ("sigmoid(-1000) + tanh(0)", 0.0),
        ("softplus(1)", math.log(1 + math.e)),
        ("softplus(1000) + softplus(-1000)", 1000.0),
        ("clamp(7, 0, 1) + sum(2) + product(3)", 6.0),
        ("9 ** 9 ** 2", 9.0**81),
        ("999999999999999999 * 999999999999999999", 999999999999999999.0**2),
        ("1e300 * 1e8", 1e308),
    ],
)
def test_numbers_are_computed_once_and_for_all(text: str, value: float) -> None:
    made = translate(parse_expression(text, None), Environment({}))
    assert (made.reads, made.needs, made.plates, made.axes) == ((), (), (), ())
    assert made.number == pytest.approx(value, rel=1e-14, abs=0)
    assert float(eval(made.code)) == made.number


def test_what_is_large_is_quick() -> None:
    """In a text that is as large as may be nothing grows by powers, neither here nor in what is emitted."""
    nested = "light"
    for _ in range(15):
        nested = f"stack(dot({nested}, light), dot(light, light), 1)"
    texts = [nested, "9 ** " * 20 + "0.5 * gain", "+".join(["gain"] * 100), "relu(" * 39 + "gain" + ")" * 39]
    started = time.perf_counter()
    codes = [translate(parse_expression(text, None), faces()).code for text in texts[:1] + texts[2:]]
    for code in codes:
        compile(code, "m.yaml", "eval")
    with pytest.raises(SpecError, match="no value among the real numbers"):
        translate(parse_expression(texts[1], None), faces())
    assert time.perf_counter() - started < 1
    assert all(len(code) < 4000 for code in codes)


# Messages.


def said(text: str, **options: Any) -> str:
    span = Span("m.yaml", 1, 8, 1, 8 + len(text), f"value: {text}")
    with pytest.raises(SpecError) as caught:
        translate(parse_expression(text, span), faces(**options))
    return str(caught.value)


PARENTS = "the parents are: albedo, normals, shading, light, gain, four, network, window, glyph.image, place, look, canvas"
LANGUAGE = (
    "the functions are: sum, mean, max, product, relu, sigmoid, softplus, exp, log, tanh, sqrt, abs, softmax, normalise, "
)
LANGUAGE += "dot, stack, concatenate, where, clamp, paste, crop"
MEET = "axes meet by their names, and one of size 1 stretches"
SIZES = "height and width are two whole numbers"
FULL = "channel 3, height 48, width 42"


@pytest.mark.parametrize(
    ("marked", "message", "hint"),
    [
        ("gain * «stranger»", "'stranger' is not a parent", PARENTS),
        ("«glyph.imge» + 1", "'glyph.imge' is not a parent", f"did you mean 'glyph.image'? {PARENTS}"),
        ("gain * «sqr»(light)", "there is no function 'sqr'", f"did you mean 'sqrt'? {LANGUAGE}"),
        ("«torch.tanh»(light)", "there is no function 'torch.tanh'", f"did you mean 'tanh'? {LANGUAGE}"),
        ("«light.sum»(channel)", "there is no function 'light.sum'", f"did you mean 'sum'? {LANGUAGE}"),
        ("2 * «exp(light, gain)»", "'exp' takes 1 argument, and not 2", "as in exp(x)"),
        ("«relu()» + 1", "'relu' takes 1 argument, and not 0", "as in relu(x)"),
        ("«sum(look, slot, view)»", "'sum' takes 1 to 2 arguments, and not 3", "as in sum(x, AXIS)"),
        ("«stack()»", "'stack' takes 1 or more arguments, and not 0", "as in stack(a, b)"),
        ("light + «four»", "'light' has channel 3, and 'four' has channel 4: they differ in 'channel'", MEET),
        (
            "albedo + «gain * (canvas - 1)»",
            "'albedo' has channel 1, height 48, width 42, and 'gain * (canvas - 1)' has channel 1, height 50, width 50: "
            "they differ in 'height'",
            MEET,
        ),
        (
            "stack(gain, «light > 0»)",
            "a comparison stands in where(CONDITION, A, B) alone",
            "as in where(a > 0, x, y)",
        ),
        ("where(«light», gain, 1)", "where begins with a comparison", "as in where(a > 0, x, y)"),
        ("where(«1 > 0», gain, 1)", "the condition reads no parent: it always holds, or never", ""),
        (
            "where(gain > 0, light, «four»)",
            "'light' has channel 3, and 'four' has channel 4: they differ in 'channel'",
            MEET,
        ),
        ("sum(light, «slot»)", "'slot' is no axis of 'light', which has channel 3", "the axes are: channel"),
        (
            "mean(look * 2, «slt»)",
            "'slt' is no axis of 'look * 2', which has view, slot, channel 3",
            "did you mean 'slot'? the axes are: channel, view, slot",
        ),
        ("sum(gain, «channel»)", "'channel' is no axis of 'gain', which has no axes", "there are no axes"),
        ("sum(light, «0»)", "this is no axis of 'light', which has channel 3", "the axes are: channel"),
        ("max(light, «gain + 1»)", "this is no axis of 'light', which has channel 3", "the axes are: channel"),
        (
            "«normalise(normals)»",
            f"'normalise' needs the name of an axis: 'normals' has {FULL}",
            "as in normalise(x, channel)",
        ),
        ("«softmax(gain)»", "'softmax' goes along an axis, and 'gain' has none", ""),
        (
            "«dot(normals, light)»",
            f"'dot' needs the name of an axis: 'dot(normals, light)' has {FULL}",
            "as in dot(a, b, channel)",
        ),
        ("dot(normals, «gain», channel)", "'gain' has no axis 'channel': it has no axes", ""),
        (
            "stack(gain, «light»)",
            "stack makes channels of parts that have none, and 'light' has channel 3",
            "concatenate(a, b) joins channels",
        ),
        (
            "concatenate(light, «gain»)",
            "concatenate joins 'channel', and 'gain' has no axes",
            "stack(a, b) makes channels of parts that have none",
        ),
        ("clamp(light, «gain», 1)", "the bounds of clamp are numbers", "as in clamp(x, 0, 1)"),
        ("«clamp(light, 1, 0)»", "nothing lies between 1 and 0", ""),
        (
            "paste(«light», place)",
            "'paste' needs a picture with channel, height and width, and 'light' has channel 3",
            "",
        ),
        (
            "crop(canvas, «gain», 28, 28)",
            "a place has channel 3: scale, shift to the right, shift downwards; 'gain' has no axes",
            "",
        ),
        ("paste(window, place, «50»)", SIZES, "as in paste(a, b, 50, 50)"),
        ("paste(window, place, «0», 50)", SIZES, "as in paste(a, b, 50, 50)"),
        ("crop(canvas, place, «28.5», gain)", SIZES, "as in crop(a, b, 50, 50)"),
        (
            "crop(«paste(window, place)», place)",
            "the height and width of what 'paste' makes are not known here",
            "write them, as in paste(a, b, 50, 50)",
        ),
        ("gain / («2 - 2»)", "this divides by 0", ""),
        ("gain * «9 ** 9 ** 9»", "this has no value among the real numbers", ""),
        ("gain + «(1 - 2) ** 0.5»", "this has no value among the real numbers", ""),
        ("gain + «log(1 - 1)»", "this has no value among the real numbers", ""),
        ("gain + «exp(1000)»", "this has no value among the real numbers", ""),
        ("gain + «1e300 * 1e300»", "this number is too large", "the largest are about 1.8e308"),
        ("«my_blend(light)» + 1", "'my_blend' of the plugin takes 2 to 3 arguments, and not 1", ""),
        (
            "«my_blend(light, 1, 2, 3)»",
            "'my_blend' of the plugin takes 2 to 3 arguments, and not 4",
            "",
        ),
        ("«my_all()»", "'my_all' of the plugin takes 1 or more arguments, and not 0", ""),
        (
            "«my_named(light)»",
            "'my_named' of the plugin must be given 'strength' by name, and an expression gives arguments by their order",
            "",
        ),
        ("1 + «my_all(2)»", "'my_all' reads no parent here", "a number can be written as it is"),
        (
            "«relu»(light)",
            "'relu' is a function of the language, and one of the plugin",
            "rename it in the plugin, as in my_relu",
        ),
        (
            "2 * my_blend(light, «four»)",
            "'light' has channel 3, and 'four' has channel 4: they differ in 'channel'",
            MEET,
        ),
    ],
)
def test_message(marked: str, message: str, hint: str) -> None:
    """The part between the marks is what it is about."""
    text, start, length = re.sub("[«»]", "", marked), marked.index("«"), marked.index("»") - marked.index("«") - 1
    own = {"relu": Arity(1, 1)} if "of the language" in message else {} if "no function" in message else OWN
    excerpt = f"  1 | value: {text}\n    | {' ' * (7 + start)}{'^' * length}"
    assert said(text, functions=own) == f"m.yaml:1:{8 + start}: error[GV120]: {message}\n{excerpt}" + f"\n  {hint}" * bool(hint)


def wild_text(source: random.Random, depth: int) -> str:
    """An expression that may read anything, anywhere."""
    if depth == 0 or source.random() < 0.2:
        return source.choice([*FACES, "channel", "slot", "nobody", "0", "1", "2.5", "1e200", "x.previous"])
    inner = [wild_text(source, depth - 1) for _ in range(source.randrange(5))]
    operator = source.choice(["+", "-", "*", "/", "**", "<", ">="])
    forms = [f"{source.choice([*FUNCTIONS, *OWN])}({', '.join(inner)})"]
    forms += [f"({inner[0]} {operator} {inner[1]})", f"-{inner[0]}"] if len(inner) > 1 else []
    return source.choice(forms)


def test_whatever_the_tree_the_answer_is_python_or_a_clear_message() -> None:
    source, accepted = random.Random(0), 0
    for _ in range(4000):
        text = wild_text(source, 3)
        span = Span("m.yaml", 1, 1, 1, len(text) + 1, text)
        made = outcome(text, span)
        if isinstance(made, SpecError):
            assert str(made).startswith("m.yaml:1:")
            assert {finding.code for finding in made.diagnostics} == {"GV120"}
        else:
            ast.parse(made.code, mode="eval")
            assert made.number is not None or made.reads
            accepted += 1
    assert accepted > 400


def outcome(text: str, span: Span) -> Text | SpecError:
    try:
        return translate(parse_expression(text, span), faces())
    except SpecError as error:
        return error


# What an expression is for.


def fitted(text: str, event: tuple[int, ...], plates: tuple[str, ...] = (), whole: bool = False) -> Text:
    span = Span("m.yaml", 1, 8, 1, 8 + len(text), f"value: {text}")
    return fit(translate(parse_expression(text, span), faces()), plates, event, whole)


@pytest.mark.parametrize(
    ("text", "event", "plates", "code"),
    [
        ("albedo * shading", (1, 48, 42), (), "albedo * shading.unsqueeze(-3)"),
        ("gain", (3,), (), "stretched(gain[..., None], (3,))"),
        ("shading + 1", (3, 48, 42), (), "stretched((shading + 1).unsqueeze(-3), (3, 48, 42))"),
        ("albedo", (3, 48, 42), (), "stretched(albedo, (3, 48, 42))"),
        ("gain", (1, 1, 1), (), "gain[..., None, None, None]"),
        ("light", (3,), ("slot",), "light.unsqueeze(-2)"),
        ("place", (3,), ("view", "slot"), "place.unsqueeze(-3)"),
        ("2 * 3", (3, 48, 42), (), "6.0"),
        ("stack(1, 2)", (2,), (), "albedo.new_tensor([1.0, 2.0])"),
    ],
)
def test_a_value_gets_the_axes_of_what_it_is_for(text: str, event: tuple[int, ...], plates: tuple[str, ...], code: str) -> None:
    made = fitted(text, event, plates)
    assert (made.code, "stretched" in made.needs) == (code, "stretched" in code)
    assert made.number is not None or (made.event, made.plates) == (event, plates)


@pytest.mark.parametrize(
    ("text", "event", "plates", "whole", "message"),
    [
        (
            "place",
            (3,),
            (),
            False,
            "the value has a part for every slot of 'slot', and what it is for has none\n.*\n.*\n  gather them",
        ),
        ("light", (), (), False, "the value has channel 3, and what it is for has no axes"),
        ("light", (4,), (), False, "the value has channel 3, and what it is for has channel 4"),
        ("light", (48, 42), (), False, "the value has channel 3, and what it is for has height 48, width 42"),
        ("normals", (1, 48, 42), (), False, "the value has channel 3, height 48, width 42, and what it is for has channel 1, "),
        ("2 * 3", (3,), (), True, "the value is a number, the same in every row\n.*\n.*\n  write the number where it is read"),
        (
            "light",
            (3,),
            ("slot",),
            True,
            "the value is the same in every slot of 'slot'\n.*\n.*\n  leave the plate out of the variable",
        ),
        ("sum(look, slot)", (3,), ("view", "slot"), True, "the value is the same in every slot of 'slot'"),
    ],
)
def test_what_does_not_fit(text: str, event: tuple[int, ...], plates: tuple[str, ...], whole: bool, message: str) -> None:
    with pytest.raises(SpecError, match=rf"^m.yaml:1:8: error\[GV120\]: {message}"):
        fitted(text, event, plates, whole)


def test_what_is_stretched_has_the_shape_everywhere() -> None:
    value = torch.arange(10.0).reshape(5, 1, 2, 1)
    found = stretched(value, (3, 2, 4))
    assert torch.equal(found, value.repeat(1, 3, 1, 4))


# A person's own functions.


@pytest.mark.parametrize(
    ("text", "wanted", "code", "plates", "event"),
    [
        ("my_blend(light, gain) * 2", None, "my_blend(light, gain[..., None]) * 2", (), (3,)),
        ("my_blend(light, gain)", None, "my_blend(light, gain[..., None])", (), (3,)),
        ("my_all(place, look, 0.5)", None, "my_all(place.unsqueeze(-3), look, 0.5)", ("view", "slot"), (3,)),
        ("my_blend(normals, four)", (1, 50, 50), "my_blend(normals, four[..., None, None])", (), (1, 50, 50)),
        ("my_all(place)", (), "my_all(place)", ("slot",), ()),
        ("relu(my_blend(albedo, light))", (1, 50, 50), "torch.relu(my_blend(albedo, light[..., None, None]))", (), (3, 48, 42)),
    ],
)
def test_a_function_of_ones_own(
    text: str, wanted: tuple[int, ...] | None, code: str, plates: tuple[str, ...], event: tuple[int, ...]
) -> None:
    """It makes what its arguments have together, or where it stands alone, what is stated: then they need not fit."""
    made = translate(parse_expression(text, None), faces(wanted=wanted))
    assert (made.code, made.plates, made.event) == (code, plates, event)


# Slots that are not active.

REDUCE = {"sum": sum_over, "mean": mean_over, "max": max_over, "product": product_over}


@pytest.mark.parametrize("fill", [math.nan, math.inf, -math.inf, 1e308])
@pytest.mark.parametrize("function", REDUCE)
def test_what_fills_an_inactive_slot_reaches_neither_the_value_nor_a_gradient(function: str, fill: float) -> None:
    generator = torch.Generator().manual_seed(0)
    active = torch.tensor([[1.0, 1.0, 0.0], [1.0, 0.0, 0.0], [0.3, 0.0, 1.0], [0.0, 0.0, 0.0]], dtype=torch.float64)
    value = torch.rand(2, 4, 3, 5, dtype=torch.float64, generator=generator)
    filled = torch.where(active[..., None] > 0, value, fill)
    results = []
    for given_value in (value, filled):
        leaf, weight = given_value.clone().requires_grad_(), active.clone().requires_grad_()
        made = REDUCE[function](leaf, -2, weight[..., None])
        made.square().sum().backward()
        results.append((made.detach(), leaf.grad, weight.grad))
    for plain, other in zip(*results, strict=True):
        assert plain is not None or function == "max"
        if plain is not None and other is not None:
            torch.testing.assert_close(other, plain, rtol=0, atol=0)
    assert torch.equal(results[1][1][active.expand(2, 4, 3) == 0], torch.zeros(2 * 7, 5, dtype=torch.float64))


@pytest.mark.parametrize("function", ["sum", "mean", "product"])
def test_gradients_of_reductions_by_differences(function: str) -> None:
    value = torch.rand(4, 3, dtype=torch.float64, requires_grad=True)
    active = torch.tensor([[1.0, 0.7, 0.2], [0.5, 0.5, 0.1]] * 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x, w: REDUCE[function](x, -1, w), (value, active))


def test_no_active_slot_gives_nothing() -> None:
    nothing, value = torch.zeros(3), torch.tensor([math.nan, 1.0, -2.0])
    assert [float(REDUCE[name](value, -1, nothing)) for name in ("sum", "mean", "max", "product")] == [0.0, 0.0, 0.0, 1.0]


def test_the_largest_of_the_active_slots_may_be_infinite() -> None:
    assert max_over(torch.tensor([-math.inf, 1.0]), -1, torch.tensor([1.0, 0.0])) == -math.inf


# Unit vectors.


def test_a_unit_vector() -> None:
    value = torch.randn(5, 3, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    wanted = value.numpy() / np.sqrt((value.numpy() ** 2).sum(1, keepdims=True))
    np.testing.assert_allclose(normalise(value, -2).numpy(), wanted, rtol=1e-14)
    assert torch.autograd.gradcheck(lambda x: normalise(x, -2), value.requires_grad_())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_zero_has_no_direction(dtype: torch.dtype) -> None:
    value = torch.tensor([[0.0, 0.0], [3.0, 4.0], [1e-20, 0.0], [3e15, 4e15]], dtype=dtype, requires_grad=True)
    made = normalise(value, -1)
    made.sum().backward()
    wanted = torch.tensor([[0.0, 0.0], [0.6, 0.8], [0.0, 0.0], [0.6, 0.8]], dtype=dtype)
    torch.testing.assert_close(made.detach(), wanted, rtol=1e-6, atol=0)
    assert value.grad is not None
    assert torch.equal(value.grad[0], torch.zeros(2, dtype=dtype))
    assert value.grad.isfinite().all()


# The spatial transformer.


def seen(picture: Array, scale: float, x: float, y: float, height: int, width: int) -> Array:
    """A picture [height, width] by scipy: at the centre of each new pixel (x', y'), what is at (scale x' + x, scale y' + y)."""
    rows, columns = picture.shape
    across = ((scale * ((2 * np.arange(width) + 1) / width - 1) + x + 1) * columns - 1) / 2
    down = ((scale * ((2 * np.arange(height) + 1) / height - 1) + y + 1) * rows - 1) / 2
    # scipy's own border is sharp: with a frame of zeros a pixel at the edge fades out over the length of one pixel
    return ndimage.map_coordinates(np.pad(picture, 1), np.meshgrid(down + 1, across + 1, indexing="ij"), order=1, cval=0.0)


PLACES = [(1.0, 0.0, 0.0), (2.0, 0.5, -0.25), (1.3, -0.9, 1.7), (0.8, 0.1, 0.2), (3.0, 5.0, 0.0)]


def test_paste_and_crop_are_those_of_scipy() -> None:
    generator = np.random.default_rng(0)
    window, place = generator.normal(size=(len(PLACES), 2, 5, 7)), np.array(PLACES)
    pasted = paste(torch.from_numpy(window), torch.from_numpy(place), 9, 8).numpy()
    cropped = crop(torch.from_numpy(window), torch.from_numpy(place), 9, 8).numpy()
    for number, (written, x, y) in enumerate(PLACES):
        scale = 0.25 + np.logaddexp(0, 20 * (written - 0.25)) / 20
        for channel in range(2):
            picture = window[number, channel]
            np.testing.assert_allclose(pasted[number, channel], seen(picture, scale, x, y, 9, 8), atol=1e-8)
            inverse = seen(picture, 1 / scale, -x / scale, -y / scale, 9, 8)
            np.testing.assert_allclose(cropped[number, channel], inverse, atol=1e-8)


def test_the_place_that_changes_nothing_copies() -> None:
    window = torch.rand(3, 2, 6, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    for function in (paste, crop):
        torch.testing.assert_close(
            function(window, torch.tensor([1.0, 0, 0], dtype=torch.float64), 6, 5), window, rtol=0, atol=1e-6
        )


def test_a_window_that_lies_on_pixels_is_pasted_there_pixel_by_pixel() -> None:
    """Six pixels of twelve, the left edge at pixel 4 and the top edge at pixel 1: s = 12 / 6, and (12 - 2 l - 6) / 6 for l."""
    window = torch.rand(1, 6, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    place = torch.tensor([2.0, (12 - 8 - 6) / 6, (12 - 2 - 6) / 6], dtype=torch.float64)
    wanted = torch.zeros(1, 12, 12, dtype=torch.float64)
    wanted[:, 1:7, 4:10] = window
    torch.testing.assert_close(paste(window, place, 12, 12), wanted, rtol=0, atol=1e-12)
    torch.testing.assert_close(crop(wanted, place, 6, 6), window, rtol=0, atol=1e-12)


def test_what_is_pasted_is_cropped_again_up_to_interpolation() -> None:
    """A smooth window on a fine canvas: what two interpolations lose falls with the square of the distance of its pixels."""
    across = torch.linspace(-1, 1, 40, dtype=torch.float64)
    window = torch.exp(-3 * (across[:, None].square() + (across - 0.2).square()))[None]
    place = torch.tensor([1.7, 0.3, -0.4], dtype=torch.float64)
    lost = [
        float((crop(paste(window, place, n, n), place, 40, 40) - window)[:, 2:-2, 2:-2].abs().max()) for n in (100, 200, 400)
    ]
    assert lost[0] < 0.02
    assert lost[1] < lost[0] / 2
    assert lost[2] < lost[1] / 1.5


def test_axes_that_the_picture_or_the_place_does_not_have_are_shared() -> None:
    """[sample, row, slot] of places on a window [row, slot], and on one that has none of them."""
    generator = torch.Generator().manual_seed(0)
    place = torch.rand(4, 5, 3, 3, dtype=torch.float64, generator=generator) + 0.5
    for window in (torch.rand(5, 3, 1, 4, 4, dtype=torch.float64), torch.rand(1, 4, 4, dtype=torch.float64)):
        found, whole = paste(window, place, 6, 7), window.expand(4, 5, 3, 1, 4, 4)
        assert found.shape == (4, 5, 3, 1, 6, 7)
        each = torch.stack([paste(w, p, 6, 7) for w, p in zip(whole.reshape(-1, 1, 4, 4), place.reshape(-1, 3), strict=True)])
        torch.testing.assert_close(found.reshape(-1, 1, 6, 7), each, rtol=0, atol=1e-12)


@pytest.mark.parametrize("function", [paste, crop])
def test_gradients_of_the_transformer_by_differences(function: Callable[..., Tensor]) -> None:
    generator = torch.Generator().manual_seed(3)
    picture = torch.rand(2, 1, 4, 5, dtype=torch.float64, generator=generator, requires_grad=True)
    place = torch.tensor([[1.37, 0.11, -0.23], [0.41, 0.19, 0.07]], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x, p: function(x, p, 6, 5), (picture, place), eps=1e-7, atol=1e-5)


def test_a_scale_has_a_floor_and_a_gradient_on_either_side_of_it() -> None:
    scale = torch.tensor([-1.0, 0.0, 0.25, 0.5, 1.0, 3.0], dtype=torch.float64, requires_grad=True)
    place = torch.stack([scale, torch.zeros_like(scale), torch.ones_like(scale)], -1)
    made = bent(place)
    wanted = 0.25 + np.log1p(np.exp(20 * (scale.detach().numpy() - 0.25))) / 20
    np.testing.assert_allclose(made[:, 0].detach().numpy(), wanted, rtol=1e-9)
    assert torch.equal(made[:, 1:], place[:, 1:])
    made[:, 0].sum().backward()
    assert scale.grad is not None
    assert (scale.grad > 0).all()
    window = torch.ones(1, 4, 4, dtype=torch.float64)
    assert all(crop(window, torch.tensor([s, 0.0, 0.0], dtype=torch.float64), 4, 4).isfinite().all() for s in (-1e9, 0.0, 1e9))
