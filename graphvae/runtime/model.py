"""The base class of emitted models: everything that follows from an encoder and a decoder, and is therefore never emitted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import ClassVar, Literal, NamedTuple, Self

import torch
from torch import Tensor, nn
from torch.func import functional_call

from graphvae.runtime.distributions import Distribution, trailing
from graphvae.runtime.draws import Knobs
from graphvae.runtime.failures import describe_failure, describe_scoring
from graphvae.runtime.objectives import (
    Estimate,
    LogEvidence,
    cell_weights,
    doubly_reparameterised,
    importance,
    log_evidence,
    log_importance,
    normalised,
    over_cells,
    report,
    self_normalised,
    total,
    with_score_function,
)
from graphvae.runtime.plates import Plate, Weights, active_weights, joint_weights
from graphvae.runtime.terms import Draw, Evidence, Term


@dataclass(frozen=True)
class Variable:
    """What the runtime must know of a variable: its role, its family, and the event shape of a value inside the model.

    `posterior` is its family in q, where that is another one; `masked` says that elements of an observed variable may be
    missing; `number` is the whole number that bounds its family's values, if one does; `cells` are the sizes of the enumeration
    axes over which its draw needs noise of its own; `plates` are those that repeat it, with their sizes; `collapse` says that
    an unknown value is the mean of its conditional, and not scored.
    """

    role: Literal["observed", "supervised", "latent", "given"]
    family: type[Distribution]
    event: tuple[int, ...]
    posterior: type[Distribution] | None = None
    enumerated: bool = False
    soft: bool = False
    masked: bool = False
    number: int = 0
    cells: tuple[int, ...] = ()
    plates: Mapping[str, int] = field(default_factory=dict)
    collapse: bool = False

    @property
    def slots(self) -> tuple[int, ...]:
        """How many slots each of its plates has."""
        return tuple(self.plates.values())

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of a row's value, [plate..., event...]."""
        return (*self.slots, *self.event)

    @property
    def inferred(self) -> bool:
        """Whether q has a conditional for it."""
        return self.role in ("supervised", "latent")


class Count(NamedTuple):
    """The variable that says how many slots of a plate are active, and for a category what number each stands for."""

    variable: str
    values: tuple[int, ...] | None = None


class Block(NamedTuple):
    """Rows with the same evidence pattern: what is known of them, and their noise."""

    evidence: Mapping[str, Evidence]
    noise: Mapping[str, Tensor]


class Objective(NamedTuple):
    """The bound of each row, and its parts by name without gradient, [row] each."""

    bound: Tensor
    parts: dict[str, Tensor]


class Posterior(NamedTuple):
    """Weighted draws of every variable that q infers: values and means [enumerations..., sample, row, plate..., event...],
    weight without plates and event.

    Under the weights of q, `means` average to the same as `values`, and vary less: see `conditional_means`. Weighted by
    importance, the draws also estimate log p of the known values, `evidence`; by q they do not. `active` are the weights
    [enumerations..., sample, row, plate...] of the slots of those variables of which not all are always there.
    """

    values: dict[str, Tensor]
    means: dict[str, Tensor]
    weight: Tensor
    evidence: LogEvidence | None
    active: dict[str, Tensor]


class Imputation(NamedTuple):
    """What is missing, and around it what is known.

    `mean` is the posterior mean, [row, event...], of a category its probabilities; `draws` are from the posterior, [draw, row,
    ...] as data holds them.
    """

    mean: Tensor
    draws: Tensor


