"""Names: whatever a person calls a variable, the emitted code has a name for it and runs."""

from __future__ import annotations

import builtins
import keyword
import unicodedata
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from models import random_data, random_model
from reference import objective
from test_emitted import random_knobs
from torch import nn

from graphvae.compiler.names import LOCALS, MODULE_ATTRIBUTES, Namespace
from graphvae.compiler.pipeline import compile_text
from graphvae.runtime import Block, Model, load

FI, WIDE_K, IJ = "\N{LATIN SMALL LIGATURE FI}", "\N{FULLWIDTH LATIN CAPITAL LETTER K}", "\N{LATIN SMALL LIGATURE IJ}"
NASTY = [
    *("class", "forward", "training", "self", "draw", "torch", "nn", "super", "evidence", "noise", "knobs", "positive"),
    *("loc", "scale", "logits", "probs", "value", "bias", "heads", "first", "body", "parents", "variables", "label_term"),
    *("Encoder", "Decoder", "Model", "Mlp", "Draws", "Variable", "Normal", "Categorical", "Bernoulli", "None", "True", "match"),
    *("x", "x_2", "loc_2", "x_loc", "x_logits", "encoder", "decoder", "parameters", "modules", "state_dict", "T_destination"),
    *(FI, "fi", WIDE_K, "K", IJ, "ij", "größe", "数字", "init__", "weight", "weight_x", "in_features", "forward_2"),
    *("print", "type", "math", "functional", "graphvae", "run", "sample", "previous"),
    *("slot", "network", "softplus", "paste", "glyph", "part_active", "state_previous", "part_index", "sum_over", "unit"),
]
MODELS = ["normal", "categorical", "model", "encoder", "Draws", "variable", "x__", "nn", "Torch", "term", "x", FI]


@settings(deadline=None, derandomize=True)
@given(st.lists(st.text(min_size=1), max_size=8), st.lists(st.text(min_size=1), max_size=4))
def test_names_are_identifiers_unique_and_repeatable(asked: list[str], reserved: list[str]) -> None:
    names, again = Namespace(reserved), Namespace(reserved)
    made = [names.create_name(name) for name in asked]
    assert all(name.isidentifier() and not keyword.iskeyword(name) for name in made)
    assert all(name == unicodedata.normalize("NFKC", name) for name in made), "Python compares names in this form"
    assert len(set(made)) == len(made)
    assert not set(made) & set(reserved)
    assert not any(name.startswith("_") for name in made)
    assert made == [again.create_name(name) for name in asked]


@settings(deadline=None, derandomize=True)
@given(st.from_regex(r"[a-z][a-z0-9_]*", fullmatch=True).filter(lambda name: not keyword.iskeyword(name)))
def test_a_plain_name_stays_as_it_is(name: str) -> None:
    assert Namespace().create_name(name) == name


def test_module_attributes_are_those_of_torch() -> None:
    assert {name for name in dir(nn.Module()) if not name.startswith("_")} == MODULE_ATTRIBUTES


def test_locals_are_what_an_emitted_forward_uses() -> None:
    assert {"self", "draw", "evidence", "noise", "knobs"} <= set(LOCALS)
    assert not set(LOCALS) & (set(dir(builtins)) - {"super"})


def test_nasty_variables_compile_to_code_that_runs() -> None:
    model = _model("nasty", NASTY)
    rows = 4
    _runs(model, {"seen": torch.randn(rows, 2), NASTY[0]: torch.tensor([0, 1, -1, 2])})
    assert set(NASTY) <= set(model.variables)


