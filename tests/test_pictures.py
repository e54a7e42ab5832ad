"""Scenes: what is drawn is what the graph says, and nothing lies on anything else. The geometry here is the tests' own."""

from __future__ import annotations

import itertools
import json
import math
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from proof_specs import random_plate_spec, random_spec

from graphvae.compiler.check import read_graph
from graphvae.compiler.errors import FlagError
from graphvae.compiler.graph import ModelGraph, Side
from graphvae.compiler.pipeline import compile_text
from graphvae.diagrams.compose import Composed, compose
from graphvae.diagrams.render import render
from graphvae.diagrams.scene import Arrow, Frame, Mark, Panel, Point, Scene, Text
from graphvae.diagrams.sketch import Style, Width, sketch
from graphvae.diagrams.typeset import box

ROOT = Path(__file__).parent.parent
SPECS = sorted(spec for folder in ("specs", "docs/gallery", "tests/specs") for spec in ROOT.glob(f"{folder}/*.yaml"))
STYLES = {
    "default": Style(),
    "full": Style(detail="full", legend=True),
    "closed": Style(detail="minimal", submodels="closed", bold_vectors=True),
    "overlay": Style(view="overlay"),
    "column": Style(width="one-column"),
}
SEEDS = range(40)
Edge = tuple[str, str, str, bool]
Extent = tuple[float, float, float, float]

every_picture = pytest.mark.parametrize(
    ("spec", "style"), list(itertools.product(SPECS, STYLES)), ids=lambda each: getattr(each, "stem", each)
)


