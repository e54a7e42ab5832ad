r"""Equations: what is printed is the graph and its objective, in LaTeX that other programs can set."""

from __future__ import annotations

import re
from ast import literal_eval
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
import tikra
from models import NAMES, SPECS
from typer.testing import CliRunner

from graphvae.cli import app
from graphvae.compiler.check import read_graph
from graphvae.compiler.errors import FlagError
from graphvae.compiler.graph import ModelGraph, Side
from graphvae.compiler.pipeline import compile_file, compile_text
from graphvae.diagrams.equations import equations
from graphvae.diagrams.page import Maths, Page, Row, Sentences, Table

every_spec = pytest.mark.parametrize("path", SPECS, ids=NAMES)
# A conditional as it is printed: its side, its variable, and what is behind the bar.
CONDITIONAL = r"\b([pq])(?:_\{\\(?:theta|phi)\})?\(((?:[^()|]|\\mid)*)\)"


def lines(page: Page, heading: str) -> list[Row]:
    """The mathematics of a section."""
    [section] = [section for section in page.sections if section.heading == heading]
    return [row for block in section.blocks if isinstance(block, Maths) for row in block.rows]


def said(page: Page, heading: str) -> str:
    """The sentences of a section."""
    [section] = [section for section in page.sections if section.heading == heading]
    return " ".join(each for block in section.blocks if isinstance(block, Sentences) for each in block.sentences)


def plain(graph: ModelGraph, latex: str) -> str:
    """A symbol as the name that it stands for, without indices; an index as its plate."""
    bare = re.sub(r"_\{(?:[^{}]|\{[^{}]*\})*\}", "", latex.strip())
    named = {re.sub(r"\\mathit\{(.*?)\}", r"\1", name).replace(r"\_", "_"): name for name in graph.variables}
    word = re.sub(r"\\mathit\{((?:[^{}])*)\}", r"\1", bare).replace(r"\_", "_")
    word = re.sub(r"^(\w+)\^\{(.*)\}$", r"\2.\1", word)
    plates = {plate.index: plate.name for plate in graph.plates.values()}
    return named.get(word) or plates[word]


def conditionals(graph: ModelGraph, text: str) -> Counter[tuple[str, str, frozenset[str]]]:
    """Every conditional in some LaTeX, as (side, variable, parents)."""
    found: Counter[tuple[str, str, frozenset[str]]] = Counter()
    for side, inside in re.findall(CONDITIONAL, text):
        child, _, given = inside.partition(r"\mid")
        parents = re.split(r",(?![^{]*\})", given) if given else []
        found[side, plain(graph, child), frozenset(plain(graph, parent) for parent in parents)] += 1
    return found


def factors(graph: ModelGraph, side: Side) -> Counter[tuple[str, str, frozenset[str]]]:
    """The conditionals of a side as the person wrote them, with the counts of what they gather."""
    found: Counter[tuple[str, str, frozenset[str]]] = Counter()
    for name, node in side.conditionals.items():
        if node.family:
            counts = {graph.plates[plate].count for plate in node.gathered} - {""}
            found[side.name, name, frozenset({parent.variable for parent in node.conditional.parents} | counts)] += 1
    return found


@every_spec
def test_the_factors_printed_are_the_conditionals_of_the_graph(path: Path) -> None:
    graph = read_graph(path)
    page = equations(graph)
    for side, heading in ((graph.p, "Generative model"), (graph.q, "Recognition model")):
        text = " ".join(row.right for row in lines(page, heading) if not re.search(r"\\sim|= f_|operatorname", row.right))
        assert conditionals(graph, text.partition("=")[2]) == factors(graph, side)


