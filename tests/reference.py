"""An oracle for emitted code: a Plan interpreted in the plainest way, one row, one cell and one sample at a time.

It shares nothing with `graphvae.runtime`: networks are worked out from the weights, scores come from `torch.distributions`,
draws are found by loops, and `objective` is the formulas of the method as they are written there.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import product
from math import prod
from typing import Any, NamedTuple

import torch
from torch import Tensor, distributions
from torch.nn import functional

from graphvae.compiler.expressions import Binary, Name, Negative, Number
from graphvae.compiler.graph import VariableNode
from graphvae.compiler.plan import (
    Active,
    Assign,
    Call,
    Compute,
    Draw,
    Gather,
    Given,
    Index,
    Loop,
    NetworkPlan,
    Parameter,
    Plan,
    PoolPlan,
    Score,
    SidePlan,
    Slice,
    Step,
    Value,
)
from graphvae.compiler.spec import Network

State = Mapping[str, Tensor]
Slot = Mapping[str, int]


class Known(NamedTuple):
    """A value [plates..., event...] of a row, and the slots [plates...] in which it is known."""

    value: Tensor
    slots: Tensor


class Local(NamedTuple):
    """A value inside of a walk: the plates that it has an axis for, and the value [plates..., event...]."""

    plates: tuple[str, ...]
    value: Tensor

    def at(self, slot: Slot) -> Tensor:
        """The value in one slot."""
        return self.value[tuple(slot[plate] for plate in self.plates)]


def objective(
    plan: Plan,
    state: State,
    data: Mapping[str, Tensor],
    noise: Mapping[str, Tensor],
    alpha: Mapping[str, float],
    beta: Mapping[str, float],
) -> Tensor:
    """The objective of every row, [row]."""
    rows = []
    for row in range(len(next(iter(data.values())))):
        known = {node.name: encode(plan, node, data[node.name][row]) for node in plan.variables if node.name in data}
        rows.append(row_objective(plan, state, known, {name: draws[:, row] for name, draws in noise.items()}, alpha, beta))
    return torch.stack(rows)


def row_objective(
    plan: Plan,
    state: State,
    known: Mapping[str, Known],
    noise: Mapping[str, Tensor],
    alpha: Mapping[str, float],
    beta: Mapping[str, float],
) -> Tensor:
    """The bound of one row, over the cells of its enumerated variables and over its samples."""
    drawn = {step.value.name: step for step in plan.draws}
    enumerated = [step for step in plan.draws if step.enumeration is not None]
    samples = range(max((len(draws) for draws in noise.values()), default=1))
    scores = []
    for cell in product(*(cells_of(plan, step, known.get(step.value.name)) for step in enumerated)):
        named = {step.value.name: value for step, value in zip(enumerated, cell, strict=True)}
        walked = [score(plan, state, known, named, noise, sample) for sample in samples]
        if not all(q.excluded for q, _ in walked):
            scores.append(walked)

    def over(part: Any) -> Tensor:
        """A function of the walks through q and p, [cell, sample]."""
        return torch.stack([torch.stack([part(*both) for both in of_cell]) for of_cell in scores])

    def parts(side: int, name: str, where: bool) -> Tensor:
        """The log-probability of the slots that are known, or of the others."""
        return over(lambda *walks: torch.where(walks[side].known(name) == where, walks[side].scores[name], 0.0).sum())

    free = [name for name in drawn if drawn[name].enumeration is not None]
    labels = [name for name in drawn if name in known and known[name].slots.any()]
    sampled = [name for name in drawn if name not in free]
    log_p = {
        node.name: parts(1, node.name, True) + parts(1, node.name, False) for node in plan.variables if node.role != "given"
    }
    own, label = ({name: parts(0, name, where) for name in drawn} for where in (False, True))
    log_q = {name: own[name] + label[name] for name in drawn}
    excluded = over(lambda q, _: torch.tensor(q.excluded))
    log_cell = total(own[name] for name in free).masked_fill(excluded, -math.inf)
    log_labels = label_terms(plan, log_cell, {name: label[name] for name in labels})
    observed = total(log_p[name] for name in log_p if name not in drawn)
    if plan.bound == "self_normalised":
        ratio = {name: log_q[name] - log_p[name] for name in drawn}
        for name, behind in plan.closed_kl.items():
            if name in sampled and not set(labels) & set(behind):
                own_kl = over(lambda q, p, n=name: torch.where(q.known(n), 0.0, divergences(q, p, n)).sum())
                ratio[name] = own_kl + label[name] - parts(1, name, True)
        f = observed - total(beta[name] * ratio[name] for name in drawn)
        weight = (log_cell + total(label[name] for name in labels)).flatten().softmax(0)
        return (weight * f.flatten()).sum() + total((beta[name] + alpha[name]) * value for name, value in log_labels.items())
    g = observed + total(beta[name] * log_p[name] for name in drawn) - total(beta[name] * own[name] for name in sampled)
    inner = g.logsumexp(1) - math.log(len(samples)) - total(beta[name] * own[name][:, 0] for name in free)
    return (log_cell[:, 0].exp() * inner).sum() + total(alpha[name] * value for name, value in log_labels.items())


def label_terms(plan: Plan, log_cell: Tensor, log_labels: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Log q of each label, by the mean of its logarithm, or along the chain rule."""
    found, before = {}, log_cell
    for name, log_label in log_labels.items():
        after = before + log_label
        increment = after.flatten().logsumexp(0) - before.flatten().logsumexp(0)
        found[name] = increment if plan.label_term == "log_mean" else (log_cell.exp() * log_label).sum() / log_cell.shape[1]
        before = after
    return found


