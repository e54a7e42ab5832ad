"""The base class of emitted models: everything that follows from an encoder and a decoder, and is therefore never emitted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import ClassVar, Literal, NamedTuple, Self

import torch
from torch import Tensor, nn
from torch.func import functional_call

from graphvae.runtime.distributions import Distribution, trailing
from graphvae.runtime.draws import Draw, Evidence, Knobs, Term
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


@dataclass(frozen=True)
class Variable:
    """What the runtime must know of a variable: its role, its family, and the event shape of a value inside the model.

    `posterior` is its family in q, where that is another one; `masked` says that elements of an observed variable may be
    missing; `number` is the whole number that bounds its family's values, if one does; `cells` are the sizes of the enumeration
    axes over which its draw needs noise of its own; `plates` are the sizes of the plates that repeat it; `collapse` says that an
    unknown value is the mean of its conditional, and is not scored.
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
    plates: tuple[int, ...] = ()
    collapse: bool = False

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of a row's value, in all slots."""
        return (*self.plates, *self.event)

    @property
    def inferred(self) -> bool:
        """Whether q has a conditional for it."""
        return self.role in ("supervised", "latent")


@dataclass(frozen=True)
class Count:
    """What says how many slots of a plate are active: a variable, and the numbers that its categories stand for, if it has any.

    `members` are the variables in the plate.
    """

    variable: str
    size: int
    values: tuple[int, ...] | None
    members: tuple[str, ...]


class Block(NamedTuple):
    """Rows with the same evidence pattern: what is known of them, and their noise."""

    evidence: Mapping[str, Evidence]
    noise: Mapping[str, Tensor]


class Objective(NamedTuple):
    """The bound of each row, and its parts by name without gradient, [row] each."""

    bound: Tensor
    parts: dict[str, Tensor]


