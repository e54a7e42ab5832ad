"""What a person writes stays text in the emitted file, and what the emitter leaves out is the runtime's default."""

from __future__ import annotations

import ast
import inspect
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from graphvae import runtime
from graphvae.compiler.emit import emit
from graphvae.compiler.families import FAMILIES, POSITIVE_FLOOR, Family
from graphvae.compiler.pipeline import compile_text
from graphvae.compiler.spec import KINDS, Network
from graphvae.runtime import positive

TEXT = "model: m\nvariables: {x: {distribution: normal, role: observed}}\np: {x: []}\nq: {}"
PLAN = compile_text(TEXT, "m.yaml").plan
ANYTHING = st.text() | st.text(alphabet="\"'\\ \n\r#u{}", min_size=1)


def body(code: str) -> str:
    """The code without its docstring and its comments."""
    return ast.unparse(ast.parse(code).body[1:])


@settings(deadline=None, derandomize=True)
@given(ANYTHING)
def test_a_description_is_a_docstring(text: str) -> None:
    code = emit(replace(PLAN, description=text))
    assert body(code) == body(emit(PLAN))
    assert code.encode().decode() == code
    assert ast.get_docstring(ast.parse(code)).startswith("m")


@settings(deadline=None, derandomize=True)
@given(ANYTHING)
def test_a_file_name_is_a_comment(name: str) -> None:
    code = compile_text(TEXT, name).code
    assert body(code) == body(emit(PLAN))
    assert code.encode().decode() == code


def test_many_parents_make_no_long_line() -> None:
    names = [f"a_variable_with_a_long_name_{number}" for number in range(8)]
    variables = "\n".join(f"  {name}: {{distribution: normal, size: 3}}" for name in names)
    conditionals = "\n".join(f"  {name}: [x]" for name in names)
    text = f"model: m\nvariables:\n  x: {{distribution: normal, role: observed}}\n{variables}\n"
    code = compile_text(f"{text}p:\n  x: [{', '.join(names)}]\nq:\n{conditionals}\n", "m.yaml").code
    assert max(map(len, code.splitlines())) <= 100
    assert '                "a_variable_with_a_long_name_0": (3,),' in code.splitlines()


@pytest.mark.parametrize("family", FAMILIES.values(), ids=FAMILIES)
def test_one_dimension_is_the_default(family: Family) -> None:
    assert inspect.signature(getattr(runtime, family.distribution)).parameters["event"].default == 1


def test_options_left_out_are_the_defaults() -> None:
    assert inspect.signature(positive).parameters["floor"].default == POSITIVE_FLOOR


@pytest.mark.parametrize("kind", KINDS)
def test_options_of_a_network_left_out_are_the_defaults(kind: str) -> None:
    network = Network(kind=kind)
    parameters = inspect.signature(getattr(runtime, network.module)).parameters
    assert set(parameters) == {"parents", "state" if kind == "gru" else "heads", *network.keys}
    defaults = {name: row.default for name, row in parameters.items() if row.default is not row.empty}
    assert defaults == {name: getattr(network, name) for name in defaults}
    assert set(network.keys) - defaults.keys() <= {"hidden", "channels", "size"}