def cells_of(plan: Plan, step: Draw, known: Known | None) -> Iterator[Tensor]:
    """Every value [plates..., event...] of an enumerated variable that agrees with what is known of it."""
    sizes = step.shape[: len(step.shape) - len(step.value.event)]
    slots = list(product(*map(range, sizes)))
    for cell in product(*([known.value[s]] if known and known.slots[s] else values_of(step) for s in slots)):
        yield torch.stack(list(cell)).reshape(step.shape) if sizes else cell[0]


def score(
    plan: Plan, state: State, known: Mapping[str, Known], cell: Mapping[str, Tensor], noise: Mapping[str, Tensor], sample: int
) -> tuple[Walk, Walk]:
    """A walk through q, and one through p with every value of q."""
    sampled = [step for step in plan.draws if step.enumeration is None and not step.collapse]
    chosen = {name: Known(value, torch.ones(())) for name, value in cell.items()}
    own = {step.value.name: own_noise(plan, step, chosen, noise[step.value.name][sample]) for step in sampled}
    q = Walk(plan, known, cell, own)
    q.run(plan.q, under(state, "encoder"), {}, {})
    collapsed = {step.value.name for step in plan.draws if step.collapse}
    p = Walk(plan, known, {name: value for name, value in q.values.items() if name not in collapsed}, {})
    p.run(plan.p, under(state, "decoder"), {}, {})
    return q, p


def own_noise(plan: Plan, draw: Draw, cell: Mapping[str, Known], noise: Tensor) -> Tensor:
    """The noise of this cell: of a score-function draw it comes for all, [last enumeration, ..., first, plate..., event...]."""
    for axis in reversed(range(len(draw.cells))):
        above = next(step for step in plan.draws if step.enumeration == axis)
        values = values_of(above)
        index = next(place for place, value in enumerate(values) if torch.allclose(value, cell[above.value.name].value))
        noise = noise[index if draw.cells[axis] > 1 else 0]
    return noise


