"""What is done to numbers before a model sees them, and how it is undone in what is written for a person."""

from __future__ import annotations

import zlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from graphvae.compiler.spec import Rescale, Word
from graphvae.runtime import Block

Steps = Sequence[Word | Rescale]
Floats = NDArray[np.floating[Any]]


@dataclass(frozen=True)
class Standard:
    """Mean and deviation [event...] of the training rows."""

    mean: Floats
    deviation: Floats


@dataclass(frozen=True)
class Coding:
    """How a table's own values become the model's numbers, as the training rows have them; a run keeps it in its manifest.

    `categories` are the names of categories in the order of their integers, `standards` belong to what is standardised.
    """

    categories: Mapping[str, tuple[str, ...]]
    standards: Mapping[str, Standard]

    def as_json(self) -> dict[str, Any]:
        """Plain data, from which `of` makes the same coding."""
        standards = {
            name: {"mean": standard.mean.tolist(), "deviation": standard.deviation.tolist()}
            for name, standard in self.standards.items()
        }
        return {"categories": {name: list(names) for name, names in self.categories.items()}, "standards": standards}

    @classmethod
    def of(cls, kept: Mapping[str, Any]) -> Coding:
        """The inverse of `as_json`."""
        return cls(
            {name: tuple(names) for name, names in kept["categories"].items()},
            {name: Standard(np.array(row["mean"]), np.array(row["deviation"])) for name, row in kept["standards"].items()},
        )


def forward(name: str, steps: Steps, values: Floats, standard: Standard | None = None) -> Floats:
    """The model's numbers, [row, event...]; what is missing stays missing.

    Args:
        name: The variable's, which its own random stream follows from.
        steps: Its transforms. What is to be standardised, and has no standard, is left as it is; `binarise_each_time` draws
            once, as it does for rows that test.
        values: The data's own numbers.
        standard: Mean and deviation where one of the steps is `standardise`.
    """
    for step in steps:
        if isinstance(step, Rescale) and step.scale:
            values = _scaled(values, step.scale, step.to or (0.0, 1.0))
        elif isinstance(step, Rescale):
            assert step.binarise is not None
            threshold = 0.5 if step.binarise.threshold is None else step.binarise.threshold
            values = _above(values, threshold) if step.binarise.seed is None else _switched(name, values, step.binarise.seed)
        elif step == "binarise":
            values = _above(values, 0.5)
        elif step == "binarise_each_time":
            values = _switched(name, values, 0)
        elif standard is not None:
            values = (values - standard.mean) / standard.deviation
    return values


def inverse(steps: Steps, values: Floats, standard: Standard | None = None) -> Floats:
    """The data's own units, in double precision. What a threshold has forgotten stays forgotten."""
    values = values.astype(np.float64)
    for step in reversed(steps):
        if isinstance(step, Rescale) and step.scale:
            values = _scaled(values, step.to or (0.0, 1.0), step.scale)
        elif step == "standardise" and standard is not None:
            values = values * standard.deviation + standard.mean
    return values


def rescales(steps: Steps) -> bool:
    """Whether the numbers of the model are in other units than those of the data."""
    return any(step == "standardise" or (isinstance(step, Rescale) and step.scale is not None) for step in steps)


def switched(blocks: Sequence[Block], names: Collection[str], generator: torch.Generator) -> list[Block]:
    """Blocks in which fresh switches stand in place of probabilities: one draw for all rows, in the order of the blocks."""
    rows = [len(next(iter(block.evidence.values())).value) for block in blocks]
    evidence = [dict(block.evidence) for block in blocks]
    for name in names:
        probabilities = torch.cat([each[name].value for each in evidence])
        drawn = torch.rand(probabilities.shape, generator=generator, device=probabilities.device) < probabilities
        for each, own in zip(evidence, drawn.to(probabilities.dtype).split(rows), strict=True):
            each[name] = each[name]._replace(value=own)
    return [block._replace(evidence=each) for block, each in zip(blocks, evidence, strict=True)]


def _scaled(values: Floats, old: tuple[float, float], new: tuple[float, float]) -> Floats:
    scaled: Floats = (values - old[0]) / (old[1] - old[0]) * (new[1] - new[0]) + new[0]
    return scaled


def _above(values: Floats, threshold: float) -> Floats:
    return np.where(np.isnan(values), values, (values > threshold).astype(values.dtype))


def _switched(name: str, values: Floats, seed: int) -> Floats:
    """1 with the probability that a value is; what is no probability is left for the support to refuse."""
    uniform = np.random.default_rng([seed, zlib.crc32(name.encode())]).random(values.shape, np.float32)
    inside = (values >= 0) & (values <= 1)
    return np.where(inside, (uniform < values).astype(values.dtype), values)
