"""Networks and functions of one's own: named by a spec, imported by emitted code, inlined, trained, never executed unasked."""

from __future__ import annotations

import ast
import hashlib
import importlib
import json
import linecache
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from models import ROOT, random_data, random_model
from standalone_run import numbers
from test_cli import graphvae as in_a_process
from torch import Tensor

import graphvae
from graphvae.cli import main
from graphvae.compiler.emit import emit
from graphvae.compiler.errors import FlagError, RunError, SpecError, UserError
from graphvae.compiler.pipeline import Compilation, compile_file, compile_source
from graphvae.compiler.plan import Compute
from graphvae.compiler.plugins import Arity, Plugin, Signature, read_plugin
from graphvae.compiler.source import read_text
from graphvae.compiler.standalone import standalone
from graphvae.lab import runs
from graphvae.lab.models import model_class, new_model
from graphvae.runtime import load as load_text

PLUGIN = '''"""Towers.

Networks of my own.
"""

from __future__ import annotations

import math
from typing import Mapping

import torch
import torch.nn as nn
from torch.nn import functional as F

from graphvae.runtime.networks import ParentLinear

WIDTH = 8  # of every layer


# A tower is narrow.
class Tower(nn.Module):
    def __init__(self, parents: Mapping[str, tuple[int, ...]], heads: Mapping[str, tuple[int, ...]], depth: int = 1, name=""):
        super().__init__()
        self.shapes = list(heads.values())
        self.first = ParentLinear(parents, WIDTH)
        self.layers = nn.ModuleList(nn.Linear(WIDTH, WIDTH) for _ in range(depth))
        self.last = nn.ModuleList(nn.Linear(WIDTH, math.prod(shape)) for shape in self.shapes)

    def forward(self, **parents):
        features = F.silu(self.first(parents))
        for layer in self.layers:
            features = features + torch.tanh(layer(features))
        made = [layer(features).unflatten(-1, shape) for layer, shape in zip(self.last, self.shapes)]
        return made[0] if len(made) == 1 else made


class Other(Tower):
    pass


if __name__ == "__main__":
    raise SystemExit("this is no script")
'''
# The same without a docstring, and with a first layer of its own that has the name of the runtime's.
ALONE = (
    PLUGIN.split('"""', 2)[2].replace("from graphvae.runtime.networks import ParentLinear\n", "")
    + """

class ParentLinear(nn.Module):
    def __init__(self, parents, width):
        super().__init__()
        self.ends = {name: len(shape) for name, shape in parents.items()}
        self.maps = nn.ModuleDict({name: nn.Linear(math.prod(shape), width) for name, shape in parents.items()})

    def forward(self, parents):
        return sum(self.maps[name](parents[name].flatten(-end)) for name, end in self.ends.items())
"""
)
SPEC = """model: own
variables:
  digit: {distribution: categorical, categories: 10, role: supervised}
  style: {distribution: normal, size: 3}
  image: {distribution: bernoulli, soft: true, shape: [1, 8, 8], role: observed}
p:
  image: {parents: [digit, style], network: {kind: Tower, options: {depth: 2}}}
q:
  digit: {parents: [image], network: {kind: Tower, options: {name: "it's"}}}
  style: {parents: [image, digit], network: {kind: Other}}
data: {source: digits, columns: {image: image, digit: digit}, labels: {digit: {rows: 50}}}
training: {epochs: 1}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """With the spec and its plugin in it."""
    (tmp_path / "own.yaml").write_text(SPEC)
    (tmp_path / "my_networks.py").write_text(PLUGIN)
    return tmp_path


@pytest.fixture(autouse=True)
def modules() -> Iterator[None]:
    """Leave no plugin behind."""
    yield
    sys.modules.pop("my_networks", None)


@pytest.fixture
def command(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str]]:
    """The command line in the folder: its exit code, and what it says on the standard error."""
    monkeypatch.chdir(folder)

    def run(*arguments: str) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["graphvae", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        return int(ended.value.code or 0), capsys.readouterr().err

    return run


def compiled(text: str, plugin: Plugin | None) -> Compilation:
    return compile_source(read_text(text, "own.yaml"), plugin)


def written(folder: Path, text: str, name: str = "my_networks.py") -> Plugin:
    (folder / name).write_text(text)
    return read_plugin(folder / name)


# Reading.


def test_a_plugin_is_its_text_its_checksum_and_its_classes(folder: Path) -> None:
    free = "class Free(nn.Module):\n    def __init__(self, parents, /, *, heads, rate, **rest): ..."
    text = f"{PLUGIN}\n\n{free}\n\n\nclass _Hidden: ...\n"
    plugin = written(folder, text.replace("\n", "\r\n"))
    assert plugin.sha256 == hashlib.sha256((folder / "my_networks.py").read_bytes()).hexdigest()
    assert plugin.text == text
    assert plugin.classes == {
        "Tower": Signature(("heads", "depth", "name"), ("heads",), False),
        "Other": None,
        "Free": Signature(("heads", "rate"), ("heads", "rate"), True),
    }
    assert plugin.functions == {}


def test_a_plugin_has_functions(folder: Path) -> None:
    """Those at its top that have a name for others, each with what it takes by order."""
    functions = [
        "def blend(a, b, /, share=0.5, *, sharp=False): ...",
        "def total(*parts): ...",
        "def first(a, *parts): ...",
        "def named(a, *, strength): ...",
        "def nothing(): ...",
        "def _hidden(a): ...",
        "async def later(a): ...",
        "class Free:\n    def inside(self): ...",
        "def outer(a):\n    def inner(b): ...",
        "assigned = blend",
    ]
    assert written(folder, "\n\n\n".join(functions)).functions == {
        "blend": Arity(2, 3),
        "total": Arity(0, None),
        "first": Arity(1, None),
        "named": Arity(1, 1, ("strength",)),
        "nothing": Arity(0, 0),
        "outer": Arity(1, 1),
    }


@pytest.mark.parametrize(
    ("arity", "number", "why"),
    [
        (Arity(2, 3), 2, ""),
        (Arity(2, 3), 3, ""),
        (Arity(2, 3), 1, "takes 2 to 3 arguments, and not 1"),
        (Arity(1, 1), 2, "takes 1 argument, and not 2"),
        (Arity(2, 2), 0, "takes 2 arguments, and not 0"),
        (Arity(1, None), 40, ""),
        (Arity(1, None), 0, "takes 1 or more arguments, and not 0"),
        (Arity(1, 1, ("strength",)), 1, "must be given 'strength' by name, and an expression gives arguments by their order"),
    ],
)
def test_how_many_arguments_a_function_takes(arity: Arity, number: int, why: str) -> None:
    assert arity.refuses(number) == why


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("nowhere.py", None, "cannot read the plugin .*nowhere.py: No such file"),
        ("my-networks.py", PLUGIN, "the plugin '.*my-networks.py' has no name to import it by"),
        ("class.py", PLUGIN, "has no name to import it by"),
        ("my_networks.txt", PLUGIN, "has no name to import it by"),
        ("torch.py", PLUGIN, "has the name of the module 'torch'"),
        ("json.py", PLUGIN, "has the name of the module 'json'"),
        ("my_networks.py", "class Tower(:\n", r"my_networks.py:1:\d+: error.* the plugin is not Python: invalid syntax"),
        ("my_networks.py", "class Tower: ...\x00", "the plugin is not Python|the plugin .* is not Python"),
        ("my_networks.py", "x = 1\n", "the plugin .*my_networks.py has no class and no function"),
        ("my_networks.py", "ä = 1\n".encode("latin-1"), "the plugin .*my_networks.py is not UTF-8"),
    ],
)
def test_what_is_no_plugin(tmp_path: Path, name: str, content: str | bytes | None, message: str) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(FlagError, match=message):
        read_plugin(tmp_path / name)


@pytest.mark.parametrize(
    ("old", "new", "place", "message"),
    [
        ("kind: Other", "kind: Towr", "10:52", "'Towr' is not one of the words for 'kind'\n.*\n.*\n  did you mean 'Tower'?"),
        (
            "depth: 2",
            "dept: 2",
            "7:69",
            "'Tower' has no option 'dept'\n.*\n.*\n  did you mean 'depth'? the options are: depth, name",
        ),
        ("depth: 2", "heads: 2", "7:69", "'heads' is no option of a network"),
        ("depth: 2", "depth: .inf", "7:76", "'depth' should be a number, text, true or false, or a list or mapping of these"),
        ("depth: 2", "depth: [1, {a: null}]", "7:76", "'depth' should be a number, text"),
        ("kind: Other", "kind: Other, options: {class: 2}", "10:69", "'Other' has no option 'class'"),
        ("kind: Other", "kind: Other, hidden: [3]", "10:59", "'hidden' does not belong to a network of kind Other"),
        ("kind: Other", "kind: Normal", "10:52", "a class cannot be called 'Normal', since a part of the emitted file is"),
        ("kind: Other", "kind: Pool", "10:52", "a class cannot be called 'Pool', since a part of the emitted file is"),
        ("kind: Other", "kind: Sized", "10:52", "'Sized' needs 'size', and it is not among its options"),
        ("kind: Other", "kind: Headless", "10:52", "'Headless' does not take 'heads'"),
    ],
)
def test_what_a_class_does_not_take(folder: Path, old: str, new: str, place: str, message: str) -> None:
    more = "class Normal(Tower): ...\n\n\nclass Pool(Tower): ...\n"
    more += "\n\nclass Sized(nn.Module):\n    def __init__(self, parents, heads, size): ...\n"
    more += "\n\nclass Headless(nn.Module):\n    def __init__(self, parents): ...\n"
    with pytest.raises(SpecError) as caught:
        compiled(SPEC.replace(old, new), written(folder, f"{PLUGIN}\n\n{more}"))
    assert re.search(rf"own.yaml:{place}: error\[GV\d+\]: {message.replace('?', '[?]')}", str(caught.value))


def test_mistakes_of_several_networks_come_at_once(folder: Path) -> None:
    text = SPEC.replace("depth: 2", "dept: 2").replace("kind: Other", "kind: Towr").replace("name:", "names:")
    with pytest.raises(SpecError) as caught:
        compiled(text, read_plugin(folder / "my_networks.py"))
    assert [finding.span.line for finding in caught.value.diagnostics if finding.span] == [7, 9, 10]


def test_a_deterministic_variable_states_its_shape(folder: Path) -> None:
    plugin = read_plugin(folder / "my_networks.py")
    text = SPEC.replace(
        "  digit: {parents: [image]", "  trunk: {parents: [image], SHAPEnetwork: {kind: Tower}}\n  digit: {parents: [trunk]"
    )
    with pytest.raises(SpecError, match="the shape of 'trunk' is not known"):
        compiled(text.replace("SHAPE", ""), plugin)
    code = compiled(text.replace("SHAPE", "size: 4, "), plugin).code
    assert 'self.trunk = Tower({"image": (1, 8, 8)}, heads={"value": (4,)})' in code


# Emitting.


def test_emitted_code_imports_the_classes_and_passes_the_options(folder: Path) -> None:
    code = compile_file(folder / "own.yaml", plugin=folder / "my_networks.py").code
    imports = "from graphvae.runtime import Bernoulli, Categorical, Draws, Model, Normal, Variable, positive\n\n"
    assert f"{imports}from my_networks import Other, Tower\n" in code
    assert """self.digit = Tower({"image": (1, 8, 8)}, heads={"logits": (10,)}, name="it's")""" in code
    assert 'self.image = Tower({"digit": (10,), "style": (3,)}, heads={"logits": (1, 8, 8)}, depth=2)' in code


PLAIN = st.recursive(
    st.text() | st.booleans() | st.integers(-(10**9), 10**9) | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)


@settings(deadline=None, derandomize=True, max_examples=200)
@given(PLAIN)
def test_an_option_is_data_in_the_emitted_file(value: object) -> None:
    """Whatever text it holds, it stays a literal."""
    [argument] = options_of(emit_with(value), "Tower")
    assert ast.literal_eval(argument.value) == value
    assert argument.arg == "depth"


def emit_with(depth: object) -> str:
    """The emitted file whose decoder's only network has this option."""
    plugin = Plugin(Path("my_networks.py"), PLUGIN, "", {"Tower": None, "Other": None})
    plan = compiled(SPEC, plugin).plan
    [step] = [step for step in plan.p.steps if isinstance(step, Compute)]
    network = replace(step.network, block=step.network.block.model_copy(update={"options": {"depth": depth}}))
    steps = [replace(step, network=network) if isinstance(step, Compute) else step for step in plan.p.steps]
    return emit(replace(plan, p=replace(plan.p, steps=tuple(steps))), plugin)