class Walk:
    """A pass through one side, slot by slot: the value of every random variable, and its score in every slot.

    `given` has values from elsewhere: those of a cell of the enumerated variables, or those that q made.
    """

    def __init__(
        self, plan: Plan, known: Mapping[str, Known], given: Mapping[str, Tensor], noise: Mapping[str, Tensor]
    ) -> None:
        self.plan, self.noise, self.given = plan, noise, given
        self.evidence = known
        self.nodes = {node.name: node for node in plan.variables}
        self.values: dict[str, Tensor] = {name: each.value for name, each in known.items()}
        self.scores: dict[str, Tensor] = {}
        self.distributions: dict[str, dict[tuple[int, ...], distributions.Distribution]] = {}
        self.active: dict[str, Local] = {}
        self.excluded = False

    def sizes(self, plates: Iterable[str]) -> tuple[int, ...]:
        return tuple(self.plan.sizes[plate] for plate in plates)

    def known(self, name: str) -> Tensor:
        """In which slots a variable is known."""
        shape = self.sizes(self.nodes[name].plates)
        return self.evidence[name].slots if name in self.evidence else torch.zeros(shape, dtype=torch.bool)

    def slots(self, plates: Sequence[str]) -> Iterator[Slot]:
        """Every slot of some plates."""
        for index in product(*map(range, self.sizes(plates))):
            yield dict(zip(plates, index, strict=True))

    def over(self, value: Value, part: Callable[[Slot], Tensor], outer: Slot) -> Local:
        """A value made slot by slot."""
        plates = tuple(axis for axis in value.axes if axis in self.plan.sizes)
        made = [part({**outer, **slot}) for slot in self.slots(plates)]
        return Local(plates, torch.stack(made).reshape(*self.sizes(plates), *made[0].shape) if plates else made[0])

    def here(self, name: str, slot: Slot, known: bool = False) -> Local:
        """What is visible of a variable in a slot of a loop or of a sub-model's plates."""
        plates = self.nodes[name].plates
        value = self.values[name]
        if known:
            value = present(value, len(plates) + len(self.nodes[name].elements)).to(torch.get_default_dtype())
        index = tuple(slot.get(plate, slice(None)) for plate in plates)
        return Local(tuple(plate for plate in plates if plate not in slot), value[index])

    def run(self, side: SidePlan, weights: State, slot: Slot, local: dict[str, Local]) -> None:
        """All steps of a side."""
        self.steps(side, side.steps, weights, slot, local)

    def steps(self, side: SidePlan, steps: Sequence[Step], weights: State, slot: Slot, local: dict[str, Local]) -> None:
        for step in steps:
            match step:
                case Given():
                    here = self.here(step.value.name, slot)
                    local[step.value.python] = here._replace(value=here.value.nan_to_num(0.0))
                    if step.mask:
                        local[step.mask.python] = self.here(step.value.name, slot, known=True)
                case Index():
                    local[step.value.python] = Local((step.value.name,), torch.eye(step.size))
                case Active():
                    count = self.here(step.count.name, slot)
                    values = torch.arange(step.size + 1.0) if step.values is None else torch.tensor(step.values)
                    number = count.value if step.values is None else (count.value * values).sum(-1)
                    weight = (torch.arange(step.size) < number[..., None]).to(number.dtype)
                    local[step.value.python] = self.active[step.value.axes[-1]] = Local(
                        (*count.plates, step.value.axes[-1]), weight
                    )
                case Compute():
                    self.compute(step, weights, slot, local)
                case Gather():
                    part = partial(self.gather, step, weights, local)
                    local[step.output.python] = self.over(step.output, part, {})
                case Assign():
                    env = {value.python: local[value.python] for value in step.inputs}
                    local[step.value.python] = self.over(step.value, partial(self.assign, step, env), {})
                case Draw() | Score():
                    self.draw(step, weights, slot, local)
                    local[step.value.python] = self.here(step.value.name, slot)
                case Slice():
                    source = local[step.source.python]
                    plate = next(plate for plate in source.plates if plate not in step.value.axes)
                    index = tuple(slot[plate] if own == plate else slice(None) for own in source.plates)
                    local[step.value.python] = Local(tuple(p for p in source.plates if p != plate), source.value[index])
                case Loop():
                    self.loop(side, step, weights, slot, local)
                case Call():
                    plates = [f"{side.path}.{plate}" if side.path else plate for plate, _ in step.plates]
                    for own in self.slots(plates):
                        self.run(step.side, under(weights, step.attribute), {**slot, **own}, {})
                    for _, value in step.outputs:
                        local[value.python] = self.here(value.name, slot)

    def compute(self, step: Compute, weights: State, slot: Slot, local: dict[str, Local]) -> None:
        for place, output in enumerate(step.outputs):

            def part(own: Slot, place: int = place) -> Tensor:
                return apply(step.network, weights, [local[each.value.python].at(own) for each in step.inputs])[place]

            local[output.python] = self.over(output, part, {})

    def gather(self, step: Gather, weights: State, local: Mapping[str, Local], slot: Slot) -> Tensor:
        """The slots of a pool, one by one."""
        inputs = [local[each.value.python] for each in step.inputs]
        plates = list(dict.fromkeys(plate for each in inputs for plate in each.plates if plate not in slot))
        own = under(weights, step.pool.attribute)
        return pooled(
            step.pool,
            own,
            [
                (
                    [each.at({**slot, **inner}) for each in inputs],
                    local[step.active.value.python].at({**slot, **inner}) if step.active else torch.ones(()),
                )
                for inner in self.slots(plates)
            ],
        )

    def assign(self, step: Assign, local: Mapping[str, Local], slot: Slot) -> Tensor:
        """The value of an expression in one slot, worked out from its tree."""
        named = evaluate(step.tree, step, local, slot, self)
        shape = step.value.event
        axes = AXES[len(shape)]
        return spread(named, axes).expand(shape) if named.axes or shape else named.value

    def draw(self, step: Draw | Score, weights: State, slot: Slot, local: Mapping[str, Local]) -> None:
        """One variable in every slot that is visible here."""
        name = step.value.name
        node = self.nodes[name]
        sizes = self.sizes(node.plates)
        if name not in self.scores:
            self.scores[name] = torch.zeros(sizes)
            self.distributions[name] = {}
        for own in self.slots([axis for axis in step.value.axes if axis in self.plan.sizes]):
            self.draw_slot(
                step, node, {**slot, **own}, {row.name: parameter(row, weights, local, own) for row in step.parameters}
            )

    def draw_slot(self, step: Draw | Score, node: VariableNode, slot: Slot, given: dict[str, Tensor]) -> None:
        name, index = node.name, tuple(slot[plate] for plate in node.plates)
        number = {} if step.number is None else {step.family.number.name: step.number}
        distribution = FAMILIES[step.family.name](**given, **number)
        self.distributions[name][index] = distribution
        active = math.prod((float(self.active[plate].at(slot)) for plate in node.plates if plate in self.active), start=1.0)
        known = name in self.evidence and bool(self.evidence[name].slots[index])
        if known or node.evidence:
            value = self.evidence[name].value[index]
        elif name in self.given:
            value = self.given[name][index]
        elif step.collapse:
            value = distribution.mean
        else:
            value = DRAWN[step.family.name](self.noise[name][index], **given, **number)
        self.put(name, index, value)
        if isinstance(step, Draw) and step.enumeration is not None and not known and active == 0:
            self.excluded = self.excluded or not torch.equal(value, values_of(step)[0])
        if active and (known or not step.collapse):
            elements = distribution.log_prob(value.nan_to_num(1.0))  # NaN would spoil the gradient of all
            self.put_score(name, index, active * torch.where(present(value, elements.dim()), elements, 0.0).sum())

    def put(self, name: str, index: tuple[int, ...], value: Tensor) -> None:
        if not index:
            self.values[name] = value
            return
        shape = (*self.sizes(self.nodes[name].plates), *value.shape)
        whole = self.values[name].clone() if name in self.values and self.values[name].shape == shape else torch.zeros(shape)
        self.values[name] = whole.index_put(tuple(map(torch.tensor, index)), value)

    def put_score(self, name: str, index: tuple[int, ...], value: Tensor) -> None:
        self.scores[name] = self.scores[name].index_put(tuple(map(torch.tensor, index)), value) if index else value

    def loop(self, side: SidePlan, step: Loop, weights: State, slot: Slot, local: dict[str, Local]) -> None:
        plate = f"{side.path}.{step.plate}" if side.path else step.plate
        before = {}
        for each in step.carried:
            initial = weights[each.initial] if each.learned else torch.zeros(each.shape)
            before[each.before.python] = Local(tuple(a for a in each.before.axes if a in self.plan.sizes), initial)
        kept: dict[str, list[Local]] = {value.python: [] for value in step.kept}
        for k in range(step.size):
            inside = {**local, **before}
            self.steps(side, step.body, weights, {**slot, plate: k}, inside)
            before = {each.before.python: inside[each.after.python] for each in step.carried}
            for python, values in kept.items():
                values.append(inside[python])
        for value in step.stacked:
            if value.python in kept:
                made = kept[value.python]
                local[value.python] = Local((*made[0].plates, plate), torch.stack([m.value for m in made], len(made[0].plates)))
            else:
                local[value.python] = self.here(value.name, slot)


