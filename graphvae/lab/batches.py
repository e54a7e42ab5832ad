"""Which rows stand in which batch, as a function of the seed, the epoch and the step: there is no state to save."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from graphvae.compiler.spec import Objective

Index = NDArray[np.intp]
LABELLED, UNLABELLED = 0, 1  # the random streams of an epoch


@dataclass(frozen=True)
class Batch:
    """Rows of the training table, the labelled ones first. `step` counts the batches of all epochs from 0."""

    step: int
    labelled: Index
    unlabelled: Index


@dataclass(frozen=True)
class Schedule:
    """The batches of a training.

    An epoch is one pass over the unlabelled rows, cut into batches as equal as they can be; beside them stand the next rows
    of an endless series of shuffled passes over the labelled ones, as many as the rate asks for, fractions carried over. If
    there are no unlabelled rows, or the rate leaves them none, an epoch is a pass over the labelled rows.

    >>> schedule = Schedule(labelled=(0, 1), unlabelled=(2, 3, 4, 5, 6, 7), batch_size=4, rate=0.5, seed=0)
    >>> [(batch.step, len(batch.labelled), len(batch.unlabelled)) for batch in schedule.epoch(1)]
    [(3, 2, 2), (4, 2, 2), (5, 2, 2)]
    """

    labelled: Sequence[int]
    unlabelled: Sequence[int]
    batch_size: int
    rate: float
    seed: int

    @property
    def steps(self) -> int:
        """Batches an epoch."""
        if self._labelled_alone:
            return -(-len(self.labelled) // self.batch_size)
        return max(1, round(len(self.unlabelled) / ((1 - self.rate) * self.batch_size)))

    @property
    def _labelled_alone(self) -> bool:
        return not self.unlabelled or self.rate == 1

    @property
    def _labelled_per_epoch(self) -> float:
        if self._labelled_alone:
            return len(self.labelled)
        return len(self.unlabelled) * self.rate / (1 - self.rate)

    def epoch(self, epoch: int) -> Iterator[Batch]:
        """The batches of one epoch, counted from 0."""
        unlabelled = [] if self._labelled_alone else self.unlabelled
        order = _shuffled(tuple(unlabelled), self.seed, UNLABELLED, epoch)
        for batch in range(self.steps):
            step = epoch * self.steps + batch
            own = slice(_share(len(order), batch, self.steps), _share(len(order), batch + 1, self.steps))
            yield Batch(step, self._labelled_rows(step), order[own])

    def _labelled_rows(self, step: int) -> Index:
        """The rows of the endless labelled series that belong to a step."""
        if not self.labelled:
            return np.empty(0, np.intp)
        start, end = (int(number * self._labelled_per_epoch / self.steps + 1e-9) for number in (step, step + 1))
        size = len(self.labelled)
        passes = [_shuffled(tuple(self.labelled), self.seed, LABELLED, lap) for lap in range(start // size, -(-end // size))]
        series = np.concatenate(passes) if passes else np.empty(0, np.intp)
        offset = start // size * size
        return series[start - offset : end - offset]


def supervision_rate(objective: Objective, labelled: int, unlabelled: int) -> float:
    """The share of labelled rows in a batch (`docs`: rho = gamma M / (N + gamma M)); their natural share if nothing is said.

    >>> supervision_rate(Objective(gamma=4.0), labelled=3, unlabelled=9)
    0.5714285714285714
    """
    if labelled == 0 or unlabelled == 0:
        return float(labelled > 0)
    if objective.supervision_rate is not None:
        return objective.supervision_rate
    gamma = 1.0 if objective.gamma is None else objective.gamma
    return gamma * labelled / (unlabelled + gamma * labelled)


def _share(total: int, part: int, parts: int) -> int:
    return total * part // parts


@lru_cache(maxsize=8)
def _shuffled(rows: tuple[int, ...], seed: int, stream: int, number: int) -> Index:
    order = np.random.default_rng([seed, stream, number]).permutation(len(rows))
    shuffled: Index = np.asarray(rows, np.intp)[order]
    return shuffled
