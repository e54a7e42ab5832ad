"""An oracle for emitted code: a Plan interpreted in the plainest way, one row, one cell and one sample at a time.

It shares nothing with `graphvae.runtime`: networks are worked out from the weights, scores come from `torch.distributions`,
draws are found by loops, and `objective` is the formulas of the method as they are written there.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import replace
from itertools import product
from math import prod
from typing import Any, NamedTuple

import torch
from torch import Tensor, distributions
from torch.nn import functional

from graphvae.compiler.graph import VariableNode
from graphvae.compiler.plan import Compute, Draw, Given, NetworkPlan, Parameter, Plan, Score, SidePlan

State = Mapping[str, Tensor]


class Scored(NamedTuple):
    """The log-probability of a value, and the distribution of its elements."""

    log_prob: Tensor
    distribution: distributions.Distribution


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
    """The bound of one row, over the cells of its enumerated variables and over its samples."""
    drawn = [step.value.name for step in plan.draws]
    free = [step.value.name for step in plan.draws if step.enumeration is not None and step.value.name not in known]
    sampled = [name for name in drawn if name not in known and name not in free]
    values = {step.value.name: values_of(step) for step in plan.draws if step.enumeration is not None}
    cells = [dict(zip(free, cell, strict=True)) for cell in product(*(values[name] for name in free))]
    samples = range(max((len(draws) for draws in noise.values()), default=1))
    scores = [[score(plan, state, {**known, **cell}, noise, s) for s in samples] for cell in cells]

    def over(part: Any) -> Tensor:
        """A function of the scores of q and p, [cell, sample]."""
        return torch.stack([torch.stack([part(*both) for both in of_cell]) for of_cell in scores])

    log_q = {name: over(lambda q, _, name=name: q[name].log_prob) for name in drawn}
    log_p = {name: over(lambda _, p, name=name: p[name].log_prob) for name in scores[0][0][1]}
    log_cell = total(log_q[name] for name in free).expand(len(cells), len(samples))
    labels = label_terms(plan, log_cell, {name: log_q[name] for name in drawn if name in known})
    observed = total(log_p[name] for name in log_p if name not in drawn)
    if plan.bound == "self_normalised":
        closed = {name for name, behind in plan.closed_kl.items() if name in sampled and not known.keys() & set(behind)}
        ratio = {name: log_q[name] - log_p[name] for name in drawn}
        ratio |= {name: over(lambda q, p, n=name: divergence(q[n].distribution, p[n].distribution)) for name in closed}
        f = observed - total(beta[name] * ratio[name] for name in drawn)
        weight = (log_cell + total(log_q[name] for name in labels)).flatten().softmax(0)
        return (weight * f.flatten()).sum() + total((beta[name] + alpha[name]) * value for name, value in labels.items())
    g = observed + total(beta[name] * log_p[name] for name in drawn) - total(beta[name] * log_q[name] for name in sampled)
    inner = g.logsumexp(1) - math.log(len(samples)) - total(beta[name] * log_q[name][:, 0] for name in free)
    return (log_cell[:, 0].exp() * inner).sum() + total(alpha[name] * value for name, value in labels.items())


def label_terms(plan: Plan, log_cell: Tensor, log_labels: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Log q of each label, by the mean of its logarithm, or along the chain rule."""
    found, before = {}, log_cell
    for name, log_label in log_labels.items():
        after = before + log_label
        increment = after.flatten().logsumexp(0) - before.flatten().logsumexp(0)
        found[name] = increment if plan.label_term == "log_mean" else (log_cell.exp() * log_label).sum() / log_cell.shape[1]
        before = after
    return found


def score(
    plan: Plan, state: State, known: Mapping[str, Tensor], noise: Mapping[str, Tensor], sample: int
) -> tuple[dict[str, Scored], dict[str, Scored]]:
    """Every variable scored by q and by p, with what is not known drawn from q."""
    sampled = [step for step in plan.draws if step.enumeration is None]
    own = {step.value.name: own_noise(plan, step, known, noise[step.value.name][sample]) for step in sampled}
    values, q = walk(plan.q, "encoder", state, known, own)
    _, p = walk(plan.p, "decoder", state, values, {})
    return q, p