AXES = {0: (), 1: ("channel",), 2: ("height", "width"), 3: ("channel", "height", "width")}


class Named(NamedTuple):
    """A value whose dimensions have names."""

    axes: tuple[str, ...]
    value: Tensor


def spread(named: Named, axes: Sequence[str]) -> Tensor:
    """A value with a dimension for each of these axes."""
    index = tuple(slice(None) if axis in named.axes else None for axis in axes)
    return named.value[index] if index else named.value


def evaluate(tree: Any, step: Assign, local: Mapping[str, Local], slot: Slot, walk: Walk) -> Named:
    """An expression in one slot, worked out by the names of axes."""

    def at(part: Any, own: Slot = slot) -> Named:
        return evaluate(part, step, local, own, walk)

    match tree:
        case Number():
            return Named((), torch.tensor(float(tree.text)))
        case Name():
            value = next(v for v in step.inputs if v.name == tree.text or v.name.endswith(f".{tree.text}"))
            here = local[value.python].at(slot)
            return Named(AXES[here.dim()], here)
        case Negative():
            part = at(tree.part)
            return part._replace(value=-part.value)
        case Binary():
            left, right = at(tree.left), at(tree.right)
            axes = tuple(axis for axis in AXES[3] if axis in (*left.axes, *right.axes))
            operation = {"+": torch.add, "-": torch.sub, "*": torch.mul, "/": torch.div, "**": torch.pow}[tree.operator]
            return Named(axes, operation(spread(left, axes), spread(right, axes)))
    arguments = tree.arguments
    if tree.function in ("sum", "mean", "max") and len(arguments) == 2 and arguments[1].text not in AXES[3]:
        plate = arguments[1].text
        parts = []
        for k in range(walk.plan.sizes[plate]):
            weight = walk.active[plate].at({**slot, plate: k}) if plate in walk.active else torch.ones(())
            if weight > 0:
                parts.append((at(arguments[0], {**slot, plate: k}), weight))
        if not parts:
            first = at(arguments[0], {**slot, plate: 0})
            return first._replace(value=torch.zeros_like(first.value))
        values, weights = torch.stack([part.value for part, _ in parts]), [weight for _, weight in parts]
        summed = total(value * weight for value, weight in zip(values, weights, strict=True))
        return Named(parts[0][0].axes, {"sum": summed, "mean": summed / total(weights), "max": values.amax(0)}[tree.function])
    first = at(arguments[0])
    if tree.function in ("paste", "crop"):
        height, width = step.value.event[1:]
        scale, x, y = at(arguments[1]).value
        scale = 0.25 + functional.softplus(20 * (scale - 0.25)) / 20
        if tree.function == "crop":
            scale, x, y = 1 / scale, -x / scale, -y / scale
        return Named(first.axes, bilinear(first.value, scale, x, y, height, width))
    if tree.function == "dot":
        product = evaluate(Binary("*", arguments[0], arguments[1], None), step, local, slot, walk)
        axis = arguments[2].text if len(arguments) > 2 else product.axes[0]
        return Named(tuple(a for a in product.axes if a != axis), product.value.sum(product.axes.index(axis)))
    if tree.function in ("sum", "mean", "max", "normalise"):
        axis = arguments[1].text if len(arguments) > 1 else first.axes[0]
        place = first.axes.index(axis)
        if tree.function == "normalise":
            return first._replace(value=first.value / first.value.square().sum(place, keepdim=True).sqrt())
        reduced = {"sum": first.value.sum(place), "mean": first.value.mean(place), "max": first.value.amax(place)}[
            tree.function
        ]
        return Named(tuple(a for a in first.axes if a != axis), reduced)
    if tree.function == "stack":
        parts = [at(argument) for argument in arguments]
        axes = tuple(axis for axis in AXES[3] if any(axis in part.axes for part in parts))
        return Named(("channel", *axes), torch.stack([spread(part, axes) for part in parts]))
    return first._replace(
        value={"softplus": functional.softplus}.get(tree.function, getattr(torch, tree.function, None))(first.value)
    )