@every_spec
def test_every_variable_has_its_line_and_its_row(path: Path) -> None:
    graph = read_graph(path)
    page = equations(graph)
    for side, heading in ((graph.p, "Generative model"), (graph.q, "Recognition model")):
        defined = [row for row in lines(page, heading) if row.left and "(" not in row.left]
        assert [plain(graph, row.left) for row in defined] == list(side.conditionals)
        for row, node in zip(defined, side.conditionals.values(), strict=True):
            assert row.right.startswith(r"\sim" if node.family else "=")
            assert (r"\mathcal{N}" in row.right) == (node.family is not None and node.family.name == "normal")
    table = page.sections[-1].blocks[0]
    assert [plain(graph, row[0].strip("$")) for row in table.rows] == list(graph.variables)
    assert [row[1].partition(",")[0] for row in table.rows] == [node.role for node in graph.variables.values()]
    assert ("plates" in table.heading) == bool(graph.plates)


def test_names_stand_beside_symbols_that_do_not_follow_from_them() -> None:
    text = Path("specs/digits.yaml").read_text().replace("categories: 10", "categories: 10, symbol: y")
    table = equations(compile_text(text, "m.yaml").graph).sections[-1].blocks[0]
    assert isinstance(table, Table)
    assert table.heading == ("symbol", "name", "role", "family", "shape")
    assert table.rows[0] == ("$y$", "`digit`", "supervised", "categorical", "10 categories")


def test_a_line_that_is_too_wide_for_a_column_is_broken() -> None:
    rows = lines(equations(read_graph("specs/label_behind_latent.yaml")), "Objective")
    broken = rows.index(Row("", r"\qquad - \log p_{\theta}(\mathit{code} \mid \mathit{digit}, \mathit{style})\bigr]"))
    assert rows[broken - 1] == Row("", r"\quad - \bigl[\log q_{\phi}(\mathit{code} \mid \mathit{image})")


@every_spec
def test_the_objective_is_the_one_that_is_emitted(path: Path) -> None:
    """Its bound, its closed forms, and what it takes at the sample, by the facts that the emitted class states."""
    compilation = compile_file(path)
    graph, code = compilation.graph, compilation.code
    page = equations(graph)
    rows = lines(page, "Objective")
    text = " ".join(row.right for row in rows)
    bound = re.search(r'bound = "(\w+)"', code)
    assert rows[0].left == (r"\mathcal{B}" if bound else r"\mathcal{L}")
    closed = re.search(r"closed_kl = (\{.*?\})", code, re.DOTALL)
    divergences = re.findall(r"\\mathrm\{KL\}\\bigl\((.*?) \\,\\Vert", text)
    printed = {child for each in divergences for _, child, _ in conditionals(graph, each)}
    assert printed == set(literal_eval(closed[1]) if closed else {})
    observed = {name for name, node in graph.variables.items() if node.role == "observed"}
    inferred = {name for name, node in graph.variables.items() if node.inferred and not node.collapse}
    brackets = re.sub(r"\\mathrm\{KL\}.*?\\bigr\)", "", text)
    scored = {child for side, child, _ in conditionals(graph, brackets) if side == "p"}
    assert scored | printed == observed | inferred
    assert re.findall(r'label_term = "(\w+)"', code) == [graph.spec.objective.label_term]
    labels = [plain(graph, name) for name in re.findall(r"\\log \\hat\{q\}\((.*?)(?: \\mid|\))", text)]
    assert labels == [name for name in graph.q.conditionals if graph.variables[name].role == "supervised"]
    assert ("doubly reparameterised" in said(page, "Objective")) == (bound is not None and bound[1] == "importance_dreg")


