"""The documentation is built strictly, stands alone, and says what the code says."""

from __future__ import annotations

import ast
import doctest
import html.parser
import inspect
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from models import ROOT

import graphvae
from graphvae.compiler import spec
from graphvae.compiler.block import Block
from graphvae.compiler.check import check
from graphvae.compiler.expression_code import FUNCTIONS
from graphvae.compiler.pipeline import compile_file
from graphvae.compiler.source import read_text
from graphvae.compiler.spec import parse

DOCS = ROOT / "docs"
PRINTED = ["emitted_code", "language"]
PAGES = sorted(DOCS.rglob("*.md"))
FENCE = re.compile(r"^```(?P<language>\w+)[^\n]*\n(?P<text>.*?)^```$", re.DOTALL | re.MULTILINE)
CLASSES = [value for value in vars(spec).values() if inspect.isclass(value) and issubclass(value, Block)]
BLOCKS = [value for value in CLASSES if not value.__subclasses__()]  # what others inherit is no block of a spec


def fences(page: str, language: str) -> list[str]:
    """The blocks of code of a page that are in one language."""
    found = FENCE.finditer((DOCS / page).read_text("utf-8"))
    return [fence["text"] for fence in found if fence["language"] == language]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The whole site, built strictly: a warning is an error."""
    for needed in ("latex2mathml", "material", "mkdocs"):
        pytest.importorskip(needed, reason=f"{needed} is not installed: pip install -e '.[docs]'")
    built = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(built)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return built


class Loads(html.parser.HTMLParser):
    """What a page makes a browser load."""

    def __init__(self, page: Path) -> None:
        super().__init__()
        self.found: list[str] = []
        self.feed(page.read_text("utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        loaded = given.get("href") if tag == "link" and given.get("rel") not in ("canonical", "next", "prev") else None
        self.found += filter(None, [given.get("src"), loaded])


def test_the_site_loads_nothing_from_elsewhere(site: Path) -> None:
    loads = [load for page in site.rglob("*.html") for load in Loads(page).found]
    assert any(load.endswith(".css") for load in loads)
    assert [load for load in loads if re.match("(https?:)?//", load)] == []
    sheets = [found for sheet in site.rglob("*.css") for found in re.findall(r"url\(([^)]*)\)", sheet.read_text("utf-8"))]
    assert [url for url in sheets if re.match("['\"]?(https?:)?//", url)] == []


def test_formulas_are_mathml(site: Path) -> None:
    text = (site / "method.html").read_text("utf-8")
    formulas = re.findall(r"<math.*?</math>", text, re.DOTALL)
    assert len(formulas) > 50
    assert [formula for formula in formulas if "\\" in formula or "&</" in formula] == [], "TeX that was not understood"
    assert "arithmatex" not in text
    assert re.search(r"<math[^>]*display=\"block\"[^>]*>", text)


@pytest.mark.parametrize("name", PRINTED)
def test_a_printed_page_is_what_is_printed(name: str) -> None:
    printed = subprocess.run([sys.executable, DOCS / f"{name}.py"], capture_output=True, text=True, check=True).stdout
    assert printed == (DOCS / f"{name}.md").read_text("utf-8"), f"python docs/{name}.py > docs/{name}.md"


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: block.__name__)
def test_the_reference_has_every_key_with_its_docstring(block: type[Block]) -> None:
    heading = {"Conditional": "Conditional in full"}.get(block.__name__, spaced(block.__name__))
    text = (DOCS / "language.md").read_text("utf-8")
    section = text.split(f"\n### {heading}\n")[1].split("\n### ")[0]
    rows = re.findall(r"^\| `(\w+)` \| (.+) \| (.*) \| (.+) \|$", section, re.MULTILINE)
    said = {key: (default, meaning) for key, _, default, meaning in rows}
    beside = {"conditionals"} if block.__name__ == "Recognition" else set()  # which have the names of variables
    assert list(said) == [key for key in block.words() if key not in beside]
    for name, meaning in docstrings(block).items():
        if name in beside:
            continue
        field = block.model_fields[name]
        default, written = said[field.alias or name]
        assert written.replace(r"\|", "|") == meaning
        assert (default == "*required*") == field.is_required()
        if isinstance(field.default, str | int | float) and field.default != "":
            assert default == f"`{str(field.default).lower() if isinstance(field.default, bool) else field.default}`"


def docstrings(block: type[Block]) -> dict[str, str]:
    """The text below each field of a block, on one line; a block inherits some."""
    found: dict[str, str] = {}
    for owner in (each for each in block.__mro__ if issubclass(each, Block) and each is not Block):
        [body] = ast.parse(inspect.getsource(owner)).body
        assert isinstance(body, ast.ClassDef)
        for field, below in zip(body.body, body.body[1:], strict=False):
            if isinstance(field, ast.AnnAssign) and isinstance(below, ast.Expr):
                assert isinstance(field.target, ast.Name)
                found[field.target.id] = " ".join(ast.literal_eval(below.value).split())
    assert found.keys() == block.model_fields.keys(), "every key has a docstring"
    return found


def spaced(name: str) -> str:
    """`LabelDraw` as `Label draw`."""
    return "".join(f" {letter.lower()}" if letter.isupper() else letter for letter in name).strip().capitalize()


@pytest.mark.parametrize("text", fences("language.md", "yaml"), ids=lambda text: text.splitlines()[0])
def test_an_example_of_the_language_compiles_without_a_warning(text: str, tmp_path: Path) -> None:
    """Beside the other examples, of which it may use one as a sub-model."""
    for example in fences("language.md", "yaml"):
        (tmp_path / f"{example.split(maxsplit=2)[1]}.yaml").write_text(example, encoding="utf-8")
    file = tmp_path / f"{text.split(maxsplit=2)[1]}.yaml"
    assert [str(warning) for warning in check(file)] == []
    assert "class Encoder" in compile_file(file).code


@pytest.mark.parametrize("text", fences("structure.md", "yaml"), ids=lambda text: text.splitlines()[0])
def test_an_example_of_structure_compiles_without_a_warning(text: str, tmp_path: Path) -> None:
    (tmp_path / "m.yaml").write_text(text, encoding="utf-8")
    assert [str(warning) for warning in check(tmp_path / "m.yaml")] == []
    assert "class Encoder" in compile_file(tmp_path / "m.yaml").code


def test_every_function_of_the_language_is_on_its_page() -> None:
    table = (DOCS / "structure.md").read_text("utf-8").split("## Expressions")[1]
    assert [name for name in FUNCTIONS if not re.search(rf"[`\s]{name}[(`\s]", table)] == []


SHORT = """
model: m
variables:
  digit: {{distribution: categorical, categories: 3, role: supervised}}
  image: {{distribution: normal, role: observed}}