def bilinear(picture: Tensor, scale: Tensor, x: Tensor, y: Tensor, height: int, width: int) -> Tensor:
    """A picture [channel, height, width] with zeros around it, seen at (scale u + x, scale v + y) by every pixel (u, v)."""

    def weights(pixels: int, old: int, shift: Tensor) -> Tensor:
        """How much of each old pixel each new one takes, [new, old]."""
        centres = (2 * torch.arange(pixels, dtype=picture.dtype) + 1) / pixels - 1
        place = ((scale * centres + shift + 1) * old - 1) / 2
        return (1 - (place[:, None] - torch.arange(old)).abs()).clamp_min(0)

    rows, columns = weights(height, picture.shape[1], y), weights(width, picture.shape[2], x)
    return torch.einsum("ih,jw,chw->cij", rows, columns, picture)


def pooled(pool: PoolPlan, weights: State, slots: list[tuple[list[Tensor], Tensor]]) -> Tensor:
    """What a pool makes of its slots, each with its weight."""
    block = Network(hidden=pool.hidden, activation=pool.activation)
    embedding = NetworkPlan("embedding", pool.parents, (), block)
    parts = [(apply(embedding, weights, inputs)[0], weight) for inputs, weight in slots if weight > 0]
    if not parts:
        return torch.zeros(pool.hidden[-1])
    features, own = torch.stack([part for part, _ in parts]), torch.stack([weight for _, weight in parts])[:, None]
    match pool.over:
        case "sum":
            return (features * own).sum(0)
        case "mean":
            return (features * own).sum(0) / own.sum()
        case "max":
            return features.max(0).values
        case _:
            share = (features @ weights["query"] / math.sqrt(pool.hidden[-1])).exp() * own[:, 0]
            return (features * (share / share.sum())[:, None]).sum(0)


def divergences(q: Walk, p: Walk, name: str) -> Tensor:
    """KL(q || p) of a variable in every slot, in closed form; nothing where a slot is inactive."""
    found = torch.zeros_like(q.scores[name])
    for index, distribution in q.distributions[name].items():
        slot = dict(zip(q.nodes[name].plates, index, strict=True))
        active = math.prod((float(q.active[plate].at(slot)) for plate in slot if plate in q.active), start=1.0)
        value = (
            active * distributions.kl_divergence(distribution, p.distributions[name][index]).sum()
            if active
            else torch.zeros(())
        )
        found = found.index_put(tuple(map(torch.tensor, index)), value) if index else value
    return found


def apply(network: NetworkPlan, state: State, inputs: list[Tensor]) -> list[Tensor]:
    """A multilayer perceptron of the concatenated parents, with its batch normalisation by the running statistics."""
    if network.block.kind in NETWORKS:
        return NETWORKS[network.block.kind](network, state, inputs)
    block, layer = network.block, 0
    weights = {key.removeprefix(f"{network.attribute}."): value for key, value in state.items()}
    first = torch.cat([weights[f"first.weight_{name}"] for name, _ in network.parents], dim=1)
    features = first @ torch.cat([value.flatten() for value in inputs]) + weights["first.bias"]
    for depth, _ in enumerate(block.hidden or (), start=1):
        if block.normalisation != "none":
            mean, variance = features.mean(), features.var(correction=0)
            if block.normalisation == "batch":
                mean, variance = weights[f"body.{layer}.running_mean"], weights[f"body.{layer}.running_var"]
            features = (features - mean) / (variance + 1e-5).sqrt()
            features = features * weights[f"body.{layer}.weight"] + weights[f"body.{layer}.bias"]
            layer += 1
        features = getattr(functional, block.activation)(features) if block.activation != "tanh" else features.tanh()
        layer += 2 if block.dropout else 1
        if network.heads or depth < len(block.hidden or ()):
            features = weights[f"body.{layer}.weight"] @ features + weights[f"body.{layer}.bias"]
            layer += 1
    shapes = [torch.Size(shape) for _, shape in network.heads] or [features.shape]
    parts = features.split([shape.numel() for shape in shapes])
    return [part.reshape(shape) for part, shape in zip(parts, shapes, strict=True)]