def options_of(code: str, name: str) -> list[ast.keyword]:
    """The keywords beside the heads in the calls of a class in the decoder."""
    decoder = next(node for node in ast.parse(code).body if isinstance(node, ast.ClassDef) and node.name == "Decoder")
    calls = [node for node in ast.walk(decoder) if isinstance(node, ast.Call) and ast.unparse(node.func) == name]
    return [keyword for call in calls for keyword in call.keywords if keyword.arg != "heads"]


@pytest.mark.parametrize("kind", ["os.system", "__import__('os')", "Tower()", "torch.nn.Linear", "Tower\\nimport os", "''"])
def test_a_kind_is_a_name(folder: Path, kind: str) -> None:
    with pytest.raises(SpecError, match="'kind' should be the name of a kind of network"):
        compiled(SPEC.replace("kind: Other", f'kind: "{kind}"'), read_plugin(folder / "my_networks.py"))


def test_nothing_is_executed_by_the_compiler(folder: Path, command: Callable[..., tuple[int, str]]) -> None:
    (folder / "my_networks.py").write_text(PLUGIN.replace("WIDTH = 8", "WIDTH = 1 / 0"))
    for verb in ("check", "show --stage code", "explain", "compile", "compile --standalone", "render -o own.dot"):
        assert command(*verb.split(), "own.yaml", "--plugin", "my_networks.py") == (0, ""), verb