@pytest.mark.parametrize(
    "names",
    [
        {},
        {"plate": "slot", "walk": "slot_active", "middle": "slot_index", "state": "slot_2"},
        {"plate": "Pool", "count": "Count", "glyph": "Gru", "walk": "softplus", "state": "Mlp"},
        {"plate": "sum_over", "middle": "paste", "glyph": "active_weights", "state": "softplus"},
        {"plate": "torch", "glyph": "draw", "count": "nn", "walk": "self", "middle": "network", "seen": "value"},
        {"walk": "state", "state": "state_previous", "middle": "state_initial", "seen": "state_previous_2"},
        {"count": "part_active", "walk": "part_index", "seen": "seen_part", "state": "part_2", "glyph": "part_3"},
        {"middle": "middle_slots", "walk": "seen_slots", "seen": "network", "glyph": "seen", "state": "glyph_x"},
        {"glyph": "Encoder", "plate": "Decoder", "walk": "GlyphEncoder", "digit": "draw"},
        {"glyph": "walk_initial", "state": "line", "plate": "stack", "digit": "softplus"},
        {"plate": "keep", "glyph": "call", "walk": "slots", "middle": "at", "state": "made", "digit": "x_2"},
    ],
    ids=lambda names: "-".join(names.values()),
)
@pytest.mark.usefixtures("float64")
def test_plates_loops_and_submodels_meet_no_other_name(tmp_path: Path, names: dict[str, str]) -> None:
    """No value, function or class has taken the place of another: the bound is that of the oracle, which runs no such code."""
    names = PLAIN | names
    (tmp_path / "inner.yaml").write_text(INNER.format(**names), encoding="utf-8")
    compilation = compile_text(SLOTS.format(**names), str(tmp_path / "scene.yaml"))
    compilation.plan.check()
    generator = torch.Generator().manual_seed(0)
    model = random_model(load(compilation.code, "scene"), generator)
    data = random_data(model.variables, 3, generator, model.plates)
    noise = model.noise(2, 3, generator)
    knobs, alpha, beta = random_knobs(model, generator)
    with torch.no_grad():
        expected = objective(compilation.plan, model.state_dict(), data, noise, alpha, beta)
        bound = model([Block(model.evidence(data), noise)], knobs).bound
    torch.testing.assert_close(bound, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", MODELS)
def test_any_model_name_makes_a_class_that_runs(name: str) -> None:
    model = _model(name, ["digit", "style"])
    _runs(model, {"seen": torch.randn(3, 2), "digit": torch.tensor([0, -1, 2])})


SLOTS = """
model: scene
plates: {{"{plate}": {{size: 3, active: "{count}"}}}}
variables:
  "{count}": {{distribution: categorical, values: [1, 2, 3], role: supervised}}
  "{walk}": {{distribution: normal, size: 2, plate: "{plate}"}}
  "{seen}": {{distribution: normal, size: 4, role: observed}}
submodels:
  "{glyph}": {{spec: inner.yaml, plate: "{plate}"}}
p:
  "{walk}": {{parents: ["{walk}.previous", "{plate}"], network: {{hidden: [3]}}, initial: learned}}
  "{middle}": {{parents: ["{walk}"], plate: "{plate}", shape: [2], network: {{hidden: [3]}}, value: "softplus(network)"}}
  "{seen}": {{parents: ["{count}", "{middle}", "{glyph}.x"], network: {{hidden: [4], pool: sum}}}}
q:
  "{count}": {{parents: ["{seen}"], network: {{hidden: [4]}}}}
  "{state}": {{plate: "{plate}", parents: ["{seen}", "{state}.previous", "{walk}.previous"], network: {{kind: gru, size: 3}}}}
  "{walk}": {{parents: ["{state}"], network: {{hidden: [3]}}}}
  "{glyph}.x": {{parents: ["{state}"], network: {{hidden: [3]}}}}
"""
INNER = """
model: inner
variables: {{"{digit}": {{distribution: categorical, categories: 2}}, x: {{distribution: normal, size: 2, role: observed}}}}
p: {{x: {{parents: ["{digit}"], network: {{hidden: [3]}}}}}}
q: {{"{digit}": {{parents: [x], network: {{hidden: [3]}}}}}}
"""
KINDS = ["plate", "count", "walk", "seen", "glyph", "middle", "state", "digit"]
PLAIN = dict(zip(KINDS, ["part", "count", "walk", "seen", "glyph", "middle", "memory", "digit"], strict=True))


def _model(name: str, variables: list[str]) -> Model:
    """A label that depends on the data, and a chain of latent variables: each depends on the one before it."""
    label, *latents = variables
    lines = [f"model: {name}", "variables:", "  seen: {distribution: normal, size: 2, role: observed}"]
    lines += [f'  "{label}": {{distribution: categorical, categories: 3, role: supervised}}']
    lines += [f'  "{latent}": {{distribution: normal}}' for latent in latents]
    for side, parents in (("p", variables), ("q", ["seen", label])):
        lines += [f"{side}:"]
        if side == "p":
            lines += [f"  seen: {{parents: {_quoted(parents)}, network: {{hidden: [4]}}}}"]
        else:
            lines += [f'  "{label}": {{parents: [seen], network: {{hidden: [4]}}}}']
            for parent, latent in zip([label, *latents], latents, strict=False):
                lines += [f'  "{latent}": {{parents: [seen, "{parent}"], network: {{hidden: [4]}}}}']
    compilation = compile_text("\n".join(lines), "nasty.yaml")
    compilation.plan.check()
    return load(compilation.code, name)()


def _quoted(names: list[str]) -> str:
    return "[" + ", ".join(f'"{name}"' for name in names) + "]"


def _runs(model: Model, data: dict[str, torch.Tensor]) -> None:
    bound = model.objective(data, samples=2)
    bound.sum().backward()
    assert bound.isfinite().all()
    assert all(parameter.grad is not None for parameter in model.parameters())
    assert all(value.isfinite().all() for value in model.sample(rows=2).values())
