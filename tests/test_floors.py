"""The lint after a training: a labelled density as narrow as it may be."""

from pathlib import Path

import numpy as np
import pytest
import torch

from graphvae.compiler.pipeline import compile_text
from graphvae.lab.data import load_data
from graphvae.lab.floors import at_the_floor
from graphvae.lab.models import new_model

SPEC = """
model: floors
variables:
  size: {distribution: FAMILY, role: supervised}
  image: {distribution: normal, size: 4, role: observed}
p: {image: [size]}
q: {size: {parents: [image], network: {hidden: []}}}
data: {source: npz, columns: {size: size, image: image}, labels: {size: {rows: ROWS}}}
"""


@pytest.mark.parametrize(
    ("family", "head", "narrow", "wide", "message"),
    [
        ("normal", 1, -12.0, 0.0, "the scale of 'size' in q has reached its bound of 0.01 in 100% of the labelled rows"),
        ("laplace", 1, -12.0, -3.0, "the scale of 'size' in q has reached its bound of 0.01 in 100% of the labelled rows"),
        ("gamma", 0, 5e4, 50.0, "the concentration of 'size' in q has reached its bound of 10000 in 100% of"),
        ("exponential", 0, 5e4, 0.0, None),
    ],
)
def test_a_density_at_its_floor_is_told(
    tmp_path: Path, family: str, head: int, narrow: float, wide: float, message: str | None
) -> None:
    generator = np.random.default_rng(0)
    np.savez(tmp_path / "data.npz", size=generator.random(25) + 0.5, image=generator.random((25, 4)))
    for rows in (5, 0):
        compilation = compile_text(SPEC.replace("FAMILY", family).replace("ROWS", str(rows)), "floors.yaml")
        model = new_model(compilation)
        dataset = load_data(compilation.graph, model.variables, tmp_path / "data.npz")
        for raw in (narrow, wide):
            with torch.no_grad():
                model.encoder.size.first.bias[head] = raw
            found = list(at_the_floor(compilation.plan, model, dataset))
            if raw == wide or message is None or not rows:
                assert found == []
            else:
                assert message in str(found[0])
                assert str(found[0]).startswith("floors.yaml:7:")
    assert model.training
