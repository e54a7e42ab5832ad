"""The mean of an estimate over every way in which q can draw, as a function of tables that autograd follows.

It is written from the formulas, by loops over cells and samples, and shares nothing with the runtime. A draw below enumerated
variables is made anew in each of their cells. Tensors are [world], or [cell, sample, world].
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product

import torch
from exact import Factors, forced
from torch import Tensor

from graphvae.runtime import Block, Model

Slot = tuple[str, tuple[tuple[str, int], ...], int]
"""A place for a draw: the variable, the cell of the enumerated variables above it, the sample."""
World = Mapping[str, int | Tensor]
Logits = Mapping[str, Tensor]


@dataclass(frozen=True)
class Worlds:
    """Tables of p and q, which variables of q are drawn and which enumerated, and the objective."""

    p: Factors
    q: Factors
    drawn: tuple[str, ...]
    enumerated: tuple[str, ...] = ()
    bound: str = "self_normalised"
    label_term: str = "log_mean"
    alpha: float = 0.0
    beta: Mapping[str, float] = field(default_factory=dict)

    def mean(self, p: Logits, q: Logits, known: Mapping[str, int], samples: int) -> Tensor:
        """The mean of the estimate, of one row."""
        drawn = self.every(self.slots(known, samples))
        return (self.log_draws(q, known, drawn).exp() * self.estimate(p, q, known, drawn, samples)).sum()

    def block(self, model: Model, patterns: Sequence[Mapping[str, int]], samples: int) -> tuple[Block, Tensor]:
        """A row for every world of each pattern of known values, its draws forced by noise, and the probability of each.

        Where a pattern knows an enumerated variable that another does not, the block has its axis, and the draws in the cells
        that are ruled out are draws all the same.
        """
        axes = {name for name in self.enumerated if any(name not in known for known in patterns)}
        noises, probabilities = [], []
        for known in patterns:
            drawn = self.every(self.slots(known, samples, axes))
            probabilities.append(self.log_draws(logits(self.q), known, drawn).exp().detach())
            noises.append(self._noise(model, drawn, samples, len(probabilities[-1])))
        data = {
            name: torch.cat(
                [torch.full((len(p),), known.get(name, -1)) for known, p in zip(patterns, probabilities, strict=True)]
            )
            for name in dict.fromkeys(name for known in patterns for name in known)
        }
        noise = {name: torch.cat([each[name] for each in noises], 1) for name in noises[0]}
        return Block(model.evidence(data), noise), torch.cat(probabilities)

    def slots(self, known: Mapping[str, int], samples: int, axes: set[str] | None = None) -> list[Slot]:
        """A slot for every draw of a row; `axes` are the enumerated variables that have one, if not those that are unknown."""
        axes = {name for name in self.enumerated if name not in known} if axes is None else axes
        made: list[Slot] = []
        for name in (name for name in self.drawn if name not in known):
            above = [e for e in self.enumerated if e in axes and e in self.above(name)]
            cells = product(*(range(self.size(e)) for e in above))
            made += [(name, tuple(zip(above, cell, strict=True)), s) for cell in cells for s in range(samples)]
        return made

    def above(self, name: str) -> set[str]:
        """Everything that stands above a variable in q."""
        parents = {parent for parent in self.q[name].parents if parent in self.q}
        return parents.union(*(self.above(parent) for parent in parents))

    def size(self, name: str) -> int:
        """The number of values of a variable."""
        return self.q[name].table.shape[-1]

    def every(self, slots: list[Slot]) -> dict[Slot, Tensor]:
        """Every assignment of values to slots."""
        values = list(product(*(range(self.size(name)) for name, *_ in slots)))
        return dict(zip(slots, torch.tensor(values, dtype=torch.long).reshape(len(values), len(slots)).T, strict=True))

    def log_draws(self, q: Logits, known: Mapping[str, int], drawn: Mapping[Slot, Tensor]) -> Tensor:
        """Log q of every assignment."""
        scores = [torch.zeros(1)]
        for (name, cell, sample), value in drawn.items():
            world = {**self.world({**known, **dict(cell)}, sample, drawn), name: value}
            scores.append(look_up(q[name], (*self.q[name].parents, name), world))
        return torch.stack(torch.broadcast_tensors(*scores)).sum(0)

    def world(self, fixed: Mapping[str, int], sample: int, drawn: Mapping[Slot, Tensor]) -> World:
        """The values of one sample, in the cell that is fixed."""
        agree = {n: v for (n, cell, s), v in drawn.items() if s == sample and all(fixed.get(e, k) == k for e, k in cell)}
        return {**agree, **fixed}

    def estimate(self, p: Logits, q: Logits, known: Mapping[str, int], drawn: Mapping[Slot, Tensor], samples: int) -> Tensor:
        """The estimate of the objective in every world."""
        free = [name for name in self.enumerated if name not in known]
        cells = product(*(range(self.size(e)) for e in free))
        worlds = [[self.world({**known, **dict(zip(free, c, strict=True))}, s, drawn) for s in range(samples)] for c in cells]
        count = max((len(value) for value in drawn.values()), default=1)
        log_p = {name: over(worlds, count, p[name], (*each.parents, name)) for name, each in self.p.items()}
        log_q = {name: over(worlds, count, q[name], (*each.parents, name)) for name, each in self.q.items()}
        cell = sum((log_q[name] for name in free), torch.zeros(len(worlds), samples, count))
        labels = {name: log_q[name] for name in log_q if name in known}
        beta = dict.fromkeys(self.q, 1.0) | dict(self.beta)
        if self.bound == "importance":
            main, share = self._importance(log_p, log_q, cell, beta, free, labels), dict.fromkeys(labels, 0.0)
        else:
            ratio = sum(beta[name] * (lp - log_q[name]) if name in log_q else lp for name, lp in log_p.items())
            weight = sum(labels.values(), cell).flatten(0, 1).softmax(0)
            main, share = (weight * ratio.flatten(0, 1)).sum(0), beta
        return main + sum((share[n] + self.alpha) * value for n, value in self.log_labels(cell, labels, samples).items())

    def _importance(
        self, log_p: Logits, log_q: Logits, cell: Tensor, beta: Mapping[str, float], free: Sequence[str], labels: Logits
    ) -> Tensor:
        """The sum over cells of q (log of the mean weight over samples - beta log q)."""
        unknown = [name for name in log_q if name not in labels and name not in free]
        ratio = sum(beta.get(name, 1.0) * (lp - log_q[name] if name in unknown else lp) for name, lp in log_p.items())
        weighed = sum((beta[name] * log_q[name][:, 0] for name in free), torch.zeros_like(cell[:, 0]))
        return (cell[:, 0].exp() * (ratio.exp().mean(1).log() - weighed)).sum(0)

    def log_labels(self, cell: Tensor, labels: Logits, samples: int) -> dict[str, Tensor]:
        """Log q of each label in every world, from the log-weights of the cells and the scores of the labels."""
        found, before = {}, cell
        for name, label in labels.items():
            after = before + label
            mean_log = (cell.exp() * label).sum((0, 1)) / samples
            log_mean = after.logsumexp((0, 1)) - before.logsumexp((0, 1))
            found[name], before = mean_log if self.label_term == "mean_log" else log_mean, after
        return found

    def _noise(self, model: Model, drawn: Mapping[Slot, Tensor], samples: int, rows: int) -> dict[str, Tensor]:
        noise = model.noise(samples, rows)
        for (name, cell, sample), value in drawn.items():
            axes = self.enumerated[: len(model.variables[name].cells)]
            place = [dict(cell).get(axis, slice(None)) for axis in axes]
            target = noise[name][(sample, slice(None), *reversed(place))]
            target.copy_(forced(value, self.size(name)).reshape(rows, *(1,) * (target.dim() - 2), -1).expand(target.shape))
        return noise


def logits(factors: Factors) -> dict[str, Tensor]:
    """Leaves: the logits of each table."""
    return {name: torch.tensor(each.table).log().requires_grad_() for name, each in factors.items()}


def look_up(table: Tensor, names: Sequence[str], world: World) -> Tensor:
    """The log-probability that a table of logits [parent values..., value] gives in every world."""
    return table.log_softmax(-1)[tuple(world[name] for name in names)]


def over(worlds: Sequence[Sequence[World]], count: int, table: Tensor, names: Sequence[str]) -> Tensor:
    """The same in every cell and sample, [cell, sample, world]."""
    return torch.stack([torch.stack([look_up(table, names, world).expand(count) for world in row]) for row in worlds])