p: {{{p}}}
q: {{digit: [image]}}
data: {{source: npz, columns: {{digit: digit, image: image}}, {labels}}}
"""


def test_short_forms_are_what_the_page_says() -> None:
    section = (DOCS / "language.md").read_text("utf-8").split("\n## Short forms\n")[1].split("\n## ")[0]
    rows = re.findall(r"^\| `([^`]+)` \| `([^`]+)` \|$", section, re.MULTILINE)
    forms = {short.split(":")[0]: (short, full) for short, full in rows}
    assert forms.keys() == {"image", "labels"}
    default = {"image": "image: [digit]", "labels": "labels: []"}
    for key, pair in forms.items():
        made = [default | {key: form} for form in pair]
        short, full = (str(parse(read_text(SHORT.format(p=each["image"], labels=each["labels"]), "m.yaml"))) for each in made)
        assert short == full
        assert short != str(parse(read_text(SHORT.format(p=default["image"], labels=default["labels"]), "m.yaml")))


def test_the_page_of_emitted_code_shows_all_of_it() -> None:
    pieces = fences("emitted_code.md", "python")
    code = compile_file(ROOT / "specs" / "digits.yaml").code
    assert [line for piece in pieces for line in piece.splitlines() if line] == [line for line in code.splitlines() if line]


def test_the_front_page_shows_the_spec_that_ships() -> None:
    [shown] = fences("index.md", "yaml")
    assert (ROOT / "specs" / "digits.yaml").read_text("utf-8").startswith(shown)


@pytest.mark.parametrize(
    "page",
    [page for page in PAGES if "```pycon" in page.read_text("utf-8")],
    ids=lambda page: page.relative_to(DOCS).as_posix(),
)
def test_the_sessions_of_a_page_run(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(ROOT / "specs", tmp_path / "specs")
    monkeypatch.chdir(tmp_path)
    failed, run = doctest.testfile(str(page), module_relative=False, report=True)
    assert run > 3
    assert failed == 0


@pytest.mark.parametrize("name", graphvae.__all__)
def test_every_public_function_has_an_example(name: str) -> None:
    """In its docstring, which pytest runs, and which uses it."""
    examples = doctest.DocTestParser().get_examples(getattr(graphvae, name).__doc__)
    assert [example for example in examples if re.search(rf"\b{name}\(", example.source) and "graphvae" not in example.source]


def test_every_public_function_is_used_in_a_session() -> None:
    [*sessions] = fences("python.md", "pycon")
    used = set(re.findall(r"^>>> .*?\bgraphvae\.(\w+)\(", "".join(sessions), re.MULTILINE))
    assert used == set(graphvae.__all__)
