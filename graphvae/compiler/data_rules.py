"""The rules of a spec's data, each a check that raises at the place in the text that breaks it. The verb is `check_data`."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod

from graphvae.compiler.errors import Span, SpecError, did_you_mean, visible
from graphvae.compiler.families import FAMILIES
from graphvae.compiler.graph import ModelGraph, VariableNode
from graphvae.compiler.spec import Data, LabelDraw, Rescale, Split

_KNOWN = ("observed", "given", "supervised")
_PLACED = "multi_mnist"  # the source that composes scenes, and knows where in a picture a slot is
_MADE = {  # what a transform makes, and the supports that may have it
    "binarise": ("0 and 1", ("binary",)),
    "binarise_each_time": ("0 and 1", ("binary",)),
    "standardise": ("numbers of either sign", ("real",)),
    "scale": ("numbers that need not be whole", ("real", "positive", "unit interval", "angle", "simplex", "binary", "levels")),
}


def check_data(graph: ModelGraph) -> None:
    """What the data block says fits the variables, and itself."""
    data = graph.spec.data
    assert data is not None
    if data.path is not None and data.source == "digits":
        raise SpecError.of("GV056", "digits come with scikit-learn, and from no path", data.key("path"), "leave it out")
    if data.scenes is not None and data.source != _PLACED:
        message = f"'scenes' belongs to the source {_PLACED}, and the source is {data.source}"
        raise SpecError.of("GV057", message, data.key("scenes"), f"leave it out, or write source: {_PLACED}")
    for name in data.columns:
        check_role(graph, name, _KNOWN, data.key("columns", name), "a column holds a variable that is known in some row")
    for name in graph.named(*_KNOWN):
        if name not in data.columns:
            message = f"the {graph.variables[name].role} variable '{name}' has no column in the data"
            hint = f"write which column holds it, as in columns: {{{name}: COLUMN}}"
            raise SpecError.of("GV107", message, data.key("columns"), hint)
    for name in data.columns:
        _check_columns(graph, graph.variables[name], data)
        _check_slots(graph, graph.variables[name], data)
    for name in data.categories:
        _check_categories(graph, data, name)
    for name in data.transforms:
        _check_transforms(graph, data, name)
    _check_order(data)
    _check_split(data.split)
    for draw in data.labels:
        _check_label_draw(graph, draw)


def check_role(graph: ModelGraph, name: str, roles: tuple[str, ...], span: Span | None, reason: str) -> None:
    """A name is that of a variable with one of these roles."""
    fitting = graph.named(*roles)
    hint = did_you_mean(name, fitting, f"{', '.join(roles[:-1])}{' or ' * (len(roles) > 1)}{roles[-1]} variables")
    if name not in graph.variables:
        raise SpecError.of("GV111", f"unknown variable '{name}'", span, hint)
    if name not in fitting:
        raise SpecError.of("GV111", f"'{name}' is {graph.variables[name].role}: {reason}", span, hint)


def data_shape(graph: ModelGraph, node: VariableNode) -> tuple[int, ...]:
    """The shape [plate..., event...] of a variable's value as data holds it, where a category is a single number."""
    return graph.slots(node.plates) + (node.event[:-1] if node.family and node.family.simplex else node.event)


def has_classes(graph: ModelGraph, name: str) -> bool:
    """Whether a variable is a single discrete draw, whose values are the classes of rows."""
    node = graph.variables[name]
    if node.plates or node.family is None or not node.family.finite:
        return False
    return node.family.cells(node.event, node.number)[1] == 1


def step_name(step: str | Rescale) -> str:
    """What a transform is called."""
    return step if isinstance(step, str) else "scale" if step.scale else "binarise"


def _check_columns(graph: ModelGraph, node: VariableNode, data: Data) -> None:
    """Several columns hold a number each; and a picture has the shape of one."""
    name, columns, shape = node.name, data.columns[node.name], data_shape(graph, node)
    if isinstance(columns, tuple):
        _check_no_twice(columns, data, "columns", name)
        if prod(shape) != len(columns):
            message = f"'{name}' has the shape {list(shape)}, for {prod(shape):,} column(s), and the list has {len(columns):,}"
            raise SpecError.of("GV053", message, data.span("columns", name), "a list has a column for each number")
    elif data.source == "images" and columns == "image" and not _is_picture(shape):
        message = f"'{name}' has the shape {list(shape)}, which is not that of a picture"
        hint = "write shape: [1, HEIGHT, WIDTH], or [3, HEIGHT, WIDTH] for colours"
        raise SpecError.of("GV053", message, node.span, hint)


