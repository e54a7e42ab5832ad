"""An oracle for emitted code: a Plan interpreted in the plainest way, one row, one cell and one sample at a time.

It shares nothing with `graphvae.runtime`: networks are worked out from the weights, scores come from `torch.distributions`,
and `objective` is the formula of the method as it is written there.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import product
from math import prod

import torch
from torch import Tensor, distributions
from torch.nn import functional

from graphvae.compiler.graph import VariableNode
from graphvae.compiler.plan import Compute, Draw, Given, NetworkPlan, Parameter, Plan, Score, SidePlan

FAMILIES = {
    "normal": distributions.Normal,
    "bernoulli": distributions.Bernoulli,
    "continuous_bernoulli": distributions.ContinuousBernoulli,
    "categorical": distributions.OneHotCategorical,
}
TRANSFORMS = {
    "normal": lambda noise, parameters: parameters["loc"] + parameters["scale"] * noise,
    "continuous_bernoulli": lambda noise, parameters: (
        torch.log1p(noise * torch.expm1(parameters["logits"])) / parameters["logits"]
    ),
}
State = Mapping[str, Tensor]


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
        encoded = {node.name: encode(node, data[node.name][row]) for node in plan.variables if node.name in data}
        known = {name: value for name, value in encoded.items() if value is not None}
        rows.append(row_objective(plan, state, known, {name: draws[:, row] for name, draws in noise.items()}, alpha, beta))
    return torch.stack(rows)


def row_objective(
    plan: Plan,
    state: State,
    known: Mapping[str, Tensor],
    noise: Mapping[str, Tensor],
    alpha: Mapping[str, float],
    beta: Mapping[str, float],
) -> Tensor:
    """L = sum softmax(lw) f + sum over labels of (beta + alpha) log q(label), over the cells and samples of one row."""
    free = [step for step in plan.draws if step.enumeration is not None and step.value.name not in known]
    cells = [dict(zip([step.value.name for step in free], cell, strict=True)) for cell in product(*map(values_of, free))]
    samples = max((len(draws) for draws in noise.values()), default=1)
    scores = [
        score(plan, state, {**known, **cell}, {name: draws[s] for name, draws in noise.items()})
        for cell in cells
        for s in range(samples)
    ]
    drawn = [step.value.name for step in plan.draws]
    labels = [name for name in drawn if name in known]
    log_cell = torch.stack([sum((q[step.value.name] for step in free), torch.zeros(())) for q, _ in scores])
    log_label = {name: torch.stack([q[name] for q, _ in scores]) for name in labels}
    f = torch.stack(
        [sum(log_p if name not in drawn else beta[name] * (log_p - q[name]) for name, log_p in p.items()) for q, p in scores]
    )
    bound, before = torch.zeros(()), log_cell
    for name in labels:
        after = before + log_label[name]
        increment = after.logsumexp(0) - before.logsumexp(0)
        mean = (log_cell.exp() * log_label[name]).sum() / samples
        bound = bound + (beta[name] + alpha[name]) * (increment if plan.label_term == "log_mean" else mean)
        before = after
    return bound + (before.softmax(0) * f).sum()


def score(
    plan: Plan, state: State, known: Mapping[str, Tensor], noise: Mapping[str, Tensor]
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Log q and log p of every variable, with what is not known drawn from q."""
    values, log_q = walk(plan.q, "encoder", state, known, noise)
    _, log_p = walk(plan.p, "decoder", state, values, {})
    return log_q, log_p


def walk(
    side: SidePlan, network: str, state: State, known: Mapping[str, Tensor], noise: Mapping[str, Tensor]
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """The values of the random variables of one side and of what is known, and the score of each random variable."""
    weights = {key.removeprefix(f"{network}."): value for key, value in state.items() if key.startswith(f"{network}.")}
    values, local, scores = dict(known), {}, {}
    for step in side.steps:
        match step:
            case Given():
                local[step.value.python] = known[step.value.name]
            case Compute():
                outputs = apply(step.network, weights, [local[value.python] for value in step.inputs])
                local |= {value.python: output for value, output in zip(step.outputs, outputs, strict=True)}
            case Draw() | Score():
                name = step.value.name
                parameters = {row.name: parameter(row, weights, local) for row in step.parameters}
                if name not in values:
                    values[name] = TRANSFORMS[step.family.name](noise[name], parameters)
                family = FAMILIES[step.family.name](**parameters, validate_args=False)
                scores[name] = family.log_prob(values[name]).sum()
                local[step.value.python] = values[name]
    return values, scores


def apply(network: NetworkPlan, state: State, inputs: list[Tensor]) -> list[Tensor]:
    """A multilayer perceptron of the concatenated parents, with its batch normalisation by the running statistics."""
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


def parameter(row: Parameter, state: State, local: Mapping[str, Tensor]) -> Tensor:
    """One parameter of a family, in the shape of the event."""
    if row.kind == "head":
        raw = local[row.python]
    elif row.kind == "learned":
        raw = state[row.python.removeprefix("self.")]
    else:
        raw = torch.full(row.shape, row.number)
    return functional.softplus(raw) + row.floor if row.link == "positive" else raw


def values_of(step: Draw) -> list[Tensor]:
    """Every value of an enumerated variable."""
    event = step.value.event
    if not step.family.simplex:
        return [torch.tensor(cell).reshape(event) for cell in product([0.0, 1.0], repeat=prod(event))]
    return [torch.eye(event[-1])[list(cell)].reshape(event) for cell in product(range(event[-1]), repeat=prod(event[:-1]))]


def encode(node: VariableNode, value: Tensor) -> Tensor | None:
    """A value of the data as the model has it, one-hot for a category; None where it is missing."""
    if node.family is not None and node.family.simplex:
        return None if (value < 0).any() else torch.eye(node.event[-1])[value]
    return None if value.isnan().any() else value