def parameter(row: Parameter, state: State, local: Mapping[str, Local], slot: Slot) -> Tensor:
    """One parameter of a family, in its shape."""
    if row.kind in ("head", "expression"):
        raw = local[row.python].at(slot)
        raw = raw.clamp(1e-6, 1 - 1e-6) if row.name == "probs" else raw  # a probability of 0 or 1 would be certain
    elif row.kind == "learned":
        raw = state[row.python.removeprefix("self.")]
    else:
        raw = torch.full(row.shape, row.number)
    if row.link == "unit":
        return 1 / (1 + (-raw).exp())
    if row.link == "identity":
        return raw
    value = functional.softplus(raw) + row.floor
    return value if row.ceiling == math.inf else 1 / (1 / value + 1 / row.ceiling)


def values_of(step: Draw) -> list[Tensor]:
    """Every value of an enumerated variable."""
    event, number = step.value.event, step.number or 1
    if step.family.simplex:
        return [torch.eye(event[-1])[list(cell)].reshape(event) for cell in product(range(event[-1]), repeat=prod(event[:-1]))]
    ends = torch.arange(number) / (number - 1) if step.family.support == "levels" else torch.arange(number + 1.0)
    return [torch.tensor(cell).reshape(event) for cell in product(ends.tolist(), repeat=prod(event))]


def encode(plan: Plan, node: VariableNode, value: Tensor) -> Known:
    """A value of the data as the model has it, one-hot for a category, NaN where it is missing; and where it is known."""
    if node.family is not None and node.family.support == "categories":
        value = torch.where(value[..., None] < 0, torch.nan, torch.eye(node.event[-1])[value])
    known = ~value.isnan().flatten(len(node.plates)).any(-1) if node.event else ~value.isnan()
    return Known(value, known if node.inferred else torch.ones_like(known))


def present(value: Tensor, elements: int) -> Tensor:
    """Which elements of a value [event...] are there, [elements...]: a vector that is one element is there as a whole."""
    return ~(value.isnan() if elements == value.dim() else value.isnan().any(-1))


def total(parts: Iterable[Tensor]) -> Tensor:
    """A sum, of nothing 0."""
    return sum(parts, torch.zeros(()))


# Families by element, of their parameters as the Plan names them.


def ordinal(loc: Tensor, logits: Tensor) -> distributions.Distribution:
    """P(y <= k) = sigmoid(c_k - loc), the cut points c_k being the logits of a baseline's cumulative probabilities."""
    below = logits.softmax(-1).cumsum(-1)[..., :-1]
    edges = torch.cat(
        [torch.zeros_like(loc)[..., None], (below.logit() - loc[..., None]).sigmoid(), torch.ones_like(loc)[..., None]], -1
    )
    return distributions.OneHotCategorical(probs=edges.diff(dim=-1), validate_args=False)


class Angle(distributions.VonMises):
    """torch's own log-probability has seven digits."""

    def __init__(self, loc: Tensor, concentration: Tensor) -> None:
        super().__init__(loc, concentration, validate_args=False)

    def log_prob(self, value: Tensor) -> Tensor:
        return self.concentration * (value - self.loc).cos() - (2 * math.pi * torch.special.i0(self.concentration)).log()


class ZeroInflatedPoisson(distributions.Poisson):
    """Zero with the probability sigmoid(gate_logits), else a Poisson count."""

    def __init__(self, gate_logits: Tensor, rate: Tensor) -> None:
        super().__init__(rate, validate_args=False)
        self.gate = gate_logits.sigmoid()

    def log_prob(self, value: Tensor) -> Tensor:
        return (self.gate * (value == 0) + (1 - self.gate) * super().log_prob(value).exp()).log()


class RoundedLogistic(distributions.Normal):
    """A logistic variable rounded to the nearest of the levels between 0 and 1, what lies beyond to the first or last."""

    def __init__(self, loc: Tensor, scale: Tensor, levels: int) -> None:
        super().__init__(loc, scale, validate_args=False)
        self.half = 0.5 / (levels - 1)

    def log_prob(self, value: Tensor) -> Tensor:
        below, above = (((value + side - self.loc) / self.scale).sigmoid() for side in (-self.half, self.half))
        below, above = torch.where(value < self.half, 0.0, below), torch.where(value > 1 - self.half, 1.0, above)
        return (above - below).log()


def mixture(logits: Tensor, loc: Tensor, scale: Tensor) -> distributions.Distribution:
    """A mixture of normal vectors with independent coordinates."""
    weights, parts = distributions.Categorical(logits=logits), distributions.Independent(distributions.Normal(loc, scale), 1)
    return distributions.MixtureSameFamily(weights, parts, validate_args=False)