WEIGHTS = [
    ("{}", r"(1 + \alpha)\, \log", [r"$\alpha$ is a tenth of the rows per row with labels.", "is exact"]),
    ("{alpha: 3}", r"(1 + \alpha)\, \log", [r"$\alpha = 3$."]),
    ("{alpha: 0}", r"+ \, \log", []),
    ("{alpha: {digit: 2}}", r"(1 + \alpha_{\mathit{digit}})\, \log", [r"$\alpha_{\mathit{digit}} = 2$."]),
    ("{beta: 0.5, alpha: 0}", r"\beta\, \log", [r"$\beta = 0.5$."]),
    (
        "{beta: {schedule: linear, from: 0, to: 1, steps: 1000}}",
        r"(\beta + \alpha)\, \log",
        [r"$\beta$ goes from 0 to 1 in 1,000 steps."],
    ),
    ("{beta: {style: 2}}", r"- \beta_{\mathit{style}}\, \bigl[", [r"$\beta_{\mathit{style}} = 2$."]),
    ("{supervision_rate: 0.3}", r"(1 + \alpha)", [r"mean}_{\mathrm{unlabelled}}", r"is $\rho = 0.3$."]),
    ("{gamma: 2}", r"(1 + \alpha)", [r"$\rho = \gamma M / (N + \gamma M), \gamma = 2$, with $M$ rows"]),
    ("{kl: closed}", r"\mathrm{KL}\bigl(q_{\phi}(\mathit{style}", []),
    ("{bound: importance, samples: 7}", r"\log \frac{1}{7} \sum_{s} \exp g_{e,s}", ["over 7 samples"]),
]


@pytest.mark.parametrize(("objective", "maths", "sentences"), WEIGHTS)
def test_weights_are_said_as_they_are_set(objective: str, maths: str, sentences: list[str]) -> None:
    text = Path("specs/digits.yaml").read_text().replace("{alpha: auto, supervision_rate: 0.5}", objective)
    page = equations(compile_text(text, "digits.yaml").graph)
    assert maths in " ".join(row.right for row in lines(page, "Objective"))
    for sentence in sentences:
        assert sentence in said(page, "Objective")


def test_a_model_without_labels_is_a_plain_autoencoder() -> None:
    variables = "{z_1: {distribution: normal, size: 2}, x: {distribution: normal, size: 3, role: observed}}"
    page = equations(compile_text(f"model: m\nvariables: {variables}\np: {{x: [z_1]}}\nq: {{z_1: [x]}}", "m.yaml").graph)
    assert [f"{row.left} {row.right}" for row in lines(page, "Objective")] == [
        r"\mathcal{L} = f",
        r"f = \log p_{\theta}(x \mid z_{1})",
        r" \quad - \bigl[\log q_{\phi}(z_{1} \mid x) - \log p(z_{1})\bigr]",
    ]
    assert said(page, "Objective") == (
        r"Training maximises the mean of $\mathcal{L}$ over the rows. What is not summed over is drawn once."
    )


def test_a_label_behind_a_draw_is_said_to_be_estimated() -> None:
    written = Path("specs/label_behind_latent.yaml").read_text()
    text = said(equations(compile_text(written, "m.yaml").graph), "Objective")
    assert r"That of $\mathit{digit}$ is estimated by importance sampling, since $\mathit{code}$ stands before it" in text
    assert r"is by how much its term in $\ell$ changes" in text, "by log_mean"
    means = written.replace("alpha: 50", "alpha: 50, label_term: mean_log")
    other = said(equations(compile_text(means, "m.yaml").graph), "Objective")
    assert r"is the mean of $\log q$ over samples" in other


def test_expressions_are_translated() -> None:
    faces = " ".join(
        f"{row.left} {row.right}" for row in lines(equations(read_graph("specs/faces_intrinsic.yaml")), "Generative model")
    )
    network = r"f_{\theta}^{\mathit{normals}}(\mathit{person}, \mathit{form})"
    assert rf"\mathit{{normals}} = \operatorname{{normalise}}_{{\mathrm{{channel}}}}({network})" in faces
    assert r"\mathrm{loc} = \mathit{albedo} \odot \mathit{shading}" in faces
    scene = " ".join(row.right for row in lines(equations(read_graph("specs/multi_mnist.yaml")), "Generative model"))
    sum_of_slots = r"\sum_{k = 1}^{\mathit{count}} \operatorname{paste}(\mathit{image}_{k}^{\mathit{glyph}}, \mathit{box}_{k})"
    assert rf"\mathrm{{loc}} = {sum_of_slots}; \mathrm{{scale}} = 0.3" in scene