def test_without_the_plugin_its_kinds_are_not_known(command: Callable[..., tuple[int, str]]) -> None:
    for verb in ("check", "show", "explain", "compile", "train", "render -o own.dot"):
        code, said = command(*verb.split(), "own.yaml")
        assert code == 2, verb
        assert "error[GV054]: 'Tower' is not one of the words for 'kind'" in said
        assert "(another is a class of a Python file that you pass: --plugin FILE)" in said


# Functions in expressions.

FUNCTIONS = '''"""Functions of my own."""

import torch

HALF = 0.5


def my_blend(one, other, share=HALF):
    """One thing shining through another."""
    return one + share * (other - one)


def my_length(value):
    return torch.linalg.vector_norm(value, dim=-1)
'''
BLENDED = """model: blended
variables:
  style: {distribution: normal, size: 3}
  shift: {distribution: normal, size: 3}
  seen: {distribution: normal, size: 3, role: observed}
p:
  seen: {parents: [style, shift], parameters: {loc: "2 * my_blend(style, shift, 0.25)", scale: learned}}
q: {style: [seen], shift: [seen]}
"""


def test_emitted_code_calls_a_function_of_the_plugin(folder: Path) -> None:
    code = compiled(BLENDED, written(folder, FUNCTIONS)).code
    assert "positive\n\nfrom my_networks import my_blend\n\n\n" in code
    assert "        loc = 2 * my_blend(style, shift, 0.25)\n" in code