FAMILIES: dict[str, Any] = {
    "normal": lambda loc, scale: distributions.Normal(loc, scale, validate_args=False),
    "laplace": lambda loc, scale: distributions.Laplace(loc, scale, validate_args=False),
    "student_t": lambda df, loc, scale: distributions.StudentT(df, loc, scale, validate_args=False),
    "log_normal": lambda loc, scale: distributions.LogNormal(loc, scale, validate_args=False),
    "gamma": lambda concentration, rate: distributions.Gamma(concentration, rate, validate_args=False),
    "continuous_bernoulli": lambda **logits: distributions.ContinuousBernoulli(**logits, validate_args=False),
    "von_mises": Angle,
    "dirichlet": lambda concentration: distributions.Dirichlet(concentration, validate_args=False),
    "multivariate_normal": lambda loc, scale, below: distributions.MultivariateNormal(
        loc, scale_tril=below.tril(-1) + torch.diag_embed(scale), validate_args=False
    ),
    "low_rank_normal": lambda loc, scale, factor: distributions.LowRankMultivariateNormal(
        loc, factor, scale.square(), validate_args=False
    ),
    "mixture_of_normals": mixture,
    "bernoulli": lambda **logits: distributions.Bernoulli(**logits, validate_args=False),
    "categorical": lambda logits: distributions.OneHotCategorical(logits=logits, validate_args=False),
    "ordinal": ordinal,
    "binomial": lambda **logits: distributions.Binomial(**logits, validate_args=False),
    "poisson": lambda rate: distributions.Poisson(rate, validate_args=False),
    "negative_binomial": lambda **logits: distributions.NegativeBinomial(**logits, validate_args=False),
    "zero_inflated_poisson": ZeroInflatedPoisson,
    "discretised_logistic": RoundedLogistic,
}


# Draws from noise, by the algorithms that the runtime names, a proposal at a time.


def poisson_draw(noise: Tensor, rate: Tensor) -> Tensor:
    """The smallest count whose cumulative probability reaches the noise."""
    count = 0
    while distributions.Poisson(rate).log_prob(torch.arange(count + 1.0)).exp().sum() < noise:
        count += 1
    return torch.tensor(float(count))


def angle_draw(noise: Tensor, loc: Tensor, concentration: Tensor) -> Tensor:
    """Best and Fisher (1979): an angle of a wrapped Cauchy variable, proposed until one is accepted."""
    tau = 1 + (1 + 4 * concentration**2).sqrt()
    rho = (tau - (2 * tau).sqrt()) / (2 * concentration)
    r = (1 + rho**2) / (2 * rho)
    for turn, uniform in zip(*noise.chunk(2), strict=True):
        angle = 2 * ((1 - rho) / (1 + rho) * (math.pi * (turn - 0.5)).tan()).atan()
        c = concentration * (r - angle.cos())
        if (c / uniform).log() + 1 - c >= 0:
            return torch.remainder(loc + angle + math.pi, 2 * math.pi) - math.pi
    raise AssertionError("no proposal was accepted")


def gamma_draw(noise: Tensor, concentration: Tensor) -> Tensor:
    """Marsaglia and Tsang (2000) at concentration + 1, times the power of a uniform number that leads down to concentration."""
    d = concentration + 2 / 3
    for normal, uniform in zip(*noise[:-1].chunk(2), strict=True):
        v = (1 + normal / (9 * d).sqrt()) ** 3
        if v > 0 and uniform.log() < normal**2 / 2 + d - d * v + d * v.log():
            return d * v * noise[-1] ** (1 / concentration)
    raise AssertionError("no proposal was accepted")


def shares_draw(noise: Tensor, concentration: Tensor) -> Tensor:
    """Gamma variables divided by their sum."""
    draws = torch.stack([gamma_draw(own, each) for own, each in zip(noise, concentration, strict=True)])
    return draws / draws.sum()


def category_draw(noise: Tensor, logits: Tensor) -> Tensor:
    """The arg-max of the logits with Gumbel noise, one-hot."""
    return torch.eye(logits.shape[-1])[(logits - (-noise.log()).log()).argmax(-1)]


DRAWN: dict[str, Any] = {
    "normal": lambda noise, loc, scale: loc + scale * noise,
    "log_normal": lambda noise, loc, scale: (loc + scale * noise).exp(),
    "low_rank_normal": lambda noise, loc, scale, factor: loc + scale * noise[:, 0] + factor @ noise[: factor.shape[1], 1],
    "continuous_bernoulli": lambda noise, logits: torch.log1p(noise * torch.expm1(logits)) / logits,
    "von_mises": angle_draw,
    "dirichlet": shares_draw,
    "bernoulli": lambda noise, logits: (noise < logits.sigmoid()).to(noise.dtype),
    "categorical": category_draw,
    "poisson": poisson_draw,
}


# Networks of other kinds, whose perceptrons `apply` works out.