@pytest.mark.parametrize(
    ("written", "latex"),
    [
        ("(a + 2) * a", r"\left(a + 2\right) \odot a"),
        ("a / (1 + exp(-a))", r"\frac{a}{1 + \operatorname{exp}(-a)}"),
        ("2 * a ** 2 - a", r"2 \, {a}^{2} - a"),
        ("sum(a, channel) * 2", r"\left(\sum_{\mathrm{channel}} a\right) \, 2"),
        ("where(a > 0, a, 0.1 * a)", r"\operatorname{where}(a > 0, a, 0.1 \, a)"),
        ("sqrt(abs(a))", r"\sqrt{\operatorname{abs}(a)}"),
        ("a - (a - 1)", r"a - \left(a - 1\right)"),
    ],
)
def test_precedence_is_kept(written: str, latex: str) -> None:
    variables = "{a: {distribution: normal, size: 2}, x: {distribution: normal, size: 2, role: observed}}"
    p = f"{{x: {{parents: [a], parameters: {{loc: '{written}', scale: 1}}}}}}"
    text = f"model: m\nvariables: {variables}\np: {p}\nq: {{a: [x]}}"
    rows = lines(equations(compile_text(text, "m.yaml").graph), "Generative model")
    assert rows[-1].right == rf"\sim \mathcal{{N}}\bigl(\mathrm{{loc}} = {latex}; \mathrm{{scale}} = 1\bigr)"


@every_spec
def test_all_of_it_can_be_set(path: Path) -> None:
    """Every line by tikra, as far as it knows LaTeX, and the page by its braces and its environments."""
    page = equations(read_graph(path))
    pieces = [f"{row.left} {row.right}" for section in page.sections for row in lines(page, section.heading)]
    pieces += re.findall(r"\$(.*?)\$", page.latex)
    nodes = "".join(rf"\node {{${piece}$}};" for piece in dict.fromkeys(pieces))
    assert tikra.render(rf"\begin{{tikzpicture}}{nodes}\end{{tikzpicture}}")["warnings"] == []
    bare = re.sub(r"\\[{}_]|^%.*", "", page.latex)
    depth = 0
    for sign in re.findall("[{}]", bare):
        depth += 1 if sign == "{" else -1
        assert depth >= 0
    assert depth == 0
    begun = re.findall(r"\\(begin|end)\{([a-z]+\*?)\}", page.latex)
    assert [begun[i + 1] for i in range(0, len(begun), 2)] == [("end", name) for _, name in begun[::2]]
    assert page.latex.count("$") % 2 == 0


@pytest.mark.parametrize("name", ["digits", "multi_mnist", "label_behind_latent", "importance", "gradients"])
def test_latex_is_golden(name: str, golden: Callable[[str, str], None]) -> None:
    [path] = [path for path in SPECS if path.stem == name]
    golden(f"{name}.equations.tex", equations(read_graph(path)).latex)


@pytest.mark.parametrize("name", ["digits", "sequence"])
def test_markdown_is_golden(name: str, golden: Callable[[str, str], None]) -> None:
    golden(f"{name}.equations.md", equations(read_graph(f"specs/{name}.yaml")).markdown)


def test_the_command_line_prints_one_form() -> None:
    runner = CliRunner()
    page = equations(read_graph("specs/digits.yaml"))
    assert runner.invoke(app, ["explain", "specs/digits.yaml", "--latex"]).output == page.latex
    assert runner.invoke(app, ["explain", "specs/digits.yaml", "--markdown"]).output == page.markdown
    assert isinstance(runner.invoke(app, ["explain", "specs/digits.yaml", "--latex", "--json"]).exception, FlagError)
