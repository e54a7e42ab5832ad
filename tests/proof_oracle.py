"""The oracle of the proof: from the text of a spec and its weights to exact expectations, in numpy.

It reads the text with a YAML parser and shares nothing with the compiler or the runtime. What q does not know of a row has
finitely many values (a normal variable: the nodes of the trapezoidal rule), so that every density is a table over worlds, and
the expectation of an estimate over S samples is a sum over every way to draw them. Everything is analytic in the weights and
runs in complex numbers too: a weight moved by a tiny imaginary step gives the derivative of the expectation to the last digit
(Squire and Trapp 1998), as a finite difference without cancellation.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations_with_replacement, product
from math import comb, lgamma, log, pi, prod
from typing import Any, Literal

import networkx as nx
import numpy as np
import yaml

Array = np.ndarray
Weights = Mapping[str, Array]
Quantity = Literal["bound", "log_evidence"]

LARGEST = 20_000  # so many ways to draw are summed
NODES = (300, 198, 140, 98, 68, 48)  # of the quadrature, as many as the sum has room for
REACH = 8.0  # of the quadrature, in standard deviations
FLOOR, LABELLED_FLOOR = 1e-6, 1e-2  # of a scale, and of that of a label in q
STEP = 1e-30


# Families, [..., element] each.


@dataclass(frozen=True)
class Family:
    """The parameters in the order of a network's heads, and the log-probability of every element.

    A parameter named in `positive` goes through a softplus; one in `learned` belongs to no network unless the text says so.
    `standard` are the parameters of the prior of what is left out of p.
    """

    parameters: tuple[str, ...]
    log_prob: Callable[..., Array]
    positive: tuple[str, ...] = ()
    learned: tuple[str, ...] = ()
    standard: tuple[float, ...] = (0.0, 1.0)


def softplus(x: Array) -> Array:
    return np.where(x.real > 0, x, 0) + np.log1p(np.exp(np.where(x.real > 0, -x, x)))


def sigmoid(x: Array) -> Array:
    return np.exp(-softplus(-x))


def logsumexp(x: Array, axis: Any = -1, keepdims: bool = False) -> Array:
    highest = np.max(x.real, axis, keepdims=True)
    total = np.log(np.exp(x - highest).sum(axis, keepdims=True)) + highest
    return total if keepdims else total.squeeze(axis)


def normal(x: Array, loc: Array, scale: Array) -> Array:
    return -0.5 * ((x - loc) / scale) ** 2 - np.log(scale) - 0.5 * log(2 * pi)


def logistic(x: Array, loc: Array, scale: Array) -> Array:
    z = (x - loc) / scale
    return -softplus(z) - softplus(-z) - np.log(scale)


def laplace(x: Array, loc: Array, scale: Array) -> Array:
    deviation = x - loc
    return -np.where(deviation.real < 0, -deviation, deviation) / scale - np.log(2 * scale)


def bernoulli(x: Array, logits: Array) -> Array:
    return x * logits - softplus(logits)


def categorical(x: Array, logits: Array) -> Array:
    return (x * (logits - logsumexp(logits, keepdims=True))).sum(-1, keepdims=True)


def ordinal(x: Array, loc: Array, logits: Array) -> Array:
    """P(y <= k) = sigmoid(c_k - loc), where softmax(logits) are the probabilities at loc 0."""
    below = np.exp(logits - logsumexp(logits, keepdims=True)).cumsum(-1)[..., :-1]
    at_most = sigmoid(np.log(below) - np.log(1 - below) - loc)
    ends = np.zeros_like(at_most[..., :1])
    return (x * np.log(np.diff(np.concatenate([ends, at_most, ends + 1], -1)))).sum(-1, keepdims=True)


def binomial(x: Array, logits: Array, total_count: int) -> Array:
    ways = np.log([comb(total_count, count) for count in range(total_count + 1)])
    return ways[x.real.astype(int)] + x * logits - total_count * softplus(logits)


def poisson(x: Array, rate: Array) -> Array:
    return x * np.log(rate) - rate - np.vectorize(lgamma)(x.real + 1)


def discretised_logistic(x: Array, loc: Array, scale: Array, levels: int) -> Array:
    """What a logistic variable has between a and b, the outermost levels without end."""
    half = 0.5 / (levels - 1)
    a, b = (x - half - loc) / scale, (x + half - loc) / scale
    first, last = x.real < half, x.real > 1 - half
    both = np.log(-np.expm1(-2 * half / scale))  # P(a < z < b) = s(b) s(-a) (1 - exp(a - b)), s the logistic function
    return np.where(last, 0, -softplus(-b)) + np.where(first, 0, -softplus(a)) + np.where(first | last, 0, both)


FAMILIES = {
    "normal": Family(("loc", "scale"), normal, positive=("scale",)),
    "logistic": Family(("loc", "scale"), logistic, positive=("scale",)),
    "laplace": Family(("loc", "scale"), laplace, positive=("scale",)),
    "bernoulli": Family(("logits",), bernoulli, standard=(0.0,)),
    "categorical": Family(("logits",), categorical, standard=(0.0,)),
    "ordinal": Family(("loc", "logits"), ordinal, learned=("logits",), standard=(0.0, 0.0)),
    "binomial": Family(("logits",), binomial, standard=(0.0,)),
    "poisson": Family(("rate",), poisson, positive=("rate",), standard=(1.0,)),
    "discretised_logistic": Family(("loc", "scale"), discretised_logistic, positive=("scale",), standard=(0.5, 0.2)),
}
ACTIVATIONS: dict[str, Callable[[Array], Array]] = {
    "relu": lambda x: np.where(x.real > 0, x, 0),
    "tanh": np.tanh,
    "softplus": softplus,
    "silu": lambda x: x * sigmoid(x),
    "elu": lambda x: np.where(x.real > 0, x, np.expm1(np.where(x.real > 0, 0, x))),
}


@dataclass(frozen=True)
class Variable:
    """A random variable as its text declares it; values are kept flat, [..., element]."""

    name: str
    distribution: str
    role: str = "latent"
    size: int | None = None
    categories: int = 0
    total_count: int = 0
    levels: int = 0
    missing: str = ""

    @property
    def values(self) -> Array:
        """Every value of a finite variable, [value, element]."""
        if self.categories:
            return np.eye(self.categories)
        each = np.arange(self.levels) / (self.levels - 1) if self.levels else np.arange((self.total_count or 1) + 1)
        return np.array(list(product(each, repeat=self.size or 1)), float)

    @property
    def numbers(self) -> dict[str, int]:
        """What the density takes beside its parameters."""
        return {key: getattr(self, key) for key in ("total_count", "levels") if getattr(self, key)}

    def encode(self, data: Array) -> Array:
        """Rows of a table, [row, element], NaN where an element is missing."""
        if self.categories:
            return np.where(data[:, None] < 0, np.nan, np.eye(self.categories)[data.astype(int)])
        return np.asarray(data, float).reshape(len(data), -1)

    def size_of(self, parameter: str) -> int:
        """How many numbers a parameter has."""
        return self.categories if self.categories and parameter == "logits" else self.size or 1


@dataclass(frozen=True)
class Worlds:
    """Rows that know the same variables, and every value of the others.

    `log_q`, `log_p` and `log_draw` are [world, row] by variable: the last is the logarithm of the probability that a draw comes
    out so. `sizes` says how many values each unknown variable has, in the order of a world's digits.
    """

    sizes: Mapping[str, int]
    known: Sequence[str]
    log_q: Mapping[str, Array]
    log_p: Mapping[str, Array]
    log_draw: Mapping[str, Array]


@dataclass(frozen=True)
class Oracle:
    """What the text of a spec means."""

    text: str

    @cached_property
    def spec(self) -> dict[str, Any]:
        return yaml.safe_load(self.text)

    @cached_property
    def objective(self) -> dict[str, Any]:
        defaults = {"bound": "self_normalised", "label_term": "log_mean", "beta": 1.0}
        return defaults | self.spec["objective"]

    @cached_property
    def variables(self) -> dict[str, Variable]:
        return {name: Variable(name, **block) for name, block in self.spec["variables"].items()}

    @cached_property
    def q(self) -> nx.DiGraph:
        graph = nx.DiGraph([(parent, child) for child, block in self.spec["q"].items() for parent in block.get("parents", [])])
        graph.add_nodes_from(self.spec["q"])
        return graph

    @cached_property
    def inferred(self) -> list[str]:
        """What q infers, parents first, and by name where several could come."""
        order = nx.lexicographical_topological_sort(self.q)
        return [name for name in order if name in self.variables and self.variables[name].role in ("latent", "supervised")]

    @cached_property
    def labels(self) -> list[str]:
        return [name for name in self.inferred if self.variables[name].role == "supervised"]

    @cached_property
    def alpha(self) -> dict[str, float]:
        given = self.objective["alpha"]
        return {name: given.get(name, 0.0) if isinstance(given, dict) else given for name in self.labels}

    @cached_property
    def beta(self) -> dict[str, float]:
        given = self.objective["beta"]
        return {name: given.get(name, 1.0) if isinstance(given, dict) else given for name in self.inferred}

    def family(self, side: str, name: str) -> str:
        """The family of a variable on one side: in q it may be another one."""
        own = self.spec[side].get(name, {}).get("distribution") if side == "q" else None
        return own or self.variables[name].distribution

    def is_normal(self, name: str) -> bool:
        """Whether q draws a number."""
        return self.family("q", name) == "normal"

    def gradient(self, name: str) -> str:
        """How q draws a variable. Within `max_cells`, what is finite is enumerated if the text does not say."""
        return self.spec["q"][name].get("gradient", "reparameterised" if self.is_normal(name) else "enumerate")

    # Densities.

    def sizes(self, known: Collection[str], nodes: int) -> dict[str, int]:
        """How many values each variable has that q must infer, in its order."""
        unknown = [name for name in self.inferred if name not in known]
        return {name: nodes if self.is_normal(name) else len(self.variables[name].values) for name in unknown}

    def worlds(self, weights: Weights, data: Mapping[str, Array], nodes: int) -> Worlds:
        """Every density in every world, for rows of data in which a variable is known throughout or not at all."""
        values = {name: self.variables[name].encode(column)[None] for name, column in data.items()}
        known = [name for name in self.inferred if name in values]
        sizes = self.sizes(known, nodes)
        digits = np.array(list(product(*map(range, sizes.values()))), int)
        place = dict(zip(sizes, digits.T, strict=True))
        values |= {name: self.variables[name].values[place[name]][:, None] for name in sizes if not self.is_normal(name)}
        points = np.linspace(-REACH, REACH, nodes)
        log_masses = -0.5 * points**2 - logsumexp(-0.5 * points**2)
        q, p = Side(self, "q", "encoder", weights, values), Side(self, "p", "decoder", weights, values)
        for name in (name for name in sizes if self.is_normal(name)):
            loc, scale = q.parameters(name)
            values[name] = loc + scale * points[place[name]][:, None, None]
        rows = len(next(iter(data.values())))

        def table(density: Array) -> Array:
            return np.broadcast_to(density, (len(digits), rows))

        log_q = {name: table(q.log_prob(name)) for name in self.inferred}
        log_mass = {n: log_masses[place[n]][:, None] if self.is_normal(n) else log_q[n] for n in sizes}
        scored = [name for name, variable in self.variables.items() if variable.role != "given"]
        log_p = {name: table(p.log_prob(name)) for name in scored}
        return Worlds(sizes, known, log_q, log_p, {name: table(value) for name, value in log_mass.items()})

    # Expectations.

    def ways(self, sizes: Mapping[str, int], samples: int) -> int:
        """In how many ways so many samples can come out, in no particular order."""
        each = prod(sizes[name] ** len(cells) for name, cells in self.units(sizes).items())
        return comb(each + samples - 1, samples)

    def nodes(self, known: Collection[str], samples: int) -> int:
        """How many nodes the sum over every way to draw so many samples has room for, 0 if not enough."""
        return next((nodes for nodes in NODES if self.ways(self.sizes(known, nodes), samples) <= LARGEST), 0)

    @cached_property
    def samples(self) -> int:
        """As many samples as the text says, or as there is room for; 0 where that is less than what its gradients take."""
        least = 2 if any(self.gradient(name) == "score_function" for name in self.inferred) else 1
        wanted = range(self.objective["samples"], least - 1, -1)
        return next((samples for samples in wanted if self.nodes([], samples)), 0)

    def units(self, sizes: Mapping[str, int]) -> dict[str, list[dict[str, int]]]:
        """The draws that make one sample: of each variable one, or one for each cell of the enumerated variables above it.

        Only a score-function draw has a draw of its own in each cell; reparameterised ones share their noise.
        """
        enumerated, found = self.enumerated(sizes), {}
        for name in (name for name in sizes if name not in enumerated):
            above = nx.ancestors(self.q, name) if self.gradient(name) == "score_function" else set()
            found[name] = cells_of({other: sizes[other] for other in enumerated if other in above})
        return found

    def enumerated(self, names: Iterable[str]) -> list[str]:
        """Which of some variables are enumerated."""
        return [name for name in names if self.gradient(name) == "enumerate"]

    def expected(self, worlds: Worlds, row: int, samples: int, quantity: Quantity, rarest: float = 0.0) -> Array:
        """The mean of an estimate of one row over every way to draw its samples.

        Left out are draws less probable, next to the most probable one, than `rarest`.
        """
        flat = [(name, cell) for name, cells in self.units(worlds.sizes).items() for cell in cells]
        draws = np.array(list(product(*(range(worlds.sizes[name]) for name, _ in flat))), int)
        cells = cells_of({name: worlds.sizes[name] for name in self.enumerated(worlds.sizes)})
        world = np.stack([self.world(worlds, cell, flat, draws) for cell in cells], -1)  # [draw, cell]
        log_mass, log_finite = np.zeros(len(draws)), np.zeros(len(draws))
        for name, own in flat:
            first = next(place for place, cell in enumerate(cells) if own.items() <= cell.items())
            part = worlds.log_draw[name][world[:, first], row]
            log_mass, log_finite = log_mass + part, log_finite + (0 if self.is_normal(name) else part.real)
        common = np.flatnonzero(np.exp(log_finite - np.max(log_finite)) >= rarest)
        chosen = np.array(list(combinations_with_replacement(common, samples)))  # [way, sample]
        probability = orders(chosen) * np.exp(log_mass[chosen].sum(1))
        log_q, log_p = (
            {name: table[:, row][world][chosen] for name, table in tables.items()} for tables in (worlds.log_q, worlds.log_p)
        )
        return (probability * self.estimate(quantity, worlds, log_q, log_p)).sum() / probability.sum()

    def world(
        self, worlds: Worlds, cell: Mapping[str, int], units: Sequence[tuple[str, Mapping[str, int]]], draws: Array
    ) -> Array:
        """Which world every way to draw one sample makes in a cell, [draw]."""
        number = np.zeros(len(draws), int)
        for name, size in worlds.sizes.items():
            column = next((i for i, (other, own) in enumerate(units) if other == name and own.items() <= cell.items()), None)
            number = number * size + (cell[name] if column is None else draws[:, column])
        return number

    def estimate(self, quantity: Quantity, worlds: Worlds, log_q: Mapping[str, Array], log_p: Mapping[str, Array]) -> Array:
        """Method 1.7 to 1.7f on densities [way, sample, cell], as [way]."""
        shape, beta, enumerated = next(iter(log_p.values())).shape, self.beta, self.enumerated(worlds.sizes)
        drawn = [name for name in worlds.sizes if name not in enumerated]
        log_cell = np.zeros(shape) + sum(log_q[name] for name in enumerated)
        if quantity == "log_evidence":
            return logsumexp(sum(log_p.values()) - sum(log_q[name] for name in drawn), (1, 2)) - log(shape[1])
        labels = self.label_terms(worlds, log_cell, log_q)
        observed = sum(value for name, value in log_p.items() if name not in log_q)
        if self.objective["bound"] == "self_normalised":
            f = observed - sum(beta[name] * (log_q[name] - log_p[name]) for name in self.inferred)
            log_weight = log_cell + sum(log_q[name] for name in worlds.known)
            weight = np.exp(log_weight - logsumexp(log_weight, (1, 2), keepdims=True))
            return (weight * f).sum((1, 2)) + sum((beta[name] + self.alpha[name]) * value for name, value in labels.items())
        g = observed + sum(beta[name] * log_p[name] for name in log_q) - sum(beta[name] * log_q[name] for name in drawn)
        inside = logsumexp(g, 1) - log(shape[1]) - sum(beta[name] * log_q[name][:, 0] for name in enumerated)
        bound = (np.exp(log_cell[:, 0]) * inside).sum(1)
        return bound + sum(self.alpha[name] * value for name, value in labels.items())

    def label_terms(self, worlds: Worlds, log_cell: Array, log_q: Mapping[str, Array]) -> dict[str, Array]:
        """Log q of each known label, given the row and the labels before it."""
        found, before = {}, log_cell
        for name in worlds.known:
            after = before + log_q[name]
            increment = logsumexp(after, (1, 2)) - logsumexp(before, (1, 2))
            mean = (np.exp(log_cell) * log_q[name]).sum((1, 2)) / log_cell.shape[1]
            found[name] = increment if self.objective["label_term"] == "log_mean" else mean
            before = after
        return found


@dataclass(frozen=True)
class Side:
    """p or q at given weights, and at values [world, row, element] of which either may be one."""

    oracle: Oracle
    name: str
    network: str
    weights: Weights
    values: Mapping[str, Array]

    def block(self, name: str) -> dict[str, Any]:
        return self.oracle.spec[self.name].get(name, {})

    def log_prob(self, name: str) -> Array:
        """[world, row]; what is missing of a value counts nothing."""
        variable, value = self.oracle.variables[name], self.values[name]
        density = FAMILIES[self.oracle.family(self.name, name)].log_prob
        there = ~np.isnan(value)
        elements = density(np.where(there, value, 1.0), *self.parameters(name), **variable.numbers)
        return np.where(there[..., : elements.shape[-1]], elements, 0).sum(-1)

    def parameters(self, name: str) -> list[Array]:
        """The parameters of a conditional, [world, row, element] where they depend on so much."""
        variable, block = self.oracle.variables[name], self.block(name)
        family = FAMILIES[self.oracle.family(self.name, name)]
        given = {"logits" if key == "probs" else key: (key, value) for key, value in block.get("parameters", {}).items()}
        heads = [row for row in family.parameters if self.kind(name, row, given) == "head"]
        sizes = [variable.size_of(row) for row in heads]
        parts = np.split(self.features(name, heads=True), np.cumsum(sizes)[:-1], -1) if heads else []
        raw, found = dict(zip(heads, parts, strict=True)), []
        for row, standard in zip(family.parameters, family.standard, strict=True):
            spelling, number = given.get(row, (row, standard))
            kind = self.kind(name, row, given)
            if kind == "number":
                found.append(np.array(log(number / (1 - number)) if spelling == "probs" else float(number))[None])
                continue
            value = raw[row] if kind == "head" else np.ravel(self.weights[f"{self.network}.{name}_{spelling}"])
            floor = LABELLED_FLOOR if self.name == "q" and variable.role == "supervised" and row == "scale" else FLOOR
            found.append(softplus(value) + floor if row in family.positive else value)
        sizes = [variable.size_of(row) for row in family.parameters]
        return [np.broadcast_to(value, (*value.shape[:-1], size)) for value, size in zip(found, sizes, strict=True)]

    def kind(self, name: str, row: str, given: Mapping[str, tuple[str, Any]]) -> str:
        """Where a parameter comes from."""
        block, family = self.block(name), FAMILIES[self.oracle.family(self.name, name)]
        if name not in self.oracle.spec[self.name]:
            return "number"
        if row in given:
            value = given[row][1]
            return value if isinstance(value, str) else "number"
        return "learned" if not block.get("parents") or row in family.learned else "head"

    def features(self, name: str, heads: bool) -> Array:
        """What a network makes of a conditional's parents: its heads side by side, or its last hidden layer."""
        block, prefix = self.block(name), f"{self.network}.{name}"
        inputs = {}
        for parent in block["parents"]:
            inputs[parent] = self.value(parent)
            if self.oracle.variables.get(parent, Variable("", "")).missing:
                inputs[f"{parent}_known"] = self.present(parent)
        made = self.weights[f"{prefix}.first.bias"]
        for parent, value in inputs.items():
            made = made + np.nan_to_num(value) @ self.weights[f"{prefix}.first.weight_{parent}"].T
        hidden = block["network"]["hidden"]
        for depth in range(len(hidden)):
            made = ACTIVATIONS[block["network"].get("activation", "relu")](made)
            if heads or depth + 1 < len(hidden):
                layer = f"{prefix}.body.{2 * depth + 1}"
                made = made @ self.weights[f"{layer}.weight"].T + self.weights[f"{layer}.bias"]
        return made

    def value(self, name: str) -> Array:
        """The value of a parent, which is computed where it is deterministic."""
        return self.values[name] if name in self.values else self.features(name, heads="size" in self.block(name))

    def present(self, name: str) -> Array:
        """The mask of an observed variable: of a category, it is there or missing as a whole."""
        there = ~np.isnan(self.values[name])
        return (there[..., :1] if self.oracle.variables[name].categories else there).astype(float)


def cells_of(sizes: Mapping[str, int]) -> list[dict[str, int]]:
    """Every joint value of variables with so many values."""
    return [dict(zip(sizes, cell, strict=True)) for cell in product(*map(range, sizes.values()))]


def orders(chosen: Array) -> Array:
    """In how many orders each multiset of samples, sorted [way, sample], can come: S! over the factorials of repeats."""
    found, run = np.ones(len(chosen)), np.ones(len(chosen))
    for sample in range(chosen.shape[1]):
        run = np.where(chosen[:, sample] == chosen[:, sample - 1], run + 1, 1) if sample else run
        found = found * (sample + 1) / run
    return found


def moved(weights: Weights, direction: Weights) -> dict[str, Array]:
    """Weights a tiny imaginary step along a direction: what is made of them has its slope in its imaginary part."""
    return {name: value + 1j * STEP * direction.get(name, 0.0) for name, value in weights.items()}


def slope(value: Array) -> float:
    """The derivative of what was made of `moved` weights."""
    return float(np.imag(value) / STEP)