@pytest.fixture(params=[pytest.param("system", marks=pytest.mark.skipif(not shutil.which("dot"), reason="no dot")), "wheel"])
def engine(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Each engine in turn; the wheel's lays out where the system's is hidden."""
    if request.param == "wheel":
        monkeypatch.setenv("PATH", str(tmp_path))
    return str(request.param)


def composed(graph: ModelGraph, style: Style = STYLES["default"]) -> Composed:
    return compose(sketch(graph, style), {})


@pytest.mark.parametrize("seed", SEEDS)
def test_arrows_of_random_specs_are_the_edges_of_the_graph(seed: int) -> None:
    text = random_spec(seed) if seed % 2 else random_plate_spec(seed)
    graph = compile_text(text, "random.yaml").graph
    assert arrows(composed(graph).scene) == sorted(edge for side in (graph.p, graph.q) for edge in written(side))
    overlay = composed(graph, STYLES["overlay"]).scene
    assert arrows(overlay) == arrows(composed(graph).scene)


@pytest.mark.parametrize("seed", SEEDS)
def test_what_is_minimal_leaves_out_what_is_deterministic(seed: int) -> None:
    """A parent is one that a path through deterministic variables alone leads from, in the slot before if any step does."""
    graph = compile_text(random_spec(seed) if seed % 2 else random_plate_spec(seed), "random.yaml").graph
    hidden = {name for name, node in graph.variables.items() if node.role == "deterministic"}
    found = set(arrows(composed(graph, Style(detail="minimal")).scene))
    assert found == {edge for side in (graph.p, graph.q) for edge in passed_through(side, hidden)}


@every_picture
def test_nothing_lies_on_anything_else(spec: Path, style: str) -> None:
    for panel in composed(read_graph(spec), STYLES[style]).scene.panels:
        for one, other in itertools.combinations(panel.marks, 2):
            assert apart(extent(one), extent(other)), (panel.name, one.name, other.name)
        words = list(texts(panel))
        for one, other in itertools.combinations(words, 2):
            assert apart(box(one), box(other)), (panel.name, one.symbol.text, other.symbol.text)
        for text, mark in itertools.product(words, panel.marks):
            left, lower, right, upper = box(text)
            nearest = (min(max(mark.centre[0], left), right), min(max(mark.centre[1], lower), upper))
            assert level(mark, nearest) > 1, (panel.name, text.symbol.text, mark.name)


@every_picture
def test_names_fit_into_their_marks(spec: Path, style: str) -> None:
    for panel in composed(read_graph(spec), STYLES[style]).scene.panels:
        for mark in panel.marks if panel.name != "legend" else ():
            left, lower, right, upper = box(mark.text)
            middle = (lower + upper) / 2
            for corner in ((left, middle), (right, middle), ((left + right) / 2, lower), ((left + right) / 2, upper)):
                assert level(mark, corner) <= 1, (panel.name, mark.name)


@every_picture
def test_frames_hold_their_own_and_nothing_else(spec: Path, style: str) -> None:
    frames_hold_their_own(read_graph(spec), STYLES[style])


@pytest.mark.parametrize("name", ["faces", "multi_mnist"])
def test_parameters_stand_outside_of_the_rows_of_panels_that_are_stacked(name: str) -> None:
    graph = read_graph(ROOT / f"specs/{name}.yaml")
    p, q = composed(graph, Style(width="two-column", detail="full")).scene.panels
    assert min(mark.centre[1] for mark in p.marks) > max(mark.centre[1] for mark in q.marks), "one above the other"
    frames_hold_their_own(graph, Style(width="two-column", detail="full"))


@pytest.mark.parametrize("seed", SEEDS)
def test_frames_of_random_specs_hold_their_own(seed: int) -> None:
    frames_hold_their_own(compile_text(random_plate_spec(seed), "random.yaml").graph, STYLES["column"])


def frames_hold_their_own(graph: ModelGraph, style: Style) -> None:
    drawn = sketch(graph, style)
    members = {group.name: group.members for group in drawn.groups}
    for panel in compose(drawn, {}).scene.panels:
        for frame in panel.frames:
            inside = {mark.name for mark in panel.marks if within(extent(mark), (*frame.lower, *frame.upper))}
            outside = {mark.name for mark in panel.marks if apart(extent(mark), (*frame.lower, *frame.upper))}
            parameters = {mark.name for mark in panel.marks if mark.name.startswith("parameters")}
            there = {mark.name for mark in panel.marks}
            assert inside == (there & members[frame.name] if frame.name else there - parameters)
            assert outside == there - inside
            assert within(box(frame.label), (*frame.lower, *frame.upper))
            assert (frame.label.at[1] < middle(frame)) == (frame.kind == "plate")


@every_picture
def test_arrows_run_from_outline_to_outline(spec: Path, style: str) -> None:
    for panel in composed(read_graph(spec), STYLES[style]).scene.panels:
        marks = {mark.name: mark for mark in panel.marks}
        squares = {(factor.side, factor.child): factor.centre for factor in panel.factors}
        for arrow in panel.arrows if panel.name != "legend" else ():
            assert level(marks[arrow.tail], arrow.curve[0]) == pytest.approx(1, abs=0.02), arrow.tail
            if arrow.pointed:
                assert level(marks[arrow.head], arrow.curve[-1]) == pytest.approx(1, abs=0.02), arrow.head
            else:
                centre = squares[arrow.side, arrow.head]
                assert max(abs(arrow.curve[-1][0] - centre[0]), abs(arrow.curve[-1][1] - centre[1])) == pytest.approx(
                    2.5, abs=0.05
                )


@every_picture
def test_arrows_cross_no_other_mark(spec: Path, style: str) -> None:
    for panel in composed(read_graph(spec), STYLES[style]).scene.panels:
        for arrow, mark in itertools.product(panel.arrows, panel.marks):
            if mark.name not in (arrow.tail, arrow.head) and panel.name != "legend":
                assert min(level(mark, point) for point in along(arrow)) > 1, (panel.name, arrow.tail, arrow.head, mark.name)


@every_picture
def test_arrows_cross_no_words(spec: Path, style: str) -> None:
    """But for their own labels, and families, which stand on white."""
    for panel in composed(read_graph(spec), STYLES[style]).scene.panels:
        for arrow, text in itertools.product(panel.arrows, texts(panel)):
            left, lower, right, upper = box(text)
            crossed = [point for point in along(arrow) if left < point[0] < right and lower < point[1] < upper]
            own = text is arrow.label or text in [factor.caption for factor in panel.factors]
            assert not crossed or own, (panel.name, arrow.tail, arrow.head, text.symbol.text)


@every_picture
def test_pictures_hold_all_that_they_show(spec: Path, style: str) -> None:
    made = composed(read_graph(spec), STYLES[style])
    page = (0.0, 0.0, made.scene.width, made.scene.height)
    for panel in made.scene.panels:
        parts = [*map(extent, panel.marks), *map(box, texts(panel)), *((*frame.lower, *frame.upper) for frame in panel.frames)]
        parts += [(*point, *point) for arrow in panel.arrows for point in along(arrow)]
        assert all(within(part, page) for part in parts)


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.stem)
def test_variables_stand_at_the_same_places_in_p_and_q(spec: Path, engine: str) -> None:
    p, q = composed(read_graph(spec)).scene.panels
    places = [{mark.name: mark.centre for mark in panel.marks} for panel in (p, q)]
    shifts = {
        (round(places[1][name][0] - places[0][name][0], 6), round(places[1][name][1] - places[0][name][1], 6))
        for name in places[0].keys() & places[1].keys()
    }
    assert len(shifts) == 1
    assert shifts.pop()[1] == 0


@pytest.mark.parametrize(("width", "points"), [("one-column", 3.25 * 72), ("two-column", 6.75 * 72)])
@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.stem)
def test_columns_are_as_wide_as_asked_with_letters_that_can_be_read(spec: Path, width: Width, points: float) -> None:
    made = composed(read_graph(spec), Style(width=width))
    assert made.scene.width == pytest.approx(points) if made.fits else made.scene.width > points
    assert min(text.size for panel in made.scene.panels for text in (*texts(panel), *(mark.text for mark in panel.marks))) >= 7


def test_panels_one_above_the_other_have_nodes_below_themselves_in_plates_of_one_width() -> None:
    p, q = composed(read_graph(ROOT / "specs/multi_mnist_plain.yaml"), Style(width="one-column")).scene.panels
    above, below = ({mark.name: mark.centre for mark in panel.marks} for panel in (p, q))
    assert above["canvas"][1] > below["look"][1], "one above the other"
    assert {name: above[name][0] for name in above} == pytest.approx({name: below[name][0] for name in above})
    [one], [other] = ([frame for frame in panel.frames if not frame.name] for panel in (p, q))
    assert (one.lower[0], one.upper[0], one.label.at[0]) == pytest.approx((other.lower[0], other.upper[0], other.label.at[0]))


def test_plates_that_cross_are_frames_that_cross(engine: str) -> None:
    p, _ = composed(read_graph(ROOT / "tests/specs/plates.yaml")).scene.panels
    part, view = ((*frame.lower, *frame.upper) for name in ("part", "view") for frame in p.frames if frame.name == name)
    assert not apart(part, view)
    assert not within(part, view)
    assert not within(view, part)


def test_marks_look_like_their_roles() -> None:
    graph = read_graph(ROOT / "specs/multi_mnist.yaml")
    p, q = composed(graph).scene.panels
    looks = {mark.name: (mark.look, mark.double) for panel in (p, q) for mark in panel.marks}
    assert looks == {
        "count": ("supervised", False),
        "place": ("latent", False),
        "canvas": ("observed", False),
        "glyph.digit": ("latent", False),
        "glyph.style": ("latent", False),
        "glyph.image": ("latent", True),
        "seen": ("deterministic", True),
        "state": ("deterministic", True),
        "box": ("deterministic", True),
    }
    assert [(frame.kind, frame.name, frame.label.symbol.text) for frame in p.frames] == [
        ("plate", "", "N"),
        ("plate", "slot", "k = 1…count"),
        ("sub-model", "glyph", "glyph"),
    ]
    labels = {(arrow.tail, arrow.label.symbol.text) for arrow in q.arrows if arrow.label}
    assert labels == {("state", "k−1"), ("place", "k−1"), ("glyph.digit", "k−1")}


def test_a_closed_submodel_has_the_arrows_of_what_is_in_it() -> None:
    graph = read_graph(ROOT / "specs/multi_mnist.yaml")
    found = arrows(composed(graph, Style(submodels="closed")).scene)
    assert [edge for edge in found if "glyph" in edge] == [
        ("p", "glyph", "canvas", False),
        ("q", "box", "glyph", False),
        ("q", "canvas", "glyph", False),
        ("q", "glyph", "state", True),
    ]


def test_full_detail_names_families_and_parameters() -> None:
    graph = read_graph(ROOT / "specs/faces_intrinsic.yaml")
    p, q = composed(graph, Style(detail="full")).scene.panels
    assert {factor.child: factor.caption.symbol.text for factor in p.factors} == {
        "person": "categorical",
        "light": "normal",
        "form": "normal",
        "skin": "normal",
        "image": "normal",
    }
    assert {arrow.head for arrow in p.arrows if arrow.tail == "parameters p"} == {"albedo", "normals"}
    assert {arrow.head for arrow in q.arrows if arrow.tail == "parameters q"} == {"seen", "person", "light", "form", "skin"}


def test_a_pinned_place_is_kept_in_the_spec_and_in_a_file(tmp_path: Path) -> None:
    spec = ROOT / "specs" / "digits.yaml"
    render(spec, tmp_path / "places.json")
    places = json.loads((tmp_path / "places.json").read_text())
    assert set(places) == {"digit", "style", "image"}
    (tmp_path / "places.json").write_text(json.dumps(places | {"style": [200, 10]}))
    render(spec, tmp_path / "again.json", layout=tmp_path / "places.json")
    assert json.loads((tmp_path / "again.json").read_text()) == places | {"style": [200, 10]}
    render(spec, tmp_path / "spec.json", ["layout={style: [200, 10]}"])
    assert json.loads((tmp_path / "spec.json").read_text()) == places | {"style": [200, 10]}
    moved = compose(sketch(read_graph(spec)), {"style": (200.0, 10.0)})
    at = {mark.name: mark.centre for mark in moved.scene.panels[0].marks}
    assert at["style"][1] - at["image"][1] == pytest.approx(10 - places["image"][1], abs=0.06)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "cannot read places"),
        ("[1, 2]", "is not a mapping of names to pairs"),
        ('{"digit": [1, 2, 3]}', "is not a mapping of names to pairs"),
        ('{"digit": [1, NaN]}', "is not a mapping of names to pairs"),
        ('{"digti": [1, 2]}', r"a place for the unknown 'digti'\n  did you mean 'digit'"),
        (None, "cannot read places.*no such file"),
    ],
)
def test_bad_places_are_flag_errors(text: str | None, message: str, tmp_path: Path) -> None:
    if text is not None:
        (tmp_path / "places.json").write_text(text)
    with pytest.raises(FlagError, match=message):
        render(ROOT / "specs" / "digits.yaml", tmp_path / "model.svg", layout=tmp_path / "places.json")
    assert not (tmp_path / "model.svg").exists()


def test_only_tex_stands_alone(tmp_path: Path) -> None:
    with pytest.raises(FlagError, match=r"GV501.*only a \.tex file"):
        render(ROOT / "specs" / "digits.yaml", tmp_path / "model.svg", standalone=True)


def test_a_picture_that_is_too_wide_says_how_wide(tmp_path: Path) -> None:
    names = [f"latent_of_a_long_name_{number}" for number in range(6)]
    variables = ", ".join(f"{name}: {{distribution: normal}}" for name in names)
    text = f"model: m\nvariables: {{{variables}, x: {{distribution: normal, role: observed}}}}\np: {{x: [{', '.join(names)}]}}"
    (tmp_path / "wide.yaml").write_text(text + "\nq: {" + ", ".join(f"{name}: [x]" for name in names) + "}")
    [remark] = render(tmp_path / "wide.yaml", tmp_path / "wide.svg", style=Style(width="one-column"))
    assert re.fullmatch(r"\d+\.\d\d inches wide: its letters would be smaller than 7 points", remark)


def written(side: Side) -> Iterator[Edge]:
    """What a person wrote as the parents."""
    for child, node in side.conditionals.items():
        for parent in node.conditional.parents:
            yield side.name, parent.variable, child, parent.previous


def passed_through(side: Side, hidden: set[str]) -> set[Edge]:
    """Every way from a variable that is shown to another through hidden ones alone."""
    edges, found = list(written(side)), set()
    reached = {edge for edge in edges if edge[1] not in hidden}
    while reached:
        found |= reached
        reached = {
            (name, tail, head, before or later)
            for name, tail, via, before in found
            if via in hidden
            for _, via_too, head, later in edges
            if via_too == via
        } - found
    return {edge for edge in found if edge[2] not in hidden}


def arrows(scene: Scene) -> list[Edge]:
    return sorted((arrow.side, arrow.tail, arrow.head, arrow.previous) for panel in scene.panels for arrow in panel.arrows)


def texts(panel: Panel) -> Iterator[Text]:
    """Every text but the names in marks."""
    yield from panel.texts
    yield from (frame.label for frame in panel.frames)
    yield from (arrow.label for arrow in panel.arrows if arrow.label)
    yield from (factor.caption for factor in panel.factors)


def along(arrow: Arrow) -> list[Point]:
    """Points of a cubic Bezier curve, by its definition."""
    steps = np.linspace(0, 1, 60)[:, None]
    a, b, c, d = map(np.array, arrow.curve)
    points = (1 - steps) ** 3 * a + 3 * steps * (1 - steps) ** 2 * b + 3 * steps**2 * (1 - steps) * c + steps**3 * d
    return [(float(across), float(up)) for across, up in points]


def level(mark: Mark, point: Point) -> float:
    """Below 1 inside of a mark, 1 on its outline, and above 1 outside."""
    across, up = (abs(point[axis] - mark.centre[axis]) / ((mark.width, mark.height)[axis] / 2) for axis in (0, 1))
    return max(across, up) if mark.look in ("given", "sub-model") else math.hypot(across, up)


def extent(mark: Mark) -> Extent:
    x, y = mark.centre
    return x - mark.width / 2, y - mark.height / 2, x + mark.width / 2, y + mark.height / 2


def middle(frame: Frame) -> float:
    return (frame.lower[1] + frame.upper[1]) / 2


def apart(one: Extent, other: Extent) -> bool:
    return one[2] <= other[0] or other[2] <= one[0] or one[3] <= other[1] or other[3] <= one[1]


def within(one: Extent, other: Extent) -> bool:
    slack = 1e-6
    lower = other[0] - slack <= one[0] and other[1] - slack <= one[1]
    return lower and one[2] <= other[2] + slack and one[3] <= other[3] + slack
