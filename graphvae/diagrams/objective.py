r"""The objective of a model as mathematics, with its weights, and which of its terms are exact. The verb is `objective`.

It is equation L or B of `graphvae.runtime.objectives`, written out for one graph: f is the log-ratio of a cell, l its
log-weight, e runs over the values of enumerated variables, and s over samples.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from graphvae.compiler.explain import Explanation, explain
from graphvae.compiler.factors import Factor, products
from graphvae.compiler.gradients import RELAXED
from graphvae.compiler.graph import SideName
from graphvae.compiler.spec import Schedule
from graphvae.diagrams.formulas import SUM, Formulas
from graphvae.diagrams.page import Block, Maths, Row, Sentences, listed

RATIO, LOG_WEIGHT, WEIGHT = "f", r"\ell", r"\bar{w}"  # of a cell


def objective(formulas: Formulas) -> Iterator[Block]:
    """The bound of a row, the share of labelled rows, and what there is to say of weights and terms."""
    found = _Objective(formulas)
    yield Maths(tuple(found.rows()))
    yield Sentences(tuple(found.sentences()))


@dataclass(frozen=True)
class _Objective:
    formulas: Formulas

    @cached_property
    def said(self) -> Explanation:
        return explain(self.formulas.graph)

    @cached_property
    def factors(self) -> Mapping[tuple[SideName, str], Factor]:
        graph = self.formulas.graph
        made = [(side, factor) for side in (graph.p, graph.q) for row in products(graph, side) for factor in row.factors]
        return {(side.name, factor.variable.name): factor for side, factor in made}

    @property
    def labels(self) -> list[str]:
        """The supervised variables, in q's order."""
        graph = self.formulas.graph
        return [name for name in graph.q.conditionals if graph.variables[name].role == "supervised"]

    @property
    def enumerated(self) -> list[str]:
        return [draw.variable for draw in self.said.draws if draw.gradient == "enumerate"]

    @property
    def inferred(self) -> list[str]:
        """What q draws or enumerates, in its order; a collapsed variable is neither."""
        return [draw.variable for draw in self.said.draws if draw.gradient != "mean"]

    @property
    def cells(self) -> str:
        """The indices of a cell: of enumerated values, and of samples where there are several."""
        return ",".join(["e"] * bool(self.enumerated) + ["s"] * (self.said.objective.samples > 1))

    def indexed(self, letter: str, cells: str | None = None) -> str:
        cells = self.cells if cells is None else cells
        return f"{letter}_{{{cells}}}" if cells else letter

    def rows(self) -> Iterator[Row]:
        """The bound, and what its letters are."""
        if self.said.objective.bound == "self_normalised":
            yield from self.self_normalised()
        else:
            yield from self.importance()

    def self_normalised(self) -> Iterator[Row]:
        weighted = bool(self.enumerated or self.labels)
        ratio = self.indexed(RATIO)
        if self.cells and weighted:
            ratio = rf"\sum_{{{self.cells}}} {self.indexed(WEIGHT)}\, {ratio}"
        elif self.cells:
            ratio = rf"\frac{{1}}{{{self.said.objective.samples}}} \sum_{{s}} {ratio}"
        yield Row(r"\mathcal{L}", f"= {ratio}")
        yield from self.label_terms(with_beta=True)
        yield from self.summed(self.indexed(RATIO), [self.log_p(name) for name in self.observed], self.divergences())
        if self.cells and weighted:
            yield Row(
                self.indexed(WEIGHT),
                rf"= \exp {self.indexed(LOG_WEIGHT)} \big/ \sum_{{{self.cells}}} \exp {self.indexed(LOG_WEIGHT)}",
            )
            yield from self.log_weight()

    def importance(self) -> Iterator[Row]:
        samples = self.said.objective.samples
        ratio = self.indexed("g")
        mean = rf"\log \frac{{1}}{{{samples}}} \sum_{{s}} \exp {ratio}" if samples > 1 else ratio
        if self.enumerated:
            logs = " - ".join([mean, *(self.weighted(name, self.log("q", name)) for name in self.enumerated)])
            mean = rf"\sum_{{e}} q_{{e}} \Bigl( {logs} \Bigr)"
        yield Row(r"\mathcal{B}", f"= {mean}")
        yield from self.label_terms(with_beta=False)
        yield from self.summed(ratio, [self.log_p(name) for name in self.observed], self.ratios())
        if self.enumerated:
            yield from self.summed(r"\log q_{e}", [self.log("q", name) for name in self.enumerated], [])

    def log_weight(self) -> Iterator[Row]:
        names = [name for name in self.inferred if name in self.enumerated or name in self.labels]
        yield from self.summed(self.indexed(LOG_WEIGHT), [self.log("q", name) for name in names], [])

    def summed(self, left: str, first: Sequence[str], more: Sequence[str]) -> Iterator[Row]:
        """Terms that are added, and terms that bring their sign, a line each."""
        head, *others = first
        yield Row(left, f"= {head}")
        yield from (Row("", rf"\quad + {term}") for term in others)
        yield from (Row("", rf"\quad {term}") for term in more)

    @property
    def observed(self) -> list[str]:
        """What p scores and q does not infer, in p's order."""
        graph = self.formulas.graph
        return [name for name in graph.p.conditionals if graph.variables[name].role == "observed"]

    def log(self, side: SideName, name: str) -> str:
        """The logarithm of a factor, summed over the slots of its plates."""
        factor = self.factors[side, name]
        sign = self.formulas.over(SUM, factor.node.variable.plates)
        return rf"{sign}\log {self.formulas.factor(side, factor)}"

    def log_p(self, name: str) -> str:
        return self.log("p", name)

    def divergences(self) -> list[str]:
        """`- beta (log q - log p)` of everything that q infers, in closed form where that is taken."""
        closed = {row.variable for row in self.said.divergences if row.taken == "closed"}
        return [f"- {self.closed(name) if name in closed else self.sampled(name, 'q', 'p')}" for name in self.inferred]

    def closed(self, name: str) -> str:
        p, q = self.factors["p", name], self.factors["q", name]
        divergence = rf"\mathrm{{KL}}\bigl({self.formulas.factor('q', q)} \,\Vert\, {self.formulas.factor('p', p)}\bigr)"
        return self.weighted(name, self.formulas.over(SUM, q.node.variable.plates) + divergence)

    def sampled(self, name: str, first: SideName, second: SideName) -> str:
        """The difference of two logarithms, summed over slots."""
        factors = [self.formulas.factor(side, self.factors[side, name]) for side in (first, second)]
        sign = self.formulas.over(SUM, self.factors["q", name].node.variable.plates)
        return self.weighted(name, rf"{sign}\bigl[\log {factors[0]} - \log {factors[1]}\bigr]")

    def ratios(self) -> list[str]:
        """`+ beta (log p - log q)` of what is drawn; of what is enumerated, log q stands outside."""
        drawn = (self.sampled(name, "p", "q") if name not in self.enumerated else "" for name in self.inferred)
        return [f"+ {each or self.weighted(name, self.log_p(name))}" for name, each in zip(self.inferred, drawn, strict=True)]

    def weighted(self, name: str, term: str) -> str:
        """A term behind its beta, unless that is 1 all the time."""
        beta = self.beta(name)
        return rf"{beta}\, {term}" if beta else term

    def beta(self, name: str) -> str:
        return self._weight("beta", name, 1.0)

    def alpha(self, name: str) -> str:
        return self._weight("alpha", name, 0.0)

    def _weight(self, key: str, name: str, nothing: float) -> str:
        """The letter of a weight, with the variable below it if it has its own; "" where it has no effect."""
        value = getattr(self.formulas.graph.spec.objective, key)
        own = isinstance(value, Mapping)
        if (value.get(name, nothing) if own else value) == nothing:
            return ""
        return rf"\{key}_{{{self.formulas.name(name)}}}" if own else rf"\{key}"

    def label_terms(self, with_beta: bool) -> Iterator[Row]:
        """A term for every label, given the labels before it."""
        row = self.formulas.graph.q.conditioned
        for place, name in enumerate(self.labels):
            weights = [self.beta(name) or "1"] * with_beta + [self.alpha(name)] * bool(self.alpha(name))
            if weights:
                weight = f"({' + '.join(weights)})" if weights[1:] else weights[0].removeprefix("1")
                behind = self.formulas.names([*row, *self.labels[:place]])
                given = rf" \mid {behind}" if behind else ""
                yield Row("", rf"\quad + {weight}\, \log \hat{{q}}({self.formulas.name(name)}{given})")

    def sentences(self) -> Iterator[str]:
        yield from self._of_rows()
        yield from self._of_weights()
        yield from self._of_labels()
        yield from self._of_terms()

    def _of_rows(self) -> Iterator[str]:
        """What is maximised over the rows, and what the letters run over."""
        letter = r"\mathcal{L}" if self.said.objective.bound == "self_normalised" else r"\mathcal{B}"
        spec = self.formulas.graph.spec.objective
        if not self.labels:
            yield f"Training maximises the mean of ${letter}$ over the rows."
        elif spec.supervision_rate is not None or spec.gamma is not None:
            means = [rf"\mathrm{{mean}}_{{\mathrm{{{rows}}}}}\, {letter}" for rows in ("unlabelled", "labelled")]
            yield rf"Training maximises $(1 - \rho)\, {means[0]} + \rho\, {means[1]}$."
            rate = rf"\gamma M / (N + \gamma M), \gamma = {spec.gamma:g}" if spec.gamma is not None else ""
            share = _valued(r"\rho", rate or spec.supervision_rate)
            rows = ", with $M$ rows that have labels and $N$ that have none" * bool(rate)
            yield f"The share of a batch that has labels is {share}{rows}."
        else:
            yield f"Training maximises the mean of ${letter}$ over the rows, with labels and without."
        if self.enumerated:
            known = "; of what a row reveals, over its label alone" * any(name in self.labels for name in self.enumerated)
            yield f"The index $e$ runs over the values of {self._named(self.enumerated)}{known}."
        if self.said.objective.samples > 1:
            yield f"The index $s$ runs over {self.said.objective.samples} samples."
        elif set(self.inferred) - set(self.enumerated):
            yield "What is not summed over is drawn once."
        revealed = [name for name in self.labels if name not in self.enumerated]
        if revealed and self.said.objective.bound == "self_normalised" and self.cells:
            yield rf"In $\ell$, {self._named(revealed)} counts where a row reveals it."
        elif revealed and self.said.objective.bound != "self_normalised":
            yield rf"In $g$, $\log q$ of {self._named(revealed)} counts where no row reveals it."

    def _of_weights(self) -> Iterator[str]:
        """The numbers behind the Greek letters."""
        spec = self.formulas.graph.spec.objective
        for key, names, of in (("alpha", self.labels, self.alpha), ("beta", self.inferred, self.beta)):
            value = getattr(spec, key)
            letters = {of(name): value.get(name) if isinstance(value, Mapping) else value for name in names}
            for letter, number in letters.items():
                if letter and number == "auto":
                    yield f"${letter}$ is a tenth of the rows per row with labels."
                elif letter:
                    yield f"{_valued(letter, number)}."

    def _of_labels(self) -> Iterator[str]:
        """How the probability of labels is estimated."""
        inexact = [label for label in self.said.labels if label.log_q != "exact"]
        exact = [label.variable for label in self.said.labels if label.log_q == "exact"]
        if exact:
            yield rf"The term $\log \hat{{q}}$ of {self._named(exact)} is exact."
        for label in inexact:
            because = self._named(label.because)
            how = {"bound": "a lower bound", "importance sampling": "estimated by importance sampling"}[label.log_q]
            stands = "stand" if len(label.because) > 1 else "stands"
            yield rf"That of {self._named([label.variable])} is {how}, since {because} {stands} before it in $q$."
        if inexact:
            yield self._estimator()

    def _estimator(self) -> str:
        """What q-hat is, where it is not q itself."""
        if self.said.objective.label_term == "mean_log":
            return (
                r"There $\log \hat{q}$ is the mean of $\log q$ over samples, and over enumerated values by their probability."
            )
        if not self.cells:
            return r"There $\hat{q}$ is $q$ at what is drawn."
        mean = rf"\log \frac{{1}}{{{self.said.objective.samples}}} \sum_{{{self.cells}}} \exp {self.indexed(LOG_WEIGHT)}"
        return rf"There $\log \hat{{q}}$ of a label is by how much its term in $\ell$ changes ${mean}$, in the order of $q$."

    def _of_terms(self) -> Iterator[str]:
        """How log q - log p is taken, and what is left out."""
        graph = self.formulas.graph
        yield from self._of_draws()
        for row in self.said.divergences:
            if row.labels:
                known, sampled = self._named(row.labels), self._named([row.variable])
                yield f"In rows that know {known}, the divergence of {sampled} is taken at the sample."
        if collapsed := self.said.objective.collapsed:
            yield f"Where {self._named(collapsed)} is not known, its mean stands for it, and it adds no term."
        for name in self.observed:
            node = graph.variables[name]
            if node.masked:
                yield f"What is missing of {self._named([name])} leaves its likelihood."
            if node.soft:
                yield f"Values of {self._named([name])} may lie between 0 and 1, so that its likelihood is no density."
        for plate in graph.plates.values():
            count = graph.q.conditionals.get(plate.count)
            if count and count.conditional.gradient in RELAXED:
                yield f"While {self._named([plate.count])} is relaxed, a slot counts by the probability that it is active."
        if self.said.objective.bound == "importance_dreg":
            yield r"The gradient with respect to $\phi$ is the doubly reparameterised one."

    def _of_draws(self) -> Iterator[str]:
        """What is drawn otherwise than from its own family, or passes its gradient on otherwise than by its value."""
        sampled = [row.variable for row in self.said.divergences if row.taken == "sampled"]
        for draw in self.said.draws:
            conditional = self.formulas.graph.q.conditionals[draw.variable].conditional
            name, temperature = self._named([draw.variable]), _valued(r"\tau", conditional.temperature or 1.0)
            if draw.gradient == "concrete":
                scored = ", and both $q$ and $p$ score it by that density" * (draw.variable in sampled)
                yield f"Where it is not known, {name} is drawn from the Concrete distribution, {temperature}{scored}."
            elif draw.gradient == "straight_through":
                yield f"The gradient of {name} is that of its Concrete relaxation, {temperature}."
            elif draw.gradient == "score_function":
                yield f"The gradient of {name} is that of its score."

    def _named(self, names: Sequence[str]) -> str:
        return listed([f"${self.formulas.name(name)}$" for name in names])


def _valued(letter: str, value: object) -> str:
    """A weight and its number, or how that changes with the step of the training."""
    if not isinstance(value, Schedule):
        return f"${letter} = {value if isinstance(value, str) else f'{value:g}'}$"
    if value.schedule == "constant" or value.end is None:
        return f"${letter} = {value.start:g}$"
    way = f"from {value.start:g} to {value.end:g}"
    said = {
        "linear": f"goes {way} in {value.steps:,} steps",
        "cosine": f"goes {way} in {value.steps:,} steps, along half a cosine",
        "cyclic": f"rises {way} in the first half of every {value.steps:,} steps, and stays there in the second",
    }
    return f"${letter}$ {said[value.schedule]}"