def own_noise(plan: Plan, draw: Draw, known: Mapping[str, Tensor], noise: Tensor) -> Tensor:
    """The noise of this cell: of a score-function draw it comes for all, [last enumeration, ..., first, event...]."""
    for axis in reversed(range(len(draw.cells))):
        above = next(step for step in plan.draws if step.enumeration == axis)
        values = values_of(above)
        index = next(place for place, value in enumerate(values) if torch.allclose(value, known[above.value.name]))
        noise = noise[index if draw.cells[axis] > 1 else 0]
    return noise


def walk(
    side: SidePlan, network: str, state: State, known: Mapping[str, Tensor], noise: Mapping[str, Tensor]
) -> tuple[dict[str, Tensor], dict[str, Scored]]:
    """The values of the random variables of one side and of what is known, and the score of each random variable."""
    values, scores = dict(known), {}
    for step, given in conditionals(side, network, state, values):
        if step.value.name not in values:
            values[step.value.name] = DRAWN[step.family.name](noise[step.value.name], **given)
        distribution, value = FAMILIES[step.family.name](**given), values[step.value.name]
        elements = distribution.log_prob(value)
        scores[step.value.name] = Scored(torch.where(present(value, elements.dim()), elements, 0.0).sum(), distribution)
    return values, scores


def conditionals(
    side: SidePlan, network: str, state: State, values: Mapping[str, Tensor]
) -> Iterable[tuple[Draw | Score, dict[str, Any]]]:
    """Every conditional of one side with its parameters; `values` must have that of each before the next is asked for."""
    weights = {key.removeprefix(f"{network}."): value for key, value in state.items() if key.startswith(f"{network}.")}
    local: dict[str, Tensor] = {}
    for step in side.steps:
        match step:
            case Given():
                local[step.value.python] = values[step.value.name].nan_to_num(0.0)
                if step.mask:
                    local[step.mask.python] = present(values[step.value.name], len(step.mask.event)).to(
                        torch.get_default_dtype()
                    )
            case Compute():
                outputs = apply(step.network, weights, [local[value.python] for value in step.inputs])
                local |= {value.python: output for value, output in zip(step.outputs, outputs, strict=True)}
            case Draw() | Score():
                number = {} if step.number is None else {step.family.number.name: step.number}
                yield step, {row.name: parameter(row, weights, local) for row in step.parameters} | number
                local[step.value.python] = values[step.value.name]


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


def parameter(row: Parameter, state: State, local: Mapping[str, Tensor]) -> Tensor:
    """One parameter of a family, in its shape."""
    if row.kind == "head":
        raw = local[row.python]
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


def encode(node: VariableNode, value: Tensor) -> Tensor | None:
    """A value of the data as the model has it, one-hot for a category, NaN where an element is missing.

    None where it is missing and q infers it.
    """
    if node.family is not None and node.family.support == "categories":
        value = torch.where(value[..., None] < 0, torch.nan, torch.eye(node.event[-1])[value])
    return None if node.inferred and value.isnan().any() else value


def present(value: Tensor, elements: int) -> Tensor:
    """Which elements of a value [event...] are there, [elements...]: a vector that is one element is there as a whole."""
    return ~(value.isnan() if elements == value.dim() else value.isnan().any(-1))


def total(parts: Iterable[Tensor]) -> Tensor:
    """A sum, of nothing 0."""
    return sum(parts, torch.zeros(()))


def divergence(q: distributions.Distribution, p: distributions.Distribution) -> Tensor:
    """KL(q || p) over all elements, in closed form."""
    return distributions.kl_divergence(q, p).sum()


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


NETWORKS = {"conv": conv, "deconv": deconv, "residual": residual}
