"""A standalone file runs where graphvae is not installed, and gives the numbers of the ordinary model to the last bit."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
import torch
from models import NAMES, ROOT, SPECS, random_data, random_model
from standalone_run import numbers

from graphvae.compiler.pipeline import compile_file, compile_text
from graphvae.compiler.standalone import FILES, standalone
from graphvae.runtime import load

RUNTIME = ROOT / "graphvae" / "runtime"


def test_gives_the_same_numbers_without_graphvae(tmp_path: Path) -> None:
    expected = {}
    for path in SPECS:
        code = compile_file(path).code
        generator = torch.Generator().manual_seed(0)
        model = random_model(load(code, path.stem), generator)
        data = random_data(model.variables, 5, generator, model.plates)
        (tmp_path / f"{path.stem}.py").write_text(standalone(code), encoding="utf-8")
        torch.save({"weights": model.state_dict(), "data": data}, tmp_path / f"{path.stem}.pt")
        expected[path.stem] = numbers(model, data)
    command = [sys.executable, "-I", ROOT / "tests" / "standalone_run.py", tmp_path]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    for name, wanted in expected.items():
        found = torch.load(tmp_path / f"{name}.out.pt", weights_only=True)
        assert found.keys() == wanted.keys()
        for key, value in wanted.items():
            torch.testing.assert_close(found[key], value, rtol=0, atol=0, equal_nan=True, msg=f"{name}: {key}")


@pytest.mark.parametrize("path", SPECS, ids=NAMES)
def test_imports_torch_and_the_standard_library(path: Path) -> None:
    text = standalone(compile_file(path).code)
    nodes = list(ast.walk(ast.parse(text)))
    imported = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    imported |= {node.module for node in nodes if isinstance(node, ast.ImportFrom)}
    assert {module.split(".")[0] for module in imported} <= {"torch", *sys.stdlib_module_names}
    assert text == standalone(compile_file(path).code)


def test_takes_only_what_the_model_uses() -> None:
    text = standalone(compile_file(SPECS[NAMES.index("digits")]).code)
    assert "class Categorical(Relaxable):" in text
    assert "class ContinuousBernoulli" not in text
    assert "    # Selected, not multiplied, so that 0 times a logit of -inf is 0" in text, "comments come along"
    assert "# The estimator is that of Siddharth et al." in text, "and the account of the method"


@pytest.mark.parametrize("name", ["term", "objective", "draws", "tensor", "normal", "mlp"])
def test_a_model_named_like_a_part_of_the_runtime(name: str) -> None:
    spec = f"model: {name}\nvariables: {{x: {{distribution: normal, role: observed}}}}\np: {{x: []}}\nq: {{}}"
    code = compile_text(spec, "spec.yaml").code
    data = {"x": torch.tensor([0.5, -1.0])}
    models = [load(text, name)() for text in (code, standalone(code))]
    assert models[0].objective(data).tolist() == models[1].objective(data).tolist()


def test_files_are_all_of_the_runtime() -> None:
    """In an order in which each needs only those before it; `load` and the table of contents serve emitted files alone."""
    assert {path.stem for path in RUNTIME.glob("*.py")} == {*FILES, "load", "__init__"}
    for index, file in enumerate(FILES):
        nodes = ast.walk(ast.parse((RUNTIME / f"{file}.py").read_text(encoding="utf-8")))
        modules = {node.module for node in nodes if isinstance(node, ast.ImportFrom)}
        ours = {module.removeprefix("graphvae.runtime.") for module in modules if module.startswith("graphvae")}
        assert ours <= set(FILES[:index])


def test_no_name_stands_at_the_top_of_two_files() -> None:
    count: Counter[str] = Counter(["Encoder", "Decoder"])
    for file in FILES:
        for node in ast.parse((RUNTIME / f"{file}.py").read_text(encoding="utf-8")).body[1:]:
            if isinstance(node, ast.FunctionDef | ast.ClassDef):
                count[node.name] += 1
            elif isinstance(node, ast.Assign):
                count.update(target.id for target in node.targets if isinstance(target, ast.Name))
            else:
                assert isinstance(node, ast.Import | ast.ImportFrom), f"{file}, line {node.lineno}: nothing else is inlined"
    assert [name for name, times in count.items() if times > 1] == []
    assert not [name for name in count if name in {"annotations", "torch", "nn"}]


def test_an_imported_name_means_the_same_everywhere() -> None:
    meanings: dict[str, set[tuple[str, str]]] = {}
    for file in FILES:
        for node in ast.parse((RUNTIME / f"{file}.py").read_text(encoding="utf-8")).body:
            for alias in node.names if isinstance(node, ast.Import | ast.ImportFrom) else ():
                module = node.module or "" if isinstance(node, ast.ImportFrom) else alias.name
                meanings.setdefault(alias.asname or alias.name, set()).add((module, alias.name))
                assert alias.asname is None, f"{file}: imports are inlined under their own names"
    assert {name: found for name, found in meanings.items() if len(found) > 1} == {}
