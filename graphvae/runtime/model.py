"""The base class of emitted models: everything that follows from an encoder and a decoder, and is therefore never emitted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal, NamedTuple

import torch
from torch import Tensor, nn

from graphvae.runtime.distributions import Distribution, trailing
from graphvae.runtime.draws import Draw, Evidence, Knobs, Term
from graphvae.runtime.failures import describe_failure, describe_scoring
from graphvae.runtime.objectives import (
    Estimate,
    LogEvidence,
    cell_weights,
    log_evidence,
    log_importance,
    normalised,
    report,
    self_normalised,
    total,
)


@dataclass(frozen=True)
class Variable:
    """What the runtime must know of a variable: its role, its family, and the event shape of a value inside the model."""

    role: Literal["observed", "supervised", "latent", "given"]
    family: type[Distribution]
    event: tuple[int, ...]
    enumerated: bool = False
    soft: bool = False

    @property
    def inferred(self) -> bool:
        """Whether q has a conditional for it."""
        return self.role in ("supervised", "latent")


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


class Model(nn.Module):
    """A partially specified deep generative model: p as `decoder`, q as `encoder`.

    Data is a mapping from names to tensors [row, ...] as a table holds them: a category is an integer, and a missing label is
    -1, or NaN for a number. Generators make every draw repeatable.
    """

    variables: ClassVar[Mapping[str, Variable]]
    label_term: ClassVar[str]

    def __init__(self, encoder: nn.Module, decoder: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder
        self.decoder = decoder

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
        _, terms = self.infer(block, knobs)
        return terms, self_normalised(terms, knobs, self.label_term)

    def infer(self, block: Block, knobs: Knobs) -> tuple[dict[str, Draw], dict[str, Term]]:
        """The draws of q, and a term for every variable: in the order of q, the observed ones last."""
        q = self.run(self.encoder, block.evidence, block.noise, knobs)
        drawn = {name: Evidence(draw.value) for name, draw in q.items()}
        p = self.run(self.decoder, {**block.evidence, **drawn}, {}, knobs)
        observed = [name for name in p if name not in q]
        return q, {name: self.score(name, q.get(name), p[name]) for name in (*q, *observed)}

    def score(self, name: str, q: Draw | None, p: Draw) -> Term:
        """What a variable adds to the objective, inferred by q or observed; what goes wrong carries its place in the spec."""
        try:
            return q.term(p.distribution) if q else Term(p.distribution.log_prob(p.value))
        except Exception as error:
            error.add_note(describe_scoring(name, p, self.decoder))
            raise

    def run(
        self, network: nn.Module, evidence: Mapping[str, Evidence], noise: Mapping[str, Tensor], knobs: Knobs
    ) -> dict[str, Draw]:
        """One pass through p or q; what goes wrong inside carries the line of the emitted code and of the spec."""
        try:
            made: dict[str, Draw] = network(evidence, noise, knobs)
            return made
        except Exception as error:
            if note := describe_failure(error, network):
                error.add_note(note)
            raise

    def knobs(self, alpha: float | Mapping[str, float] = 1.0, beta: float | Mapping[str, float] = 1.0) -> Knobs:
        """The weights as the tensors that the objective reads; what a mapping does not name is 0 for alpha and 1 for beta."""
        parameter = next(self.parameters())

        def tensor(value: float) -> Tensor:
            return torch.tensor(value, dtype=parameter.dtype, device=parameter.device)

        labels = [name for name, variable in self.variables.items() if variable.role == "supervised"]
        inferred = [name for name, variable in self.variables.items() if variable.inferred]
        return Knobs(
            {name: tensor(alpha.get(name, 0.0) if isinstance(alpha, Mapping) else alpha) for name in labels},
            {name: tensor(beta.get(name, 1.0) if isinstance(beta, Mapping) else beta) for name in inferred},
        )

    def noise(self, samples: int, rows: int, generator: torch.Generator | None = None) -> dict[str, Tensor]:
        """Noise [sample, row, event...] for every variable that q samples, for known rows too."""
        names = [name for name, variable in self.variables.items() if variable.inferred and not variable.enumerated]
        return self._noise(names, (samples, rows), generator)

    def _noise(self, names: Sequence[str], shape: tuple[int, ...], generator: torch.Generator | None) -> dict[str, Tensor]:
        dtype = next(self.parameters()).dtype
        kinds = {name: self.variables[name] for name in names}
        return {name: kind.family.noise((*shape, *kind.event), generator, dtype) for name, kind in kinds.items()}

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
            if tuple(encoded.shape[1:]) != variable.event:
                raise ValueError(
                    f"{name!r} has values of shape {list(encoded.shape[1:])}; the spec says {list(variable.event)}"
                )
            known = ~encoded.isnan().flatten(1).any(1) if variable.event else ~encoded.isnan()
            if not variable.inferred and not known.all():
                raise ValueError(f"{name!r} is {variable.role} and is missing in row {int((~known).nonzero()[0])}")
            if known.any() or not variable.inferred:
                found[name] = Evidence(encoded, None if known.all() else known)
        return found

    def block(self, data: Mapping[str, Tensor], samples: int, generator: torch.Generator | None) -> Block:
        """All rows of data as one block, with its noise."""
        rows = len(next(iter(data.values())))
        return Block(self.evidence(data), self.noise(samples, rows, generator))

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
        return {name: weighted_mean(posterior.weight, value, self.variables[name].event) for name, value in chosen.items()}

    @torch.no_grad()
    def log_evidence(
        self, data: Mapping[str, Tensor], samples: int = 100, generator: torch.Generator | None = None
    ) -> LogEvidence:
        """Log p(data) of each row by importance sampling, with its standard error.

        With a `soft` likelihood the score of an observed variable is no density, and neither is this.
        """
        return log_evidence(self.infer(self.block(data, samples, generator), self.knobs())[1])

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
        noise = self._noise([n for n, kind in self.variables.items() if kind.role != "given"], (1, rows), generator)
        made = self.run(self.decoder, self.evidence(data or {}), noise, self.knobs())
        values = {}
        for name, draw in made.items():
            kind = self.variables[name]
            if mean and kind.role == "observed":
                values[name] = draw.mean.expand(1, rows, *kind.event).squeeze(0)
            else:
                value = kind.family.decode(draw.value)
                values[name] = value if draw.known is True else value.squeeze(0)
        return values


def block_rows(block: Block) -> int:
    """How many rows a block has."""
    return len(next(iter(block.evidence.values())).value)


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
        event = draw.distribution.event
        if isinstance(later, bool):
            means[name] = draw.value if later else draw.mean
        else:
            means[name] = torch.where(trailing(later, event), draw.value, draw.mean)
        later = later | draw.known
    return {name: means[name] for name in draws}


def weighted_mean(weight: Tensor, value: Tensor, event: tuple[int, ...]) -> Tensor:
    """The mean of values [..., row, event...] under weights [..., row]."""
    flat = value.flatten(-len(event)) if event else value.unsqueeze(-1)
    weight, flat = torch.broadcast_tensors(weight.unsqueeze(-1), flat)
    weighted = torch.where(weight != 0, weight * flat, 0.0)
    return weighted.flatten(0, -3).sum(0).reshape(-1, *event) if weighted.dim() > 2 else weighted.reshape(-1, *event)