def test_a_function_of_the_plugin_gives_what_it_says(folder: Path) -> None:
    """The numbers of the same model with the function's formula in its place, to the last bit."""
    generator = torch.Generator().manual_seed(0)
    model = random_model(model_class(compiled(BLENDED, written(folder, FUNCTIONS))), generator)
    data = random_data(model.variables, 4, generator)
    formula = BLENDED.replace("my_blend(style, shift, 0.25)", "(style + 0.25 * (shift - style))")
    other = new_model(compiled(formula, None))
    other.load_state_dict(model.state_dict())
    found, wanted = numbers(model, data), numbers(other, data)
    assert found.keys() == wanted.keys()
    for name, value in wanted.items():
        torch.testing.assert_close(found[name], value, rtol=0, atol=0, equal_nan=True, msg=name)


def test_no_function_is_executed_by_the_compiler(folder: Path, command: Callable[..., tuple[int, str]]) -> None:
    (folder / "own.yaml").write_text(BLENDED)
    (folder / "my_networks.py").write_text(FUNCTIONS.replace("HALF = 0.5", "HALF = 1 / 0"))
    for verb in ("check", "show --stage code", "explain", "compile", "compile --standalone", "render -o own.dot"):
        assert command(*verb.split(), "own.yaml", "--plugin", "my_networks.py") == (0, ""), verb


def test_a_function_that_no_plugin_brings_is_not_known(folder: Path) -> None:
    for plugin in (None, written(folder, FUNCTIONS.replace("def my_blend", "def their_blend"))):
        with pytest.raises(SpecError, match=r"own.yaml:7:58: error\[GV120\]: there is no function 'my_blend'"):
            compiled(BLENDED, plugin)


def test_a_failure_in_a_function_names_the_variable_and_the_line_of_the_spec(folder: Path) -> None:
    plugin = written(folder, FUNCTIONS.replace("one + share * (other - one)", "one @ other"))
    model = new_model(compiled(BLENDED, plugin))
    with pytest.raises(RuntimeError) as caught:
        model.objective({"seen": torch.zeros(4, 3)})
    assert "own.yaml:7" in caught.value.__notes__[0]
    assert any(Path(entry.path) == plugin.path and entry.lineno + 1 == 10 for entry in caught.traceback)