class Model(nn.Module):
    """A partially specified deep generative model: p as `decoder`, q as `encoder`.

    Data is a mapping from names to tensors [row, ...] as a table holds them: a category is an integer, and a missing label is
    -1, or NaN for a number. Generators make every draw repeatable.
    """

    variables: ClassVar[Mapping[str, Variable]]
    bound: ClassVar[Literal["self_normalised", "importance", "importance_dreg"]] = "self_normalised"
    label_term: ClassVar[str]
    closed_kl: ClassVar[Mapping[str, tuple[str, ...]]] = {}
    """The draws whose log q - log p has a closed form, each with the labels that take it away in the rows that know one."""
    plates: ClassVar[Mapping[str, Count]] = {}
    """What counts the slots of a plate, where not all are always active."""
    frozen: ClassVar[tuple[str, ...]] = ()
    """The sub-models that do not train, by the attributes that lead to them in the encoder and in the decoder."""
    settled: ClassVar[tuple[str, ...]] = ()
    """The sub-models in slots that may be inactive: batch normalisation there keeps the running statistics that it has."""

    def __init__(self, encoder: nn.Module, decoder: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder
        self.decoder = decoder
        for part in self.parts(self.frozen):
            part.requires_grad_(False)

    def parts(self, paths: Sequence[str]) -> list[nn.Module]:
        """The sub-models at these paths, in the encoder and in the decoder."""
        sides = [dict(side.named_modules()) for side in (self.encoder, self.decoder)]
        return [modules[path] for path in paths for modules in sides if path in modules]

    def train(self, mode: bool = True) -> Self:
        """Training or evaluation; what is frozen is always in evaluation, and statistics that are settled are."""
        super().train(mode)
        inside = [module for part in self.parts(self.settled) for module in part.modules()]
        for part in [*self.parts(self.frozen), *(module for module in inside if isinstance(module, nn.BatchNorm1d))]:
            part.eval()
        return self

    def forward(self, blocks: Sequence[Block], knobs: Knobs) -> Objective:
        """The objective of the rows of all blocks, in their order: what training maximises."""
        made = [self.estimate(block, knobs) for block in blocks if block_rows(block)]
        parts = [report(terms, estimate) for terms, estimate in made]
        names = dict.fromkeys(name for part in parts for name in part)
        bounds = torch.cat([estimate.bound for _, estimate in made])
        rows = [estimate.bound.shape[0] for _, estimate in made]
        return Objective(bounds, {name: join_parts(name, parts, rows, bounds) for name in names})

    def estimate(self, block: Block, knobs: Knobs) -> tuple[dict[str, Term], Estimate]:
        """The terms of one block, and the objective made of them."""
        if self.bound == "importance_dreg":
            return self.estimate_doubly_reparameterised(block, knobs)
        _, terms = self.infer(block, knobs)
        objective = importance if self.bound == "importance" else self_normalised
        return terms, with_score_function(objective, terms, knobs, self.label_term)

    def estimate_doubly_reparameterised(self, block: Block, knobs: Knobs) -> tuple[dict[str, Term], Estimate]:
        """The terms and the importance bound, with the gradient of Tucker et al. (2019).

        Every draw is scored by a q whose weights are detached, and its value is live; where it enters p or that score, its
        gradient is multiplied by a factor. Draws of q do not meet there, so each is multiplied once.
        """
        q = self.run(self.encoder, block.evidence, block.noise, knobs)
        factor: list[Tensor] = []
        values = {name: draw.value for name, draw in q.items() if not draw.collapsed}
        drawn = [name for name in values if q[name].known is not True and not q[name].enumerated]
        values |= reweighed({name: values[name] for name in drawn}, q, factor)
        clamped = {**block.evidence, **{name: Evidence(value) for name, value in values.items()}}
        p = self.run(self.decoder, clamped, {}, knobs)
        fixed = self.run(self.encoder, clamped, {}, knobs, detached(self.encoder))
        terms = self.terms(q, p)
        for name in drawn:
            draw = replace(q[name], value=values[name], distribution=fixed[name].distribution)
            scored = self.score(name, draw, p[name])
            terms[name] = scored._replace(log_label=terms[name].log_label)
        estimate, found = doubly_reparameterised(terms, knobs, self.label_term)
        factor.append(found)
        return terms, estimate

    def infer(self, block: Block, knobs: Knobs) -> tuple[dict[str, Draw], dict[str, Term]]:
        """The draws of q, and a term for every variable: in the order of q, the observed ones last."""
        q, p = self.passes(block, knobs)
        return q, self.terms(q, p)

    def passes(self, block: Block, knobs: Knobs) -> tuple[dict[str, Draw], dict[str, Draw]]:
        """A pass through q, and one through p at the values that q made; what is collapsed has a mean of its own in each."""
        q = self.run(self.encoder, block.evidence, block.noise, knobs)
        drawn = {name: Evidence(draw.value) for name, draw in q.items() if not draw.collapsed}
        return q, self.run(self.decoder, {**block.evidence, **drawn}, {}, knobs)

    def terms(self, q: Mapping[str, Draw], p: Mapping[str, Draw]) -> dict[str, Term]:
        """A term for every variable: in the order of q, the observed ones last."""
        return {name: self.score(name, q.get(name), p[name], self.closed(name, q)) for name in dict.fromkeys((*q, *p))}

    def closed(self, name: str, q: Mapping[str, Draw]) -> Tensor | bool:
        """In which rows log q - log p of a variable has its closed form: those that know no label behind it."""
        known: Tensor | bool = name not in self.closed_kl
        for label in self.closed_kl.get(name, ()):
            known = known | q[label].known_rows
        return ~known if isinstance(known, Tensor) else not known

    def score(self, name: str, q: Draw | None, p: Draw, closed: Tensor | bool = False) -> Term:
        """What a variable adds to the objective, inferred by q or observed; what goes wrong carries its place in the spec."""
        try:
            return q.term(p.distribution, closed) if q else Term(p.log_prob)
        except Exception as error:
            error.add_note(describe_scoring(name, p, self.decoder))
            raise

    def run(
        self,
        network: nn.Module,
        evidence: Mapping[str, Evidence],
        noise: Mapping[str, Tensor],
        knobs: Knobs,
        state: dict[str, Tensor] | None = None,
    ) -> dict[str, Draw]:
        """One pass through p or q, with other weights where a `state` gives them.

        What goes wrong inside carries the line of the emitted code and of the spec.
        """
        arguments = (evidence, noise, knobs)
        try:
            made: dict[str, Draw] = functional_call(network, state, arguments) if state else network(*arguments)
            return made
        except Exception as error:
            if note := describe_failure(error, network):
                error.add_note(note)
            raise

    def knobs(
        self,
        alpha: float | Mapping[str, float] = 1.0,
        beta: float | Mapping[str, float] = 1.0,
        temperature: Mapping[str, float] = MappingProxyType({}),
    ) -> Knobs:
        """The weights as the tensors that the objective reads; what a mapping does not name is 0 for alpha and 1 for beta.

        A variable that `temperature` does not name is drawn hard, as in every evaluation.
        """
        parameter = next(self.parameters())

        def tensor(value: float) -> Tensor:
            return torch.tensor(value, dtype=parameter.dtype, device=parameter.device)

        labels = [name for name, variable in self.variables.items() if variable.role == "supervised"]
        inferred = [name for name, variable in self.variables.items() if variable.inferred]
        return Knobs(
            {name: tensor(alpha.get(name, 0.0) if isinstance(alpha, Mapping) else alpha) for name in labels},
            {name: tensor(beta.get(name, 1.0) if isinstance(beta, Mapping) else beta) for name in inferred},
            {name: tensor(value) for name, value in temperature.items()},
        )

    def noise(self, samples: int, rows: int, generator: torch.Generator | None = None) -> dict[str, Tensor]:
        """Noise [sample, row, enumerations..., plate..., event...] for every variable that q samples, for known rows too."""
        dtype, kinds = next(self.parameters()).dtype, self.variables.items()
        drawn = {name: kind for name, kind in kinds if kind.inferred and not kind.enumerated and not kind.collapse}
        shapes = {name: (samples, rows, *reversed(kind.cells), *kind.shape) for name, kind in drawn.items()}
        return {name: (kind.posterior or kind.family).noise(shapes[name], generator, dtype) for name, kind in drawn.items()}

    def evidence(self, data: Mapping[str, Tensor]) -> dict[str, Evidence]:
        """Data in the model's form; a variable that is missing in some rows has a mask, one missing in all is left out.

        A label in a slot is evidence that there is such a slot, and what is observed in a slot that is not there goes nowhere.

        Raises:
            ValueError: For a name that is not a variable, a shape that does not fit, a missing observed value, or a label in a
                slot that is not known to be there.
        """
        encoded = {name: self.encoded(name, value) for name, value in data.items()}
        found = {name: self.known(name, value, self.slot_weights(name, encoded)) for name, value in encoded.items()}
        return {name: evidence for name, evidence in found.items() if evidence is not None}

    def encoded(self, name: str, value: Tensor) -> Tensor:
        """The values of a variable in the model's form, [row, plate..., event...], NaN where one is missing."""
        variable = self.variables.get(name)
        if variable is None:
            raise ValueError(f"{name!r} is not a variable; the variables are: {', '.join(self.variables)}")
        encoded = variable.family.encode(value, variable.event, next(self.parameters()).dtype)
        if tuple(encoded.shape[1:]) != variable.shape:
            raise ValueError(f"{name!r} has values of shape {list(encoded.shape[1:])}; the spec says {list(variable.shape)}")
        return encoded

    def slot_weights(self, name: str, encoded: Mapping[str, Tensor]) -> Tensor | None:
        """The weights [row, plate...] of a variable's slots, NaN where the count is not known; nothing where all are active."""
        sizes, weights = self.variables[name].plates, []
        for plate, (count, values) in ((plate, count) for plate, count in self.plates.items() if plate in sizes):
            kind = self.variables[count]
            number = encoded.get(count, encoded[name].new_full((1, *kind.shape), torch.nan))
            each = active_weights(number, (values or range(kind.event[-1])) if kind.event else None, sizes[plate])
            unknown = number.isnan().any(-1, keepdim=True) if kind.event else number.isnan().unsqueeze(-1)
            weights.append(Weights((*kind.plates, plate), torch.where(unknown, torch.nan, each)))
        return joint_weights(weights, [Plate(*each) for each in sizes.items()])

    def known(self, name: str, value: Tensor, weights: Tensor | None) -> Evidence | None:
        """What is known of a variable, whose slots have these weights; nothing where it is missing in all rows."""
        variable, slots = self.variables[name], 1 + len(self.variables[name].plates)
        if weights is not None and not variable.inferred:
            value = torch.where(trailing(weights == 0, len(variable.event)), variable.family.inside, value)
        if variable.masked:
            return masked_evidence(value, variable)
        known = ~value.isnan().flatten(slots).any(slots) if variable.event else ~value.isnan()
        if not variable.inferred and not known.all():
            raise ValueError(f"{name!r} is {variable.role} and is missing in row {int((~known).nonzero()[0, 0])}")
        if weights is not None and variable.role == "supervised":
            self.check_slots(name, known & ~(weights > 0))
        if variable.inferred and not known.any():
            return None
        return Evidence(value, None if known.all() else known)

    def check_slots(self, name: str, wrong: Tensor) -> None:
        """A label in a slot is evidence that the slot is there, and the count must say so."""
        if wrong.any():
            row, *slots = wrong.nonzero()[0].tolist()
            counts = [count.variable for plate, count in self.plates.items() if plate in self.variables[name].plates]
            raise ValueError(
                f"{name!r} is known in row {row}, slot {', '.join(map(str, slots))}, where {' or '.join(map(repr, counts))} "
                "is unknown or too small"
            )

    def block(self, data: Mapping[str, Tensor], samples: int, generator: torch.Generator | None) -> Block:
        """All rows of data as one block, with its noise."""
        rows = len(next(iter(data.values())))
        evidence = self.evidence(data)
        for name, kind in self.variables.items():
            if kind.masked and name not in data:
                nothing = next(self.parameters()).new_full((rows, *kind.shape), torch.nan)
                evidence[name] = masked_evidence(nothing, kind)
        return Block(evidence, self.noise(samples, rows, generator))

    def objective(
        self,
        data: Mapping[str, Tensor],
        samples: int = 1,
        generator: torch.Generator | None = None,
        knobs: Knobs | None = None,
    ) -> Tensor:
        """The objective of each row, [row], whichever of its labels are known (`knobs()` are alpha 1 and beta 1)."""
        return self.estimate(self.block(data, samples, generator), knobs or self.knobs())[1].bound

    @torch.no_grad()
    def posterior(
        self,
        data: Mapping[str, Tensor],
        samples: int = 100,
        generator: torch.Generator | None = None,
        by: Literal["importance", "q"] = "importance",
    ) -> Posterior:
        """Weighted draws of the unknown variables given the known ones.

        The draws are those of q with labels clamped. By `importance`, their weights are p(known, drawn) / q(drawn), normalised;
        by `q`, they are the weights of the objective, and the draws follow q(unknown | known).
        """
        block, evidence = self.block(data, samples, generator), None
        if by == "importance":
            draws, terms = self.infer(block, self.knobs())
            weight, evidence = normalised(log_importance(terms)), log_evidence(terms)
        else:
            draws = self.run(self.encoder, block.evidence, block.noise, self.knobs())
            terms = {name: draw.term(draw.distribution) for name, draw in draws.items()}  # these weights never look at p
            rows = next(iter(block.evidence.values())).value.new_zeros(block_rows(block))  # q need not depend on the row
            weight = cell_weights(terms, total([rows, *(term.log_q for term in terms.values())]))
        values = {name: draw.value for name, draw in draws.items()}
        active = {name: draw.active for name, draw in draws.items() if draw.active is not None}
        return Posterior(values, conditional_means(draws), weight, evidence, active)

    @torch.no_grad()
    def predict(
        self,
        data: Mapping[str, Tensor],
        samples: int = 100,
        generator: torch.Generator | None = None,
        by: Literal["importance", "q"] = "importance",
    ) -> dict[str, Tensor]:
        """The posterior mean of every variable that q infers, [row, plate..., event...]; of a category, its probabilities."""
        return self.posterior_mean(self.posterior(data, samples, generator, by))

    def posterior_mean(self, posterior: Posterior) -> dict[str, Tensor]:
        """The weighted mean of every variable's draws, [row, plate..., event...]; of a category, its probabilities.

        In a slot, it is the mean of the draws in which the slot is active, and NaN where it is in none.
        """
        chosen = posterior.means if posterior.evidence is None else posterior.values
        return {
            name: active_mean(posterior.weight, value, self.variables[name], posterior.active.get(name))
            for name, value in chosen.items()
        }

    @torch.no_grad()
    def log_evidence(
        self, data: Mapping[str, Tensor], samples: int = 100, generator: torch.Generator | None = None
    ) -> LogEvidence:
        """Log p(data) of each row by importance sampling, with its standard error.

        With a `soft` likelihood the score of an observed variable is no density, and neither is this.
        """
        return log_evidence(self.infer(self.block(data, samples, generator), self.knobs())[1])

    @torch.no_grad()
    def impute(
        self, data: Mapping[str, Tensor], samples: int = 100, draws: int = 10, generator: torch.Generator | None = None
    ) -> dict[str, Imputation]:
        """What is missing, given what is known: of every variable that may be, supervised or observed with `missing: mask`.

        Args:
            data: Rows, in which NaN or -1 is missing.
            samples: Samples of the latent variables a row, weighted by importance.
            draws: Draws of what is missing a row.
            generator: Of the noise, and of the draws.
        """
        block = self.block(data, samples, generator)
        q, p = self.passes(block, self.knobs())
        weight = normalised(log_importance(self.terms(q, p)))
        chosen = torch.multinomial(over_cells(weight).T, draws, replacement=True, generator=generator).T
        found = {}
        for name, kind in self.variables.items():
            known = block.evidence.get(name)
            if kind.role == "supervised":
                value, active = q[name].value, q[name].active
                found[name] = imputation(kind, known, value, weight, [value] * draws, chosen, active)
            elif kind.masked:
                own = [kind.family.noise((*weight.shape, *kind.shape), generator, weight.dtype) for _ in range(draws)]
                drawn = [p[name].distribution.sample(noise) for noise in own]
                found[name] = imputation(kind, known, p[name].expectation, weight, drawn, chosen, p[name].active)
        return found

    @torch.no_grad()
    def sample(
        self,
        rows: int,
        data: Mapping[str, Tensor] | None = None,
        generator: torch.Generator | None = None,
        mean: bool = False,
    ) -> dict[str, Tensor]:
        """Rows drawn from p, [row, ...] as data holds them, with the variables in `data` held at its values.

        With `mean`, an observed variable is its conditional mean in place of a draw, as figures want it. A slot that is not
        active is missing.
        """
        dtype = next(self.parameters()).dtype
        kinds = {name: kind for name, kind in self.variables.items() if kind.role != "given"}
        noise = {name: kind.family.noise((1, rows, *kind.shape), generator, dtype) for name, kind in kinds.items()}
        made = self.run(self.decoder, self.evidence(data or {}), noise, self.knobs())
        values = {}
        for name, draw in made.items():
            kind, shown = self.variables[name], mean and self.variables[name].role == "observed"
            value = (draw.mean if shown else draw.value).expand(1, rows, *kind.shape).squeeze(0)
            active = None if draw.active is None else draw.active.expand(1, rows, *kind.plates.values()).squeeze(0)
            values[name] = as_data(value if shown else kind.family.decode(value), active)
        return values


def block_rows(block: Block) -> int:
    """How many rows a block has."""
    return len(next(iter(block.evidence.values())).value)


def masked_evidence(encoded: Tensor, variable: Variable) -> Evidence:
    """An observed variable [row, event...] with a mask of its elements, and a value inside the support where one is missing."""
    joint = variable.family.joint
    cells = ~(encoded.isnan().any(-1) if joint else encoded.isnan())
    return Evidence(torch.where(trailing(cells, joint), encoded, variable.family.inside), cells=cells)


def reweighed(values: Mapping[str, Tensor], q: Mapping[str, Draw], factor: Sequence[Tensor]) -> dict[str, Tensor]:
    """Values on every axis of a factor [enumerations..., sample, row], by which their gradient will be multiplied.

    The factor need not be there before the backward pass.
    """
    axes = torch.broadcast_shapes(*(draw.value.shape[: draw.value.dim() - len(draw.shape)] for draw in q.values()))
    made = {}
    for name, value in values.items():
        shape = q[name].shape
        made[name] = value.expand(*axes, *shape).clone()
        if made[name].requires_grad:
            made[name].register_hook(lambda gradient, shape=shape: gradient * trailing(factor[0].expand(axes), len(shape)))
    return made


def detached(network: nn.Module) -> dict[str, Tensor]:
    """The state of a network whose weights are to receive no gradient, and whose running statistics are to be left alone."""
    weights = {name: value.detach() for name, value in network.named_parameters()}
    return weights | {name: value.clone() for name, value in network.named_buffers()}


def imputation(
    variable: Variable,
    known: Evidence | None,
    means: Tensor,
    weight: Tensor,
    drawn: Sequence[Tensor],
    chosen: Tensor,
    active: Tensor | None = None,
) -> Imputation:
    """What is known, and in place of the rest the weighted mean, and of each draw the values of its chosen cells [draw, row].

    Means and draws are [enumerations..., sample, row, plate..., event...]; a slot that is not active is missing.
    """
    values = torch.stack([pick(each, cell, weight, variable.shape) for each, cell in zip(drawn, chosen, strict=True)])
    mean = active_mean(weight, means, variable, active)
    if known is not None:
        mean, values = known.completed(mean), known.completed(values)
    there = None if active is None else torch.stack([pick(active, cell, weight, variable.slots) for cell in chosen])
    return Imputation(mean, as_data(variable.family.decode(values), there))


def as_data(value: Tensor, active: Tensor | None) -> Tensor:
    """Values [..., row, plate..., ...] as data holds them, missing in the slots that are not active, [..., row, plate...]."""
    if active is None:
        return value
    missing = torch.nan if value.is_floating_point() else -1
    return torch.where(trailing(active > 0, value.dim() - active.dim()), value, missing)


def pick(values: Tensor, cell: Tensor, weight: Tensor, shape: tuple[int, ...]) -> Tensor:
    """For each row the value of one cell [row], out of [enumerations..., sample, row, ...]: [row, ...]."""
    rows = weight.shape[-1]
    cells = values.expand(*weight.shape, *shape).reshape(weight[..., 0].numel(), rows, *shape)
    return cells[cell, torch.arange(rows, device=weight.device)]


def join_parts(name: str, parts: Sequence[Mapping[str, Tensor]], rows: Sequence[int], like: Tensor) -> Tensor:
    """One part over all blocks; NaN on the rows of a block that does not have it."""
    missing = [like.new_full((count,), torch.nan) for count in rows]
    return torch.cat([part.get(name, absent).expand(len(absent)) for part, absent in zip(parts, missing, strict=True)])


def conditional_means(draws: Mapping[str, Draw]) -> dict[str, Tensor]:
    """What stands for each variable of q in a mean under the weights of q: its conditional mean, or its draw.

    Given its parents, a variable has its conditional mean only as long as nothing behind it is known. So where a variable that
    comes later in q is known in a row, in any slot, the draw itself stands, and the weights tell the draws apart. What is made
    in a loop stands behind itself and all else in the loop.
    """
    means: dict[str, Tensor] = {}
    later: Tensor | bool = False
    for name, draw in reversed(list(draws.items())):
        loops = {plate for plate in draw.place if plate.looped}
        behind = later
        for other in (other for other in draws.values() if loops.intersection(other.place)):
            behind = behind | other.known_rows
        if isinstance(behind, bool):
            means[name] = draw.value if behind else draw.mean
        else:
            means[name] = torch.where(trailing(behind, len(draw.shape)), draw.value, draw.mean)
        later = later | draw.known_rows
    return {name: means[name] for name in draws}


def active_mean(weight: Tensor, value: Tensor, variable: Variable, active: Tensor | None) -> Tensor:
    """The mean of a variable's values under weights [enumerations..., sample, row], in a slot over the cells that have it.

    In a slot that no cell has, it is NaN.
    """
    if active is None:
        return weighted_mean(weight, value, variable.shape)
    share, event = weighted_mean(weight, active, variable.slots), len(variable.event)
    there, active = torch.where(share > 0, share, torch.nan), trailing(active, event)
    return weighted_mean(weight, active * torch.where(active > 0, value, 0.0), variable.shape) / trailing(there, event)


def weighted_mean(weight: Tensor, value: Tensor, event: tuple[int, ...]) -> Tensor:
    """The mean of values [..., row, event...] under weights [..., row]."""
    flat = value.flatten(-len(event)) if event else value.unsqueeze(-1)
    weight, flat = torch.broadcast_tensors(weight.unsqueeze(-1), flat)
    weighted = torch.where(weight != 0, weight * flat, 0.0)
    return weighted.flatten(0, -3).sum(0).reshape(-1, *event) if weighted.dim() > 2 else weighted.reshape(-1, *event)
