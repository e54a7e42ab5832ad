"""The specs of published structures, and those of the made-up survey: what they factorise into, and that they learn."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest
import torch
from models import ROOT, random_data

from graphvae.compiler.factors import factorise
from graphvae.compiler.pipeline import compile_file
from graphvae.runtime import Block, load

STACK = "p(digit) p(style) p(code | digit, style) p(image | code)"
THROUGH_EXTRA = "q(extra | image) q(digit | image, extra) q(style | image, extra, digit)"
FACTORS = {
    "m2": ("p(digit) p(style) p(image | digit, style)", "q(digit | image) q(style | image, digit)"),
    "svhn": ("p(digit) p(style) p(image | digit, style)", "q(digit | image) q(style | image, digit)"),
    "m1m2": (STACK, "q(digit | image) q(style | image, digit) q(code | image, digit, style)"),
    "label_behind_latent": (STACK, "q(code | image) q(digit | code) q(style | code, digit)"),
    "hierarchical": (
        "p(digit) p(style | digit) p(strokes | style) p(image | strokes)",
        "q(digit | image) q(strokes | image, digit) q(style | strokes, digit)",
    ),
    "auxiliary": ("p(digit) p(style) p(image | digit, style) p(extra | digit, style, image)", THROUGH_EXTRA),
    "skip": ("p(digit) p(style) p(extra | digit, style) p(image | digit, style, extra)", THROUGH_EXTRA),
    "two_labels": (
        "p(habitat) p(moisture | habitat) p(vigour) p(plants | habitat, moisture, vigour)",
        "q(habitat | plants) q(moisture | plants, habitat) q(vigour | plants, habitat, moisture)",
    ),
    "counts": (
        "p(habitat) p(vigour) p(insects | habitat, vigour) p(plants | habitat, vigour)",
        "q(habitat | plants, insects) q(vigour | plants, insects, habitat)",
    ),
    "conditional": (
        "p(habitat | altitude) p(vigour) p(plants | habitat, vigour, altitude)",
        "q(habitat | plants, altitude) q(vigour | plants, habitat, altitude)",
    ),
}
ON_MNIST = ("m2", "m1m2", "label_behind_latent", "hierarchical", "auxiliary", "skip")
SURVEY = ROOT / "specs" / "survey.csv"


@pytest.mark.parametrize("name", FACTORS)
def test_factors_are_those_published(name: str) -> None:
    graph = compile_file(ROOT / "specs" / f"{name}.yaml").graph
    assert tuple(" ".join(factorise(graph, side).factors) for side in (graph.p, graph.q)) == FACTORS[name]


@pytest.mark.parametrize("name", FACTORS)
def test_a_step_moves_every_weight_and_every_term_is_a_number(name: str) -> None:
    torch.manual_seed(0)
    compilation = compile_file(ROOT / "specs" / f"{name}.yaml")
    model = load(compilation.code, compilation.spec.model)()
    generator = torch.Generator().manual_seed(0)
    data = random_data(model.variables, 8, generator)
    block = Block(model.evidence(data), model.noise(2, 8, generator))
    before = {name: value.clone() for name, value in model.named_parameters()}
    objective = model([block], model.knobs(10.0))
    (-objective.bound.mean()).backward()
    torch.optim.Adam(model.parameters()).step()
    assert [name for name, value in model.named_parameters() if value.equal(before[name])] == []

    inferred = {name for name, kind in model.variables.items() if kind.inferred}
    labelled = {name for name in inferred if model.variables[name].role == "supervised"}
    observed = {name for name, kind in model.variables.items() if kind.role == "observed"}
    expected = {f"kl.{name}" for name in inferred} | {f"label.{name}" for name in labelled}
    expected |= {f"reconstruction.{name}" for name in observed} | {"effective_samples"}
    assert set(objective.parts) == expected
    for name, part in objective.parts.items():
        known = block.evidence[name.removeprefix("label.")].known if name.startswith("label.") else torch.ones(8).bool()
        assert part.isfinite().equal(known.reshape(8)), name


def test_structures_on_mnist_differ_in_structure_alone() -> None:
    """The same settings, and for the same variable a network of the same size."""
    specs = [compile_file(ROOT / "specs" / f"{name}.yaml").spec for name in ("mnist", *ON_MNIST)]
    first = specs[0]
    for spec in specs:
        assert (spec.data, spec.objective.alpha) == (first.data, first.objective.alpha)
        assert spec.objective.supervision_rate == first.objective.supervision_rate
        assert spec.training.learning_rate == first.training.learning_rate
        assert [spec.q.conditionals[name].network for name in ("digit", "style")] == [
            first.q.conditionals[name].network for name in ("digit", "style")
        ]
        assert spec.p["image"].network == first.p["image"].network


def test_the_survey_is_what_its_script_writes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["survey.py", str(tmp_path / "survey.csv")])
    runpy.run_path(str(SURVEY.with_suffix(".py")), run_name="__main__")
    assert (tmp_path / "survey.csv").read_bytes() == SURVEY.read_bytes()