def _check_slots(graph: ModelGraph, node: VariableNode, data: Data) -> None:
    """A label in a slot says which slot is meant, and stands beside a label of the count of its plate.

    Where something that is known in every row stands in the same plates, the slot is that of its value.
    """
    if node.role != "supervised" or not node.plates:
        return
    place = data.key("columns", node.name)
    beside = [name for name in graph.named("observed", "given") if {*node.plates} <= {*graph.variables[name].plates}]
    if data.slots is None and not beside:
        message = f"the labels of '{node.name}' stand in slots, and nothing says which slot is which"
        hint = f"write data.slots: {{order: {'left_to_right' if data.source == _PLACED else 'as_stored'}}}"
        raise SpecError.of("GV117", message, place, hint)
    for plate in node.plates:
        count = graph.plates[plate].count
        if count and graph.variables[count].role == "latent":
            message = f"'{node.name}' has labels in the slots of '{plate}', and their count '{count}' has none"
            hint = f"make '{count}' supervised or observed: a label in a slot says something of the count"
            raise SpecError.of("GV117", message, place, hint)


def _check_order(data: Data) -> None:
    if data.slots and data.slots.order == "left_to_right" and data.source != _PLACED:
        message = f"{data.source} does not say what is to the left of what"
        hint = "write as_stored, and let the columns have the slots in an order of your own"
        raise SpecError.of("GV117", message, data.slots.span("order"), hint)


def _is_picture(shape: tuple[int, ...]) -> bool:
    return len(shape) == 2 or (len(shape) == 3 and shape[0] in (1, 3))


def _check_no_twice(words: tuple[str, ...], data: Data, *path: str) -> None:
    for index, word in enumerate(words):
        if word in words[:index]:
            message = f"'{visible(word)}' stands twice in this list"
            raise SpecError.of("GV111", message, data.span(*path, index), "leave one of them out")


def _check_categories(graph: ModelGraph, data: Data, name: str) -> None:
    """Every category has a name, and every name is a category's."""
    place, names = data.key("categories", name), data.categories[name]
    check_role(graph, name, _KNOWN, place, "names are for a variable that has a column")
    family = graph.variables[name].family
    if family is None or not family.simplex:
        owners = " or ".join(row.name for row in FAMILIES.values() if row.simplex)
        message = f"names are for categories, and '{name}' is {family.name if family else 'deterministic'}"
        raise SpecError.of("GV057", message, place, f"leave them out, or make it {owners}")
    if graph.variables[name].values:
        message = f"the categories of '{name}' are called by its values"
        raise SpecError.of("GV056", message, place, "leave the names out")
    _check_no_twice(names, data, "categories", name)
    categories = graph.variables[name].event[-1]
    if len(names) != categories:
        message = f"'{name}' has {categories} categories, and there are {len(names)} name(s)"
        raise SpecError.of("GV053", message, data.span("categories", name), "write a name for each, in their order")


def _check_transforms(graph: ModelGraph, data: Data, name: str) -> None:
    """A transform makes numbers that the family can have, and says all that it needs."""
    check_role(graph, name, _KNOWN, data.key("transforms", name), "a transform is for a variable that has a column")
    node, steps = graph.variables[name], data.steps_of(name)
    family = node.family
    assert family is not None
    for index, step in enumerate(steps):
        span = data.span("transforms", name, *([index] if isinstance(data.transforms[name], tuple) else []))
        if isinstance(step, Rescale):
            _check_rescale(step)
        called = step_name(step)
        made, supports = _MADE[called]
        if family.support not in supports:
            message = f"{called} makes {made}, and '{name}' is {family.name} ({family.support})"
            raise SpecError.of("GV057", message, span, "leave it out, or choose another family")
        if called in map(step_name, steps[:index]):
            raise SpecError.of("GV056", f"{called} stands twice", span, "leave one of them out")
        if called == "binarise_each_time" and node.role != "observed":
            message = f"binarise_each_time is for observed variables, and '{name}' is {node.role}"
            raise SpecError.of("GV056", message, span, "write binarise")
        if called == "binarise_each_time" and index + 1 < len(steps):
            raise SpecError.of("GV056", "nothing can follow binarise_each_time", span, "make it the last")


