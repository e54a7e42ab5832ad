"""Where expressions stand: parameters that are numbers, values, networks between them, and names that mean two things."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from graphvae.compiler.errors import SpecError
from graphvae.compiler.expressions import LONGEST
from graphvae.compiler.graph import ModelGraph
from graphvae.compiler.pipeline import compile_text
from graphvae.compiler.resolve import resolve
from graphvae.compiler.source import read_text
from graphvae.compiler.spec import parse
from graphvae.lab.models import new_model

SPEC = """model: scenes
plates: {{slot: {{size: 3}}}}
variables:
  style: {{distribution: normal, size: 2}}
  place: {{distribution: normal, size: 2, plate: slot}}
  seen: {{distribution: normal, size: 2, role: observed}}
p:
  style: {{parameters: {{loc: "{style}", scale: 1}}}}
  place: {{parents: [style], parameters: {{loc: "{place}", scale: 1e-6}}}}
  seen: {{parents: [place], parameters: {{loc: "{seen}", scale: 1e-6}}}}
q:
  place: [seen, slot]
  style: [seen]
"""


def spec(style: str = "0", place: str = "style", seen: str = "sum(place, slot)") -> str:
    return SPEC.format(style=style, place=place, seen=seen)


def graph(text: str) -> ModelGraph:
    return resolve(parse(read_text(text, "m.yaml")))


NUMBERS = st.recursive(
    st.sampled_from(["0", "1", "2", "0.5", "1e3", "7", "1e308"]),
    lambda inner: st.one_of(
        inner.map("-({})".format),
        inner.map("abs({})".format),
        st.tuples(inner, st.sampled_from(["+", "-", "*", "/", "**"]), inner).map(lambda parts: f"({' '.join(parts)})"),
        st.tuples(inner, st.sampled_from(["+", "-", "*", "/", "**"]), inner).map(" ".join),
    ),
    max_leaves=6,
)


def by_python(text: str) -> float | None:
    """What Python's own floats give; None where they give none."""
    floats = " ".join(f"({float(part)!r})" if part[0].isdigit() else part for part in split(text))
    try:
        value = eval(floats, {"abs": abs})
    except ArithmeticError:
        return None
    return value if isinstance(value, float) and math.isfinite(value) else None


def split(text: str) -> list[str]:
    return text.replace("(", " ( ").replace(")", " ) ").replace("abs  (", "abs (").replace("-  (", "- (").split()


@settings(deadline=None, derandomize=True, max_examples=150)
@given(NUMBERS)
def test_a_parameter_of_numbers_alone_is_the_number_that_python_computes(text: str) -> None:
    assume(len(text) < LONGEST)
    wanted = by_python(text)
    if wanted is None:
        with pytest.raises(SpecError, match=r"m.yaml:8:\d+: error\[GV120\]"):
            graph(spec(style=f"({text}) * 1"))
    else:
        node = graph(spec(style=f"({text}) * 1")).p.conditionals["style"]
        assert node.conditional.parameters["loc"] == pytest.approx(wanted, rel=1e-15, abs=0)
        assert not node.expressions


def test_a_parameter_of_numbers_stands_as_its_value_in_emitted_code() -> None:
    code = compile_text(spec(style="-2 ** 2 + 10 / 4"), "m.yaml").code
    assert 'style = draw.sample("style", Normal(-1.5, 1.0))' in code


@pytest.mark.parametrize(
    ("place", "seen", "slots"),
    [
        ("style", "sum(place, slot)", 3.0),
        ("2 * style", "mean(place, slot)", 2.0),
        ("stack(1, 2) * style / stack(1, 2)", "max(place, slot) - style_twice", -1.0),
    ],
)
def test_values_pass_from_expression_to_expression(place: str, seen: str, slots: float) -> None:
    """Every slot of a place that has the style for its location has the same value, to its scale."""
    text = spec(place=place, seen=seen)
    if "style_twice" in seen:
        text = text.replace(
            "seen: {parents: [place]",
            "style_twice: {parents: [style], value: 2 * style}\n  seen: {parents: [place, style_twice]",
        )
    made = new_model(compile_text(text, "m.yaml")).sample(rows=4, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(made["seen"], slots * made["style"], rtol=0, atol=5e-5)


def test_the_network_stands_in_the_value() -> None:
    """With its weights at zero and its bias at one the value is what follows from one."""
    text = spec(seen="look").replace(
        "seen: {parents: [place]",
        "look: {parents: [style], size: 2, network: {hidden: [4]}, value: 3 * network + style}\n"
        "  seen: {parents: [look, place]",
    )
    model = new_model(compile_text(text, "m.yaml"))
    for name, parameter in model.decoder.look.named_parameters():
        torch.nn.init.constant_(parameter, float("bias" in name))
    made = model.sample(rows=4, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(made["seen"], 3 + made["style"], rtol=0, atol=5e-5)


@pytest.mark.parametrize(
    ("style", "constant"),
    [
        ("stack(2.3, 0)", "torch.tensor([2.3, 0.0])"),
        ("softmax(stack(1, 2), channel)", "torch.softmax(torch.tensor([1.0, 2.0]), -1)"),
        ("concatenate(stack(1), stack(2)) / 2", "concatenated(torch.tensor([1.0]), torch.tensor([2.0]), dim=-1) / 2"),
    ],
)
def test_a_vector_of_numbers_alone_is_a_buffer(style: str, constant: str) -> None:
    """It follows the model in device and precision, and is no part of its state."""
    compilation = compile_text(spec(style=style), "m.yaml")
    assert f'self.register_buffer("style_loc", {constant}, persistent=False)' in compilation.code
    model = new_model(compilation).double()
    assert model.decoder.style_loc.dtype == torch.float64
    assert not any("style_loc" in name for name in model.state_dict())


def test_what_numbers_alone_give_is_read_from_expressions_networks_and_slots() -> None:
    text = spec(style="offset", place="style + stack(1, 2)", seen="place_at_rest").replace(
        "style: {parameters",
        'offset: {value: "2 * stack(1, 2)"}\n'
        '  place_at_rest: {parents: [offset, style], size: 2, network: {hidden: [4]}, value: "0 * network + style - offset"}\n'
        "  style: {parents: [offset], parameters",
    )
    text = text.replace("scale: 1}", "scale: 1e-6}").replace("seen: {parents: [place]", "seen: {parents: [place_at_rest]")
    made = new_model(compile_text(text, "m.yaml")).sample(rows=4, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(made["style"], torch.tensor([2.0, 4.0]).expand(4, 2), rtol=0, atol=5e-5)
    torch.testing.assert_close(made["place"], torch.tensor([3.0, 6.0]).expand(4, 3, 2), rtol=0, atol=5e-5)
    torch.testing.assert_close(made["seen"], torch.zeros(4, 2), rtol=0, atol=5e-5)


def test_a_value_of_one_number_alone_is_refused() -> None:
    text = spec(style="offset").replace("style: {param", 'offset: {value: "2"}\n  style: {parents: [offset], param')
    with pytest.raises(SpecError, match="the value is a number, the same in every row"):
        graph(text)
