"""Which rows stand in which batch, as a function of the seed, the epoch and the step: there is no state to save."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from graphvae.compiler.spec import Objective, Schedule

Index = NDArray[np.intp]
LABELLED, UNLABELLED = 0, 1  # the random streams of an epoch


@dataclass(frozen=True)
class Batch:
    """Rows of the training table, the labelled ones first. `step` counts the batches of all epochs from 0."""

    step: int
    labelled: Index
    unlabelled: Index


@dataclass(frozen=True)
class Epoch:
    """An epoch's first step, its number of steps, how many labelled rows came before it, and how many belong to it."""

    start: int
    steps: int
    labelled_before: float
    labelled: float


@dataclass(frozen=True)
class Batches:
    """The batches of a training.

    An epoch is one pass over the unlabelled rows, cut into batches as equal as they can be; beside them stand the next rows
    of an endless series of shuffled passes over the labelled ones, as many as the rate asks for, fractions carried over. If
    there are no unlabelled rows, or the rate leaves them none, an epoch is a pass over the labelled rows. `rate` gives the
    share of labelled rows at a step; an epoch has that of its first.

    >>> batches = Batches((0, 1), (2, 3, 4, 5, 6, 7), batch_size=4, rate=lambda step: 0.5, seed=0)
    >>> [(batch.step, len(batch.labelled), len(batch.unlabelled)) for batch in batches.epoch(1)]
    [(3, 2, 2), (4, 2, 2), (5, 2, 2)]
    """

    labelled: Sequence[int]
    unlabelled: Sequence[int]
    batch_size: int
    rate: Callable[[int], float]
    seed: int

    def place(self, epoch: int) -> Epoch:
        """Where an epoch stands, counted from 0; it follows from those before it."""
        place = self._after(Epoch(0, 0, 0.0, 0.0))
        for _ in range(epoch):
            place = self._after(place)
        return place

    def _after(self, before: Epoch) -> Epoch:
        start, drawn = before.start + before.steps, before.labelled_before + before.labelled
        rate = self.rate(start)
        if self._labelled_alone(rate):
            return Epoch(start, -(-len(self.labelled) // self.batch_size), drawn, len(self.labelled))
        steps = max(1, round(len(self.unlabelled) / ((1 - rate) * self.batch_size)))
        return Epoch(start, steps, drawn, len(self.unlabelled) * rate / (1 - rate))

    def _labelled_alone(self, rate: float) -> bool:
        return not self.unlabelled or rate == 1

    def epoch(self, epoch: int) -> Iterator[Batch]:
        """The batches of one epoch, counted from 0."""
        place = self.place(epoch)
        unlabelled = [] if self._labelled_alone(self.rate(place.start)) else self.unlabelled
        order = _shuffled(tuple(unlabelled), self.seed, UNLABELLED, epoch)
        for batch in range(place.steps):
            own = slice(_share(len(order), batch, place.steps), _share(len(order), batch + 1, place.steps))
            yield Batch(place.start + batch, self._labelled_rows(place, batch), order[own])

    def _labelled_rows(self, place: Epoch, batch: int) -> Index:
        """The rows of the endless labelled series that belong to a batch."""
        if not self.labelled:
            return np.empty(0, np.intp)
        ends = (place.labelled_before + number * place.labelled / place.steps for number in (batch, batch + 1))
        start, end = (int(drawn + 1e-9) for drawn in ends)
        size = len(self.labelled)
        passes = [_shuffled(tuple(self.labelled), self.seed, LABELLED, lap) for lap in range(start // size, -(-end // size))]
        series = np.concatenate(passes) if passes else np.empty(0, np.intp)
        offset = start // size * size
        return series[start - offset : end - offset]


def supervision_rate(objective: Objective, labelled: int, unlabelled: int) -> float | Schedule:
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