def _check_rescale(step: Rescale) -> None:
    if (step.binarise is None) == (step.scale is None):
        hint = "write {scale: [LOW, HIGH]}, {binarise: {threshold: 0.5}} or {binarise: {seed: 0}}"
        raise SpecError.of("GV056", "a transform is either scale or binarise", step.span(), hint)
    if step.to is not None and step.scale is None:
        raise SpecError.of("GV056", "'to' belongs to scale", step.key("to"), "leave it out")
    if step.binarise and step.binarise.threshold is not None and step.binarise.seed is not None:
        message = "threshold and seed exclude each other: a number is compared, or is a probability"
        raise SpecError.of("GV056", message, step.binarise.key("seed"), "keep one of them")


def _check_split(split: Split) -> None:
    """A split is said in one way, and in full."""
    ways = [key for key in ("column", "within", "by", "blocks") if getattr(split, key) is not None]
    if len(ways) > 1:
        raise SpecError.of("GV056", f"{' and '.join(ways)} exclude each other", split.key(ways[1]), "keep one of them")
    hint = "as in {column: fold, test: [test]}, with the values that the rows for the test have"
    if split.column is not None and split.test is None:
        raise SpecError.of("GV051", "a split by a column needs 'test'", split.key("column"), hint)
    if split.column is not None and not isinstance(split.test, tuple):
        raise SpecError.of("GV056", "'column' says which rows are for the test: no share is drawn", split.span("test"), hint)
    if split.column is None and isinstance(split.test, tuple):
        raise SpecError.of("GV056", "'test' lists values, and no column is named that has them", split.span("test"), hint)
    if split.seed is not None and (split.column is not None or split.blocks is not None):
        message = f"'{ways[0]}' says which rows are for the test: nothing is drawn"
        raise SpecError.of("GV056", message, split.key("seed"), "leave the seed out")
    if split.blocks is not None:
        _check_blocks(split)


def _check_blocks(split: Split) -> None:
    if split.test is not None:
        raise SpecError.of("GV056", "'blocks' say which rows are for the test", split.key("test"), "leave it out")
    for index, (first, last) in enumerate(split.stretches):
        if first > last:
            message = f"a block goes from its first row to its last, and not from {first} to {last}"
            raise SpecError.of("GV053", message, split.span("blocks", index), f"write {last}-{first}")
    (first, last), (other_first, other_last) = split.stretches
    if max(first, other_first) <= min(last, other_last):
        raise SpecError.of("GV053", "the blocks share rows", split.span("blocks"), "the first trains, the second tests")


def _check_label_draw(graph: ModelGraph, draw: LabelDraw) -> None:
    for index, name in enumerate(draw.variables):
        span = draw.span("variables", index)
        check_role(graph, name, ("supervised",), span, "labels are drawn for supervised variables")
        if name in draw.variables[:index]:
            raise SpecError.of("GV111", f"'{name}' stands twice in this draw", span, "leave one of them out")
    amounts = [key for key in ("rows", "fraction", "rows_per") if getattr(draw, key) is not None]
    if not amounts:
        hint = "write one of: rows, fraction, rows_per"
        raise SpecError.of("GV056", "this draw does not say how many rows", draw.span(), hint)
    if len(amounts) > 1:
        said = f"{' and '.join(amounts)} exclude each other"
        raise SpecError.of("GV056", said, draw.key(amounts[1]), "keep one of them")
    if draw.balanced:
        _check_balance(graph, draw)
    if draw.rows_per is not None:
        _check_rows_per(graph, draw, draw.rows_per)


def _check_balance(graph: ModelGraph, draw: LabelDraw) -> None:
    if draw.rows_per is not None:
        raise SpecError.of("GV056", "balanced and rows_per exclude each other", draw.key("balanced"), "keep one of them")
    discrete = [name for name in draw.variables if has_classes(graph, name)]
    if len(discrete) != 1:
        found = ", ".join(discrete) or "none"
        message = f"a balanced draw reveals exactly one variable with classes, and this one reveals {found}"
        hint = "balance a draw of one categorical or bernoulli variable, or leave 'balanced' out"
        raise SpecError.of("GV305", message, draw.key("balanced"), hint)


def _check_rows_per(graph: ModelGraph, draw: LabelDraw, rows_per: Mapping[str, int]) -> None:
    for index, name in enumerate(rows_per):
        if index or name not in draw.variables or not has_classes(graph, name):
            message = "rows_per counts the rows of each class of one variable that the draw reveals"
            hint = f"write rows_per: {{NAME: {rows_per[name]}}} with a categorical or bernoulli variable of the draw"
            raise SpecError.of("GV305", message, draw.key("rows_per", name), hint)