def convolve(image: Tensor, weight: Tensor, bias: Tensor, stride: int = 1) -> Tensor:
    """What each of the nine places of a 3 by 3 window adds, of an image [plane, height, width] with zeros around it."""
    padded = functional.pad(image, (1, 1, 1, 1))
    height, width = (-(-side // stride) for side in image.shape[1:])
    parts = [
        torch.einsum("op,phw->ohw", weight[:, :, i, j], padded[:, i::stride, j::stride][:, :height, :width])
        for i, j in product(range(3), repeat=2)
    ]
    return total(parts) + bias[:, None, None]


def resize(image: Tensor, height: int, width: int) -> Tensor:
    """Each new pixel is the old one in whose share of the image its upper left corner lies."""
    rows = [row * image.shape[1] // height for row in range(height)]
    columns = [column * image.shape[2] // width for column in range(width)]
    return image[:, rows][:, :, columns]


def after(features: Tensor, block: Any, weights: State, layer: int) -> tuple[Tensor, int]:
    """Normalisation and non-linearity of features [feature] or planes [plane, height, width], and the layer behind them."""
    pixels = (...,) + (None,) * (features.dim() - 1)
    if block.normalisation != "none":
        mean, variance = features.mean(), features.var(correction=0)
        if block.normalisation == "batch":
            mean, variance = weights[f"{layer}.running_mean"][pixels], weights[f"{layer}.running_var"][pixels]
        features = (features - mean) / (variance + 1e-5).sqrt()
        features = features * weights[f"{layer}.weight"][pixels] + weights[f"{layer}.bias"][pixels]
        layer += 1
    features = getattr(functional, block.activation)(features) if block.activation != "tanh" else features.tanh()
    return features, layer + (2 if block.dropout else 1)


def under(state: State, *path: str) -> State:
    prefix = ".".join(path) + "."
    return {key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)}


def perceptron(
    network: NetworkPlan, part: str, parents: Mapping[str, Tensor], heads: Mapping[str, tuple[int, ...]]
) -> NetworkPlan:
    """The perceptron inside a network."""
    shapes = tuple((name, tuple(value.shape)) for name, value in parents.items())
    block = network.block.model_copy(update={"kind": "mlp"})
    return replace(network, attribute=f"{network.attribute}.{part}", parents=shapes, heads=tuple(heads.items()), block=block)


def conv(network: NetworkPlan, state: State, inputs: list[Tensor]) -> list[Tensor]:
    seen: dict[str, Tensor] = {}
    for (name, shape), value in zip(network.parents, inputs, strict=True):
        weights, layer, features = under(state, network.attribute, f"stem_{name}", "body"), 0, value
        for _ in network.block.channels if len(shape) == 3 else ():
            features = convolve(features, weights[f"{layer}.weight"], weights[f"{layer}.bias"], stride=2)
            features, layer = after(features, network.block, weights, layer + 1)
        seen[name] = features.flatten() if len(shape) == 3 else value
    return apply(perceptron(network, "dense", seen, dict(network.heads)), state, list(seen.values()))


def deconv(network: NetworkPlan, state: State, inputs: list[Tensor]) -> list[Tensor]:
    channels, (_, height, width) = network.block.channels, network.heads[0][1]
    sizes = [(height, width)]
    for _ in channels:
        sizes.append((math.ceil(sizes[-1][0] / 2), math.ceil(sizes[-1][1] / 2)))
    seen = {name: value for (name, _), value in zip(network.parents, inputs, strict=True)}
    [features] = apply(perceptron(network, "dense", seen, {"planes": (channels[0], *sizes[-1])}), state, inputs)
    weights = under(state, network.attribute, "body")
    features, layer = after(features, network.block, weights, 0)
    for size in reversed(sizes[:-1]):
        features = convolve(resize(features, *size), weights[f"{layer + 1}.weight"], weights[f"{layer + 1}.bias"])
        features, layer = after(features, network.block, weights, layer + 2)
    return list(
        convolve(features, weights[f"{layer}.weight"], weights[f"{layer}.bias"]).split([s[0] for _, s in network.heads])
    )


def residual(network: NetworkPlan, state: State, inputs: list[Tensor]) -> list[Tensor]:
    weights = under(state, network.attribute)
    first = torch.cat([weights[f"first.weight_{name}"] for name, _ in network.parents], dim=1)
    features = first @ torch.cat([value.flatten() for value in inputs]) + weights["first.bias"]
    features, layer = after(features, network.block, under(weights, "body"), 0)
    for _ in network.block.hidden[1:]:
        block = under(weights, "body", str(layer), "change")
        change, last = after(features, network.block, block, 0)
        features, layer = features + block[f"{last}.weight"] @ change + block[f"{last}.bias"], layer + 1
    if not network.heads:
        return [features]
    made = weights[f"body.{layer}.weight"] @ features + weights[f"body.{layer}.bias"]
    parts = made.split([prod(shape) for _, shape in network.heads])
    return [part.reshape(shape) for part, (_, shape) in zip(parts, network.heads, strict=True)]


def gru(network: NetworkPlan, state: State, inputs: list[Tensor]) -> list[Tensor]:
    """A recurrent unit, gate by gate."""
    weights = under(state, network.attribute)
    seen = {name: value.flatten() for (name, _), value in zip(network.parents, inputs, strict=True)}
    before = seen.pop(network.state)
    above = total(weights[f"inputs.weight_{name}"] @ value for name, value in seen.items()) + weights["inputs.bias"]
    own = weights["recurrent.weight"] @ before + weights["recurrent.bias"]
    (r, z, n), (own_r, own_z, own_n) = above.reshape(3, -1), own.reshape(3, -1)
    reset, update = 1 / (1 + (-r - own_r).exp()), 1 / (1 + (-z - own_z).exp())
    return [(1 - update) * (n + reset * own_n).tanh() + update * before]


NETWORKS = {"conv": conv, "deconv": deconv, "residual": residual, "gru": gru}
