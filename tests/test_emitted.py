"""Emitted code agrees with the oracle, row by row, whatever is known and however the rows are cut into blocks."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from models import NAMES, SPECS, random_data, random_model
from reference import objective
from torch import Tensor

from graphvae.compiler.pipeline import compile_file
from graphvae.runtime import Block, Knobs, Model, load

ROWS, SAMPLES = 5, 2
SMALLER = {  # as many as the oracle, which takes every cell and every slot on its own, can have
    "faces": ["variables.person.categories=3"],
    "faces_intrinsic": ["variables.person.categories=3"],
    "sequence": ["plates.line.size=5"],
}


pytestmark = pytest.mark.usefixtures("float64")  # so that agreement means the same formula


@pytest.mark.parametrize("label_term", ["log_mean", "mean_log"])
@pytest.mark.parametrize("path", SPECS, ids=NAMES)
def test_agrees_with_the_oracle(path: Path, label_term: str) -> None:
    compilation = compile_file(path, [f"objective.label_term={label_term}", *SMALLER.get(path.stem, [])])
    generator = torch.Generator().manual_seed(0)
    model = random_model(load(compilation.code, compilation.spec.model), generator)
    data = random_data(model.variables, ROWS, generator, model.plates)
    noise = model.noise(SAMPLES, ROWS, generator)
    knobs, alpha, beta = random_knobs(model, generator)
    with torch.no_grad():
        expected = objective(compilation.plan, model.state_dict(), data, noise, alpha, beta)
        together = model([Block(model.evidence(data), noise)], knobs).bound
        order, blocks = by_pattern(model, data, noise)
        apart = model(blocks, knobs).bound
    torch.testing.assert_close(together, expected, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(apart, expected[order], rtol=1e-9, atol=1e-9)


def random_knobs(model: Model, generator: torch.Generator) -> tuple[Knobs, dict[str, float], dict[str, float]]:
    """Weights of every kind: alpha by label, beta by latent variable, one beta for all labels."""
    alpha = {name: float(torch.rand((), generator=generator)) for name, kind in model.variables.items() if kind.inferred}
    beta = {name: 1.3 if model.variables[name].role == "supervised" else alpha[name] + 0.5 for name in alpha}
    return model.knobs(alpha, beta), alpha, beta


def by_pattern(model: Model, data: Mapping[str, Tensor], noise: Mapping[str, Tensor]) -> tuple[Tensor, list[Block]]:
    """The rows in blocks whose labels are known throughout or not at all, and the order in which they now stand."""
    evidence = model.evidence(data)
    rows = len(next(iter(data.values())))
    masks = [found.known.reshape(rows, -1) for found in evidence.values() if found.known is not None]
    pattern = torch.cat([torch.zeros(rows, 1, dtype=torch.bool), *masks], dim=1)
    groups = [(pattern == kind).all(1).nonzero().squeeze(1) for kind in pattern.unique(dim=0)]
    blocks = [
        Block(
            model.evidence({name: value[group] for name, value in data.items()}),
            {name: value[:, group] for name, value in noise.items()},
        )
        for group in groups
    ]
    return torch.cat(groups), blocks