def test_a_standalone_file_holds_the_functions(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code = standalone(compiled(BLENDED, plugin := written(folder, FUNCTIONS)).code, plugin)
    names = [node.name for node in ast.parse(code).body if isinstance(node, ast.FunctionDef | ast.ClassDef)]
    assert names.index("my_blend") < names.index("Decoder")
    assert "my_networks" not in code
    (folder / "alone_model.py").write_text(code)
    monkeypatch.syspath_prepend(str(folder))
    assert importlib.import_module("alone_model").Blended().sample(rows=2)["seen"].shape == (2, 3)
    del sys.modules["alone_model"]


# Loading.


def test_an_emitted_file_works_beside_the_plugin(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Imported by Python itself, it gives the numbers of what graphvae loads."""
    compilation = compile_file(folder / "own.yaml", plugin=folder / "my_networks.py")
    (folder / "emitted_model.py").write_text(compilation.code)
    generator = torch.Generator().manual_seed(0)
    model = random_model(model_class(compilation), generator)
    data = random_data(model.variables, 4, generator)
    monkeypatch.syspath_prepend(str(folder))
    sys.modules.pop("my_networks")
    other = importlib.import_module("emitted_model").Own()
    other.load_state_dict(model.state_dict())
    found = numbers(other, data)
    for name, value in numbers(model, data).items():
        torch.testing.assert_close(found[name], value, rtol=0, atol=0, equal_nan=True, msg=name)
    del sys.modules["emitted_model"]


def test_a_module_of_that_name_is_left_in_place(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mine = object()
    monkeypatch.setitem(sys.modules, "my_networks", mine)
    compilation = compile_file(folder / "own.yaml", plugin=folder / "my_networks.py")
    assert new_model(compilation).encoder.style.__class__.__name__ == "Other"
    assert sys.modules["my_networks"] is mine


def test_what_is_executed_is_what_was_read(folder: Path) -> None:
    """And not what the file holds by then; the text that tracebacks show is that one, too."""
    compilation = compile_file(folder / "own.yaml", plugin=folder / "my_networks.py")
    (folder / "my_networks.py").write_text("raise SystemExit")
    assert new_model(compilation).decoder.image.first.bias.shape == (8,)
    linecache.checkcache()
    assert linecache.getline(str(folder / "my_networks.py"), 1) == '"""Towers.\n'


def test_a_plugin_that_fails_leaves_nothing_behind(folder: Path) -> None:
    plugin = written(folder, PLUGIN.replace("WIDTH = 8", "WIDTH = 1 / 0"))
    with pytest.raises(ZeroDivisionError):
        load_text(compiled(SPEC, plugin).code, "own", (plugin.path, plugin.text))
    assert "my_networks" not in sys.modules


@pytest.mark.parametrize(
    ("old", "new", "place", "message"),
    [
        ("WIDTH = 8", "WIDTH = 1 / 0", ":17:1", "ZeroDivisionError: division by zero"),
        ("import math\n", "import maths\n", ":8:1", "ModuleNotFoundError: No module named 'maths'"),
        ("range(depth)", "range(deep)", ":26:9", "NameError: name 'deep' is not defined"),
        ("class Other(Tower):", "class Other(dict):", "", "'Other' is no torch.nn.Module, so its weights would not train"),
        ("class Other(Tower):", "@staticmethod\nclass Other(Tower):", "", "'Other' is no torch.nn.Module"),
    ],
)
def test_a_plugin_that_fails_is_one_clear_message(
    folder: Path, command: Callable[..., tuple[int, str]], old: str, new: str, place: str, message: str
) -> None:
    (folder / "my_networks.py").write_text(PLUGIN.replace(old, new))
    code, said = command("train", "own.yaml", "--plugin", "my_networks.py")
    assert code == 2
    assert said.startswith(f"{place and f'my_networks.py{place}: '}error[GV501]: ")
    assert message in said


def test_a_failure_in_its_forward_names_the_variable_and_the_line_of_the_spec(folder: Path) -> None:
    plugin = written(folder, PLUGIN.replace("features = features + torch.tanh", "features = features @ torch.tanh"))
    model = new_model(compiled(SPEC, plugin))
    with pytest.raises(RuntimeError) as caught:
        model.objective({"image": torch.zeros(4, 1, 8, 8)})
    assert "while computing 'digit' (own.yaml:9): logits = self.digit(image=image)" in caught.value.__notes__[0]
    assert any(Path(entry.path) == plugin.path and entry.lineno + 1 == 32 for entry in caught.traceback)


# What it gives.

HEADS = """
import torch


class Free(torch.nn.Module):
    def __init__(self, parents, heads, code=""):
        super().__init__()
        self.weight, self.heads, self.code = torch.nn.Parameter(torch.zeros(())), heads, code

    def forward(self, **parents):
        axes = [value.shape[:-1] for name, value in parents.items() if name != "image"]
        axes = torch.broadcast_shapes(*axes, *[value.shape[:-3] for name, value in parents.items() if name == "image"])
        return eval(self.code) if self.code else [self.weight.expand(*axes, *shape) for shape in self.heads.values()]


if __name__ == "__main__":
    raise SystemExit
"""
SHAPED = """model: own
variables:
  digit: {distribution: categorical, categories: 10, role: supervised}
  style: {distribution: normal, size: 3}
  image: {distribution: bernoulli, soft: true, shape: [1, 8, 8], role: observed}
p:
  image: {parents: [digit, style]}
q:
  digit: {parents: [image]}
  style: {parents: [image, digit], network: {kind: Free, options: {code: "CODE"}}}
"""


def given(folder: Path, code: str) -> torch.Tensor:
    """The objective of 4 rows, where the network of `style` gives what the code says; its axes are [10, 1, 4]."""
    made = new_model(compiled(SHAPED.replace("CODE", code), written(folder, HEADS)))
    return made.objective({"image": torch.rand(4, 1, 8, 8)}, samples=5)


@pytest.mark.parametrize(
    ("code", "message"),
    [
        (
            "torch.zeros(*axes, 2), torch.zeros(*axes, 3)",
            "the head 'loc' the shape [10, 1, 4, 2], and it should have the shape",
        ),
        (
            "torch.zeros(*axes, 3), torch.zeros(*axes, 1)",
            "the head 'scale' the shape [10, 1, 4, 1], and it should have the shape",
        ),
        ("torch.zeros(*axes, 3), torch.zeros(7, 3)", "the head 'scale' the shape [7, 3], and it should have the shape"),
        ("torch.zeros(*axes, 3), torch.zeros(2, *axes, 3)", "the head 'scale' the shape [2, 10, 1, 4, 3], and it should have"),
        ("torch.zeros(*axes, 3), torch.zeros(())", "the head 'scale' the shape [], and it should have the shape"),
        ("torch.zeros(*axes, 3), torch.zeros(2)", "the head 'scale' the shape [2], and it should have the shape"),
        ("torch.zeros(*axes, 3), 1.0", "a float for the head 'scale', and it should have the shape"),
        ("torch.zeros(*axes, 3)", "10 values, and should give 2 heads: loc, scale"),
        ("[torch.zeros(*axes, 3)]", "1 values, and should give 2 heads: loc, scale"),
        ("dict(loc=1, scale=2)", "a dict, and should give 2 heads: loc, scale"),
        ("None", "a NoneType, and should give 2 heads: loc, scale"),
    ],
)
def test_heads_of_another_shape_are_refused_at_the_first_pass(folder: Path, code: str, message: str) -> None:
    with pytest.raises(FlagError) as caught:
        given(folder, code)
    said = str(caught.value)
    assert f"my_networks.py:10:5: error[GV116]: 'Free' gives {message}" in said
    assert ("[10, 1, 4, 3]" in said) == ("it should have" in message)
    assert "while computing 'style' (own.yaml:10): loc, scale = self.style(image=image, digit=digit)" in caught.value.in_full


@pytest.mark.parametrize(
    "code",
    [
        "",
        "torch.zeros(*axes, 3), torch.zeros(*axes, 3)",
        "torch.zeros(2, *axes, 3)",
        "torch.zeros(axes[-1], 3), torch.zeros(10, 1, 1, 3)",
        "torch.zeros(3), torch.zeros(1, 3)",
    ],
)
def test_heads_that_fit_their_place_are_taken(folder: Path, code: str) -> None:
    """A stack of them is as good as a list, and an axis of which the network makes nothing may be left out."""
    assert given(folder, code).shape == (4,)


def test_one_head_comes_alone(folder: Path) -> None:
    text = SHAPED.replace("{parents: [image]}", "{parents: [image], network: {kind: Free, options: {code: OTHER}}}")
    text = text.replace("CODE", "")
    for code, message in (
        ("'[torch.zeros(4, 10)]'", "a list for the head 'logits'"),
        ("'torch.zeros(4, 9)'", "[4, 9], and it"),
    ):
        model = new_model(compiled(text.replace("OTHER", code), written(folder, HEADS)))
        with pytest.raises(FlagError, match=re.escape(message)):
            model.objective({"image": torch.rand(4, 1, 8, 8)})


def test_only_the_first_pass_is_compared(folder: Path) -> None:
    model = new_model(compiled(SHAPED.replace("CODE", ""), written(folder, HEADS)))
    model.objective({"image": torch.rand(4, 1, 8, 8)})
    assert not model.encoder.style._forward_hooks
    made = graphvae.compile(folder / "own.yaml", plugin=written(folder, PLUGIN).path)()
    assert [len(network._forward_hooks) for network in (made.encoder.digit, made.encoder.style, made.decoder.image)] == [1] * 3


def test_the_command_says_which_class_and_which_variable(folder: Path, command: Callable[..., tuple[int, str]]) -> None:
    (folder / "my_networks.py").write_text(PLUGIN.replace("unflatten(-1, shape)", "unflatten(-1, shape)[..., :-1]"))
    code, said = command("train", "own.yaml", "--plugin", "my_networks.py")
    assert code == 2
    first, *_ = said.splitlines()
    assert re.fullmatch(
        r"my_networks.py:\d+:5: error\[GV116\]: 'Tower' gives the head 'logits' the shape \[(\d+), 9\], "
        r"and it should have the shape \[\1, 10\]",
        first,
    )
    assert "while computing 'digit' (own.yaml:9): logits = self.digit(image=image)" in said


# Inlining.


@pytest.mark.parametrize("text", [PLUGIN, ALONE], ids=["with parts of the runtime", "alone"])
def test_a_standalone_file_gives_the_same_bits(folder: Path, text: str) -> None:
    plugin = written(folder, text)
    compilation = compiled(SPEC, plugin)
    generator = torch.Generator().manual_seed(0)
    model = random_model(model_class(compilation), generator)
    data = random_data(model.variables, 5, generator)
    alone = folder / "alone"
    alone.mkdir()
    code = standalone(compilation.code, plugin)
    (alone / "own.py").write_text(code)
    torch.save({"weights": model.state_dict(), "data": data}, alone / "own.pt")
    run = [sys.executable, "-I", ROOT / "tests" / "standalone_run.py", alone]
    done = subprocess.run(run, cwd=alone, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found, wanted = torch.load(alone / "own.out.pt", weights_only=True), numbers(model, data)
    assert found.keys() == wanted.keys()
    for name, value in wanted.items():
        torch.testing.assert_close(found[name], value, rtol=0, atol=0, equal_nan=True, msg=name)
    assert "# A tower is narrow.\nclass Tower(nn.Module):" in code, "comments come along"
    assert "my_networks import" not in code
    assert "this is no script" not in code
    assert code.count("from __future__ import annotations") == 1
    assert ("# Towers.\n#\n# Networks of my own.\n" in code) == text.startswith('"""')


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("import math\n", "import math, numpy\n", "my_networks.py:8:1: error.* the plugin imports 'numpy', and a standalone"),
        ("import math\n", "import math\nfrom graphvae import check\n", ":9:1: error.* the plugin imports 'graphvae'"),
        ("import math\n", "import math\nfrom .helpers import f\n", ":9:1: error.* the plugin imports '.helpers'"),
        (
            "import math\n",
            "import math\nfrom torch.nn import *\n",
            ":9:1: error.* the plugin imports everything from 'torch.nn'",
        ),
        ("        features = F", "        import scipy.stats\n        features = F", ":30:9: error.* imports 'scipy.stats'"),
        ("WIDTH = 8", "WIDTH = Normal = 8", "cannot stand in one file with the model: both define 'Normal'"),
        ("class Other", "class Encoder(nn.Module): ...\n\n\nclass Other", "both define 'Encoder'"),
        ("import math\n", "import math\nfrom torch.distributions import Bernoulli\n", "both define 'Bernoulli'"),
        ("WIDTH = 8", "WIDTH = math = 8", "both define 'math'"),
    ],
)
def test_what_cannot_be_inlined(folder: Path, old: str, new: str, message: str) -> None:
    plugin = written(folder, PLUGIN.replace(old, new))
    code = compiled(SPEC, plugin).code
    with pytest.raises(FlagError, match=message):
        standalone(code, plugin)


def test_a_model_named_like_a_class_of_the_plugin(folder: Path) -> None:
    plugin = read_plugin(folder / "my_networks.py")
    for name in ("tower", "other", "width"):
        compilation = compiled(SPEC.replace("model: own", f"model: {name}"), plugin)
        torch.manual_seed(0)
        model, data = new_model(compilation), {"image": torch.rand(3, 1, 8, 8)}
        torch.manual_seed(0)
        alone = load_text(standalone(compilation.code, plugin), name)()
        expected = model.objective(data, generator=torch.Generator().manual_seed(0))
        assert torch.equal(alone.objective(data, generator=torch.Generator().manual_seed(0)), expected)


# Runs.


def test_the_whole_way_through_the_command_line(folder: Path, command: Callable[..., tuple[int, str]]) -> None:
    plugin, run = ("--plugin", "my_networks.py"), "runs/own/1"
    trained = in_a_process("train", "own.yaml", *plugin, folder=folder)
    assert trained.returncode == 0, trained.stderr
    assert trained.stdout.endswith("trained: graphvae evaluate runs/own/1 --plugin my_networks.py\n")
    recorded = runs.open_run(run).manifest["plugin"]
    assert recorded == {"path": str(folder / "my_networks.py"), "sha256": hashlib.sha256(PLUGIN.encode()).hexdigest()}
    verbs = (["evaluate", run, "--samples", "2"], ["train", "--resume", run])
    for verb in verbs:
        code, said = command(*verb)
        assert code == 2
        assert "runs/own/1 was trained with a plugin, and nothing is executed unasked" in said
        assert f"pass it once more, if you trust it: --plugin {recorded['path']}" in said
        assert in_a_process(*verb, *plugin, folder=folder).returncode == 0
    (folder / "my_networks.py").write_text(f"{PLUGIN}\nopen('executed', 'w')\n")
    for verb in (*verbs, ["impute", run, "rows.npz", "-o", "filled.npz"]):
        code, said = command(*verb, *plugin)
        assert code == 2
        assert "the plugin my_networks.py is not what runs/own/1 was trained with: its checksum differs" in said
    assert not (folder / "executed").exists()


def test_from_python(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    run = graphvae.train("own.yaml", plugin="my_networks.py")
    images = {"image": torch.rand(3, 1, 8, 8)}
    expected = graphvae.load(run).predict(images, generator=torch.Generator().manual_seed(0))["digit"]
    again = graphvae.load(run.folder, plugin="my_networks.py").predict(images, generator=torch.Generator().manual_seed(0))
    assert torch.equal(again["digit"], expected)
    assert graphvae.evaluate(run, samples=2) == graphvae.evaluate(run.folder, samples=2, plugin="my_networks.py")
    for refused in (graphvae.load, graphvae.evaluate, lambda path: graphvae.impute(path, "rows.npz")):
        with pytest.raises(RunError, match="was trained with a plugin"):
            refused(run.folder)
    assert graphvae.compile("own.yaml", plugin="my_networks.py").__name__ == "Own"
    with pytest.raises(UserError):
        graphvae.compile("own.yaml")
    assert graphvae.check("own.yaml", plugin="my_networks.py") == []


def test_a_run_without_a_plugin_needs_none(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that no network names is neither executed nor recorded."""
    monkeypatch.chdir(folder)
    (folder / "plain.yaml").write_text(re.sub(r", network: \{kind.*\}\}", "}", SPEC))
    written(folder, f"{PLUGIN}\nraise SystemExit")
    run = graphvae.train("plain.yaml", plugin="my_networks.py")
    assert run.manifest["plugin"] is None
    graphvae.load(run.folder)
    graphvae.load(run.folder, plugin="my_networks.py")


def test_a_run_that_records_no_plugin_gets_none(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Were its spec to name one's class all the same, it would not be the one that it was trained with."""
    monkeypatch.chdir(folder)
    run = graphvae.train("own.yaml", plugin="my_networks.py")
    (run.folder / "manifest.json").write_text(json.dumps({**run.manifest, "plugin": None}))
    with pytest.raises(RunError, match="its checksum differs"):
        graphvae.load(run.folder, plugin="my_networks.py")
    with pytest.raises(SpecError, match="'Tower' is not one of the words"):
        graphvae.load(run.folder)


# Functions in runs and in sub-models.

DIGITS = """model: lit
variables:
  style: {distribution: normal, size: 3}
  image: {distribution: normal, shape: [1, 8, 8], role: observed}
p:
  faint: {parents: [style], network: {hidden: [8]}, shape: [1, 8, 8]}
  image: {parents: [faint], parameters: {loc: "my_blend(faint, 0 * faint)", scale: learned}}
q: {style: [image]}
data: {source: digits, columns: {image: image}}
training: {epochs: 1}
"""


def test_a_plugin_is_passed_on_for_its_functions_alone(folder: Path) -> None:
    plugin = written(folder, FUNCTIONS)
    assert compiled(BLENDED, plugin).plugin is plugin
    assert compiled(BLENDED.replace("my_blend(style, shift, 0.25)", "(style + shift)"), plugin).plugin is None


def test_a_run_records_the_plugin_of_a_function(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    (folder / "own.yaml").write_text(DIGITS)
    plugin = written(folder, FUNCTIONS)
    run = graphvae.train("own.yaml", plugin="my_networks.py")
    assert run.manifest["plugin"] == {"path": str(plugin.path), "sha256": hashlib.sha256(FUNCTIONS.encode()).hexdigest()}
    with pytest.raises(RunError, match="was trained with a plugin, and nothing is executed unasked"):
        graphvae.load(run.folder)
    found = graphvae.load(run.folder, plugin="my_networks.py").sample(rows=2, generator=torch.Generator().manual_seed(0))
    wanted = graphvae.load(run).sample(rows=2, generator=torch.Generator().manual_seed(0))
    assert torch.equal(found["image"], wanted["image"])


def test_a_function_in_a_sub_model(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is imported once, stands in the standalone file, and gives the numbers of its formula."""
    monkeypatch.chdir(folder)
    outer = """model: pair
plates: {slot: {size: 2}}
submodels: {part: {spec: own.yaml, plate: slot, variables: {seen: {role: latent}}}}
variables: {whole: {distribution: normal, size: 3, role: observed}}
p: {whole: {parents: [part.seen], parameters: {loc: "sum(part.seen, slot)", scale: 0.5}}}
q: {part.seen: [whole, slot]}
"""
    plugin = written(folder, FUNCTIONS)
    (folder / "own.yaml").write_text(BLENDED)
    compilation = compile_source(read_text(outer, "pair.yaml"), plugin)
    assert compilation.plugin is plugin
    assert compilation.code.count("import my_blend\n") == 1
    generator = torch.Generator().manual_seed(0)
    model = random_model(model_class(compilation), generator)
    alone = load_text(standalone(compilation.code, plugin), "pair")().to(next(model.parameters()).dtype)
    (folder / "own.yaml").write_text(BLENDED.replace("my_blend(style, shift, 0.25)", "(style + 0.25 * (shift - style))"))
    formula = model_class(compile_source(read_text(outer, "pair.yaml")))().to(next(model.parameters()).dtype)
    data = {"whole": torch.randn(4, 3, generator=generator, dtype=next(model.parameters()).dtype)}
    wanted = model.objective(data, generator=torch.Generator().manual_seed(0))
    for other in (alone, formula):
        other.load_state_dict(model.state_dict())
        found = other.objective(data, generator=torch.Generator().manual_seed(0))
        torch.testing.assert_close(found, wanted, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", ["positive", "Model", "Normal", "stretched", "functional", "torch", "sum_over"])
def test_a_function_named_like_a_part_of_the_emitted_file(folder: Path, name: str) -> None:
    message = rf"own.yaml:7:58: error\[GV120\]: a function cannot be called '{name}', since a part of the emitted file is"
    with pytest.raises(SpecError, match=message):
        compiled(BLENDED.replace("my_blend", name), written(folder, FUNCTIONS.replace("my_blend", name)))


@pytest.mark.parametrize(
    ("name", "expression", "formula"),
    [
        ("my_blend", "my_blend(style, my_blend)", lambda style, other: (style + other) / 2),
        ("normalise", "normalise(normalise) * sum(style)", lambda s, o: o / o.norm(dim=-1, keepdim=True) * s.sum(-1, True)),
        ("as_channels", "style + stack(sum(as_channels), 2, 3)", lambda s, o: s + stacked(o.sum(-1), 2.0, 3.0)),
        ("stretched", "sum(style) - sum(stretched)", lambda s, o: (s - o).sum(-1, True).expand(-1, 3)),
        ("functional", "style - softplus(functional)", lambda s, o: s - torch.log1p(o.exp())),
        ("loc", "style - 2 * loc", lambda s, o: s - 2 * o),
    ],
)
def test_a_variable_may_have_the_name_of_a_function(
    folder: Path, name: str, expression: str, formula: Callable[[Tensor, Tensor], Tensor]
) -> None:
    text = BLENDED.replace("2 * my_blend(style, shift, 0.25)", expression).replace("learned", "1e-6").replace("shift", name)
    made = new_model(compiled(text, written(folder, FUNCTIONS))).sample(rows=5, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(made["seen"], formula(made["style"], made[name]), rtol=0, atol=2e-5)


def stacked(first: Tensor, *others: float) -> Tensor:
    return torch.stack([first, *(torch.full_like(first, other) for other in others)], -1)