class Posterior(NamedTuple):
    """Weighted draws of every variable that q infers: values and means [enumerations..., sample, row, event...], weight without
    the event.

    Under the weights of q, `means` average to the same as `values`, and vary less: see `conditional_means`. Weighted by
    importance, the draws also estimate log p of the known values, `evidence`; by q they do not.
    """

    values: dict[str, Tensor]
    means: dict[str, Tensor]
    weight: Tensor
    evidence: LogEvidence | None


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
    """What counts the active slots of plates."""
    frozen: ClassVar[tuple[str, ...]] = ()
    """The sub-models whose weights never change."""

    def __init__(self, encoder: nn.Module, decoder: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder
        self.decoder = decoder
        for part in self.frozen_parts():
            part.requires_grad_(False)

    def frozen_parts(self) -> list[nn.Module]:
        """The sub-models in p and q whose weights never change."""
        sides = [dict(side.named_modules()) for side in (self.encoder, self.decoder)]
        return [modules[name] for name in self.frozen for modules in sides if name in modules]

    def train(self, mode: bool = True) -> Self:
        """Training mode, but for what is frozen: its running statistics stay as they are."""
        super().train(mode)
        for part in self.frozen_parts():
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
        values = {name: draw.value for name, draw in q.items()}
        drawn = [name for name, draw in q.items() if draw.known is not True and not draw.enumerated]
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
        """A pass through q, and one through p at the values that q made."""
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
        dtype = next(self.parameters()).dtype
        drawn = {
            name: kind for name, kind in self.variables.items() if kind.inferred and not (kind.enumerated or kind.collapse)
        }
        shapes = {name: (samples, rows, *reversed(kind.cells), *kind.shape) for name, kind in drawn.items()}
        return {name: (kind.posterior or kind.family).noise(shapes[name], generator, dtype) for name, kind in drawn.items()}

    def evidence(self, data: Mapping[str, Tensor]) -> dict[str, Evidence]:
        """Data in the model's form; a variable that is missing in some rows has a mask, one missing in all is left out.

        Raises:
            ValueError: For a name that is not a variable, a shape that does not fit, or a missing observed value.
        """
        found = {}
        for name, value in data.items():
            variable = self.variables.get(name)
            if variable is None:
                raise ValueError(f"{name!r} is not a variable; the variables are: {', '.join(self.variables)}")
            encoded = variable.family.encode(value, variable.event, next(self.parameters()).dtype)
            if tuple(encoded.shape[1:]) != variable.shape:
                raise ValueError(
                    f"{name!r} has values of shape {list(encoded.shape[1:])}; the spec says {list(variable.shape)}"
                )
            if variable.masked or (not variable.inferred and self.counted(name)):
                found[name] = masked_evidence(encoded, variable)
                continue
            slots = 1 + len(variable.plates)
            known = ~encoded.isnan().flatten(slots).any(slots) if variable.event else ~encoded.isnan()
            if not variable.inferred and not known.all():
                raise ValueError(f"{name!r} is {variable.role} and is missing in row {int((~known).nonzero()[0])}")
            if known.any() or not variable.inferred:
                found[name] = Evidence(encoded, None if known.all() else known)
        for plate, count in self.plates.items():
            check_slots(plate, count, data, found)
        return found

    def counted(self, name: str) -> bool:
        """Whether some slots of a variable may be inactive."""
        return any(name in count.members for count in self.plates.values())

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
        return Posterior({name: draw.value for name, draw in draws.items()}, conditional_means(draws), weight, evidence)

    @torch.no_grad()
    def predict(
        self,
        data: Mapping[str, Tensor],
        samples: int = 100,
        generator: torch.Generator | None = None,
        by: Literal["importance", "q"] = "importance",
    ) -> dict[str, Tensor]:
        """The posterior mean of every variable that q infers, [row, event...]; of a category, its probabilities."""
        return self.posterior_mean(self.posterior(data, samples, generator, by))

    def posterior_mean(self, posterior: Posterior) -> dict[str, Tensor]:
        """The weighted mean of every variable's draws, [row, event...]; of a category, its probabilities."""
        chosen = posterior.means if posterior.evidence is None else posterior.values
        return {name: weighted_mean(posterior.weight, value, self.variables[name].shape) for name, value in chosen.items()}

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
                found[name] = imputation(kind, known, q[name].value, weight, [q[name].value] * draws, chosen)
            elif kind.masked:
                own = [kind.family.noise((*weight.shape, *kind.shape), generator, weight.dtype) for _ in range(draws)]
                drawn = [p[name].distribution.sample(noise) for noise in own]
                found[name] = imputation(kind, known, p[name].distribution.mean, weight, drawn, chosen)
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

        With `mean`, an observed variable is its conditional mean in place of a draw, as figures want it.
        """
        dtype = next(self.parameters()).dtype
        kinds = {name: kind for name, kind in self.variables.items() if kind.role != "given"}
        noise = {name: kind.family.noise((1, rows, *kind.shape), generator, dtype) for name, kind in kinds.items()}
        made = self.run(self.decoder, self.evidence(data or {}), noise, self.knobs())
        values = {}
        for name, draw in made.items():
            kind = self.variables[name]
            if mean and kind.role == "observed":
                values[name] = draw.mean.expand(1, rows, *kind.shape).squeeze(0)
            else:
                values[name] = kind.family.decode(draw.value.expand(1, rows, *kind.shape).reshape(rows, *kind.shape))
        return values


def block_rows(block: Block) -> int:
    """How many rows a block has."""
    return len(next(iter(block.evidence.values())).value)


def masked_evidence(encoded: Tensor, variable: Variable) -> Evidence:
    """An observed variable [row, event...] with a mask of its elements, and a value inside the support where one is missing."""
    joint = variable.family.joint
    cells = ~(encoded.isnan().any(-1) if joint else encoded.isnan())
    return Evidence(torch.where(trailing(cells, joint), encoded, variable.family.inside), cells=cells)


def check_slots(plate: str, count: Count, data: Mapping[str, Tensor], found: Mapping[str, Evidence]) -> None:
    """A known slot is an active one: where a slot is known, so is the count, and it is large enough.

    Raises:
        ValueError: With the first row in which it is not.
    """
    for name in count.members:
        known = found[name].known if name in found else None
        if name not in found or found[name].cells is not None:
            continue
        rows = len(found[name].value)
        slots = torch.ones(rows, count.size, dtype=torch.bool) if known is None else known.reshape(rows, -1, count.size).any(1)
        least = (slots * torch.arange(1, count.size + 1)).amax(1)
        number = data[count.variable].clone() if count.variable in data else torch.full((rows,), -1)
        if count.values is not None:
            number = torch.where(number < 0, number, torch.tensor(count.values)[number.clamp_min(0).long()])
        wrong = (least > 0) & ~(number >= least)
        if wrong.any():
            row = int(wrong.nonzero()[0])
            shown = f"{count.variable!r} is {int(number[row])}" if number[row] >= 0 else f"{count.variable!r} is unknown"
            raise ValueError(f"{name!r} is known in slot {int(least[row]) - 1} of {plate!r} in row {row}, where {shown}")


def reweighed(values: Mapping[str, Tensor], q: Mapping[str, Draw], factor: Sequence[Tensor]) -> dict[str, Tensor]:
    """Values on every axis of a factor [enumerations..., sample, row], by which their gradient will be multiplied.

    The factor need not be there before the backward pass.
    """
    behind = {name: draw.distribution.event + draw.plates for name, draw in q.items()}
    axes = torch.broadcast_shapes(*(draw.value.shape[: draw.value.dim() - behind[name]] for name, draw in q.items()))
    made = {}
    for name, value in values.items():
        event = behind[name]
        made[name] = value.expand(*axes, *value.shape[value.dim() - event :]).clone()
        if made[name].requires_grad:
            made[name].register_hook(lambda gradient, event=event: gradient * trailing(factor[0].expand(axes), event))
    return made


def detached(network: nn.Module) -> dict[str, Tensor]:
    """The state of a network whose weights are to receive no gradient, and whose running statistics are to be left alone."""
    weights = {name: value.detach() for name, value in network.named_parameters()}
    return weights | {name: value.clone() for name, value in network.named_buffers()}


def imputation(
    variable: Variable, known: Evidence | None, means: Tensor, weight: Tensor, drawn: Sequence[Tensor], chosen: Tensor
) -> Imputation:
    """What is known, and in place of the rest the weighted mean, and of each draw the values of its chosen cells [draw, row].

    Means and draws are [enumerations..., sample, row, event...].
    """
    values = torch.stack([pick(each, cell, weight, variable.shape) for each, cell in zip(drawn, chosen, strict=True)])
    mean = weighted_mean(weight, means, variable.shape)
    if known is not None:
        mean, values = known.completed(mean), known.completed(values)
    return Imputation(mean, variable.family.decode(values))


def pick(values: Tensor, cell: Tensor, weight: Tensor, event: tuple[int, ...]) -> Tensor:
    """For each row the value of one cell [row], out of [enumerations..., sample, row, event...]: [row, event...]."""
    rows = weight.shape[-1]
    cells = values.expand(*weight.shape, *event).reshape(weight[..., 0].numel(), rows, *event)
    return cells[cell, torch.arange(rows, device=weight.device)]


def join_parts(name: str, parts: Sequence[Mapping[str, Tensor]], rows: Sequence[int], like: Tensor) -> Tensor:
    """One part over all blocks; NaN on the rows of a block that does not have it."""
    missing = [like.new_full((count,), torch.nan) for count in rows]
    return torch.cat([part.get(name, absent).expand(len(absent)) for part, absent in zip(parts, missing, strict=True)])


def conditional_means(draws: Mapping[str, Draw]) -> dict[str, Tensor]:
    """What stands for each variable of q in a mean under the weights of q: its conditional mean, or its draw.

    Given its parents, a variable has its conditional mean only as long as nothing behind it is known. So where a variable that
    comes later in q is known in a row, the draw itself stands, and the weights tell the draws apart.
    """
    means: dict[str, Tensor] = {}
    later: Tensor | bool = False
    for name, draw in reversed(list(draws.items())):
        behind = draw.distribution.event + draw.plates
        if isinstance(later, bool):
            means[name] = draw.value if later else draw.mean
        else:
            means[name] = torch.where(trailing(later, behind), draw.value, draw.mean)
        later = later | draw.known_rows
    return {name: means[name] for name in draws}


def weighted_mean(weight: Tensor, value: Tensor, event: tuple[int, ...]) -> Tensor:
    """The mean of values [..., row, event...] under weights [..., row]."""
    flat = value.flatten(-len(event)) if event else value.unsqueeze(-1)
    weight, flat = torch.broadcast_tensors(weight.unsqueeze(-1), flat)
    weighted = torch.where(weight != 0, weight * flat, 0.0)
    return weighted.flatten(0, -3).sum(0).reshape(-1, *event) if weighted.dim() > 2 else weighted.reshape(-1, *event)
