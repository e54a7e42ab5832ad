"""Sub-models: a class of its own inside another, against the same model written flat."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from by_hand import Side, by_hand, scalar, slopes
from models import ROOT, random_data, random_model
from reference import objective
from torch import Tensor, nn

from graphvae.compiler.pipeline import compile_file
from graphvae.runtime import Bernoulli, Block, Categorical, Count, Draws, Evidence, Mlp, Model, Normal, Variable, load

pytestmark = pytest.mark.usefixtures("float64")

SLOTS, STROKES = 3, 2
PLATE = {"slot": SLOTS}


# A glyph: which of two, how wide, how many strokes, each somewhere; and its picture.


def glyph_q(
    self: Side, draw: Draws, image: Tensor, name: str, axis: int, around: Mapping[str, int], how: str
) -> dict[str, Tensor]:
    """q(kind, width, stroke | image), under names and in plates as they are seen from where it is called."""
    logits = self.kind(image=image)
    option = {"axis": axis} if how == "enumerate" else {}
    kind = getattr(draw, how)(f"{name}kind", Bernoulli(logits, event=0), plates=around, **option)
    width = draw.sample(f"{name}width", Normal(self.width(image=image, kind=kind), 0.6), plates=around)
    option = {"axis": axis + SLOTS} if how == "enumerate" else {}
    count = getattr(draw, how)(f"{name}count", Categorical(self.count(image=image)), plates=around, **option)
    draw.active(f"{name}stroke", count, values=(1, 2), size=STROKES, plates=around)
    loc = (self.stroke(width=width) + count[..., :1]).unsqueeze(-2)
    stroke = draw.sample(f"{name}stroke.at", Normal(loc, 0.4), plates={**around, f"{name}stroke": STROKES})
    return {"kind": kind, "width": width, "count": count, "stroke.at": stroke}


def glyph_p(self: Side, draw: Draws, name: str, around: Mapping[str, int]) -> dict[str, Tensor]:
    """p(kind, width, count, stroke, image), the picture a mean unless it is known."""
    tone = draw.given(f"{name}tone")
    kind = draw.sample(f"{name}kind", Bernoulli(self.logits, event=0), plates=around)
    width = draw.sample(f"{name}width", Normal(self.loc * kind.unsqueeze(-1), 1.0), plates=around)
    count = draw.sample(f"{name}count", Categorical(torch.zeros(2)), plates=around)
    active = draw.active(f"{name}stroke", count, values=(1, 2), size=STROKES, plates=around)
    stroke = draw.sample(f"{name}stroke.at", Normal(0.0, 1.0), plates={**around, f"{name}stroke": STROKES})
    loc = self.image(width=width, strokes=(active.unsqueeze(-1) * stroke).sum(-2)) + tone.unsqueeze(-1)
    return {"image": draw.mean(f"{name}image", Normal(loc, 0.3), plates=around)}


def glyph_sides(how: str) -> tuple[Side, Side]:
    """The glyph as a model of its own: nothing in it knows of plates around it."""

    def q(self: Side, draw: Draws) -> None:
        glyph_q(self, draw, draw.given("image"), "", 1, {}, how)

    def p(self: Side, draw: Draws) -> None:
        glyph_p(self, draw, "", {})

    torch.manual_seed(0)
    encoder = Side(
        q,
        kind=Mlp({"image": (4,)}, hidden=[5], heads={"logits": ()}),
        width=Mlp({"image": (4,), "kind": ()}, hidden=[], heads={"loc": (1,)}),
        count=Mlp({"image": (4,)}, hidden=[], heads={"logits": (2,)}),
        stroke=Mlp({"width": (1,)}, hidden=[], heads={"loc": (1,)}),
    )
    image = Mlp({"width": (1,), "strokes": (1,)}, hidden=[3], heads={"loc": (4,)})
    return encoder, Side(p, logits=scalar(0.3), loc=scalar(0.8), image=image)


# A page: a glyph, or a glyph in each slot of a plate, as many as a count says.

Where = str
"""Where the glyph stands: `alone`, in a `plate`, in a `loop`, or `apart`, in three places with a name each."""


def page(where: Where, flat: bool = False, how: str = "enumerate", carried: float = 0.0) -> Model:
    """A page of glyphs; in q, a glyph may depend on the one before it, by as much as is `carried`."""
    around = PLATE if where == "plate" else {}
    encoder, decoder = glyph_sides(how)
    counted = where in ("plate", "loop") and not carried

    def each(draw: Draws) -> Iterator[tuple[Draws, str, Callable[[Tensor], Tensor]]]:
        """The records of slots, the glyph's name in each, and how to see a slot's part of pictures [slot, 4]."""
        if where == "loop":
            yield from ((slot, "glyph", lambda value, slot=slot: slot.at(value, 1)) for slot in draw.slots("slot", size=SLOTS))
        elif where == "plate":
            yield draw, "glyph", lambda value: value
        else:
            names = [f"glyph{k}" for k in range(SLOTS)] if where == "apart" else ["glyph"]
            yield from ((draw, name, lambda value, k=k: value[..., k, :]) for k, name in enumerate(names))

    def q(self: Side, draw: Draws) -> None:
        page = draw.given("page")
        count = draw.enumerate("count", Categorical(self.count(page=page)), axis=0)
        if counted:
            draw.active("slot", count, values=(1, 3), size=SLOTS)
        pictures = self.look(page=page).unflatten(-1, (SLOTS, 4)) + count[..., :1].unsqueeze(-1)
        before = torch.zeros(1)
        for slot, name, see in each(draw):
            image = slot.mean(f"{name}.image", Normal(see(pictures) + carried * before, 0.5), plates=around)
            if flat:
                made = glyph_q(self.glyph, slot, image, f"{name}.", 1, around, how)
            else:
                made = slot.call(name, self.glyph, plates=around, image=image)
            before = made["width"]

    def p(self: Side, draw: Draws) -> None:
        count = draw.sample("count", Categorical(torch.zeros(2)))
        active = draw.active("slot", count, values=(1, 3), size=SLOTS) if counted else torch.ones(SLOTS)
        images = []
        for slot, name, _ in each(draw):
            made = glyph_p(self.glyph, slot, f"{name}.", around) if flat else slot.call(name, self.glyph, plates=around)
            images.append(made["image"])
        apart = torch.stack(torch.broadcast_tensors(*images * (SLOTS // len(images))), -2)
        seen = images[0] if where == "plate" else draw.stack("glyph.image") if where == "loop" else apart
        draw.sample("page", Normal((active.unsqueeze(-1) * seen).sum(-2) @ self.mix, 0.5))

    torch.manual_seed(1)
    count, look = (Mlp({"page": (5,)}, hidden=[], heads={"head": (size,)}) for size in (2, 4 * SLOTS))
    sides = Side(q, glyph=encoder, count=count, look=look), Side(p, glyph=decoder, mix=torch.randn(4, 5))
    slots = PLATE if where in ("plate", "loop") else {}
    variables = {
        "count": Variable("supervised", Categorical, (2,), enumerated=True),
        "page": Variable("observed", Normal, (5,)),
    }
    plates = {"slot": Count("count", (1, 3))} if counted else {}
    for name in [f"glyph{k}" for k in range(SLOTS)] if where == "apart" else ["glyph"]:
        plates[f"{name}.stroke"] = Count(f"{name}.count", (1, 2))
        variables |= {
            f"{name}.tone": Variable("given", Normal, (), plates=slots),
            f"{name}.image": Variable("supervised", Normal, (4,), collapse=True, plates=slots),
            f"{name}.kind": Variable("supervised", Bernoulli, (), enumerated=how == "enumerate", plates=slots),
            f"{name}.width": Variable("latent", Normal, (1,), plates=slots),
            f"{name}.count": Variable("latent", Categorical, (2,), enumerated=how == "enumerate", plates=slots),
            f"{name}.stroke.at": Variable("latent", Normal, (1,), plates={**slots, f"{name}.stroke": STROKES}),
        }
    return by_hand(*sides, variables, plates=plates)


def rows() -> dict[str, Tensor]:
    """Five rows, in which labels of the count, and in some slots of the kind and of the picture, are there or not."""
    generator = torch.Generator().manual_seed(2)
    kinds, images = torch.tensor([[0, 0, 0], [1, 1, 1], [1, 0, 0], [0, 0, 0], [0, 0, 0]]), torch.zeros(5, SLOTS)
    images[1, :2], images[3, 2] = 1, 1
    return {
        "page": torch.randn((5, 5), generator=generator),
        "count": torch.tensor([-1, 1, 0, 1, -1]),
        "glyph.tone": torch.randn((5, SLOTS), generator=generator),
        "glyph.kind": torch.rand((5, SLOTS), generator=generator).round().where(kinds > 0, torch.nan),
        "glyph.image": torch.randn((5, SLOTS, 4), generator=generator).where(images.unsqueeze(-1) > 0, torch.nan),
    }


def seen_from(data: Mapping[str, Tensor], where: Where) -> dict[str, Tensor]:
    """What is in slots as a page has it: of each slot under its own name, or of the first alone."""
    if where in ("plate", "loop"):
        return dict(data)
    names = {f"glyph{k}": k for k in range(SLOTS)} if where == "apart" else {"glyph": 0}
    inside = {key.removeprefix("glyph."): value for key, value in data.items() if "." in key}
    outside = {key: value for key, value in data.items() if "." not in key}
    return outside | {f"{name}.{key}": value[:, k] for name, k in names.items() for key, value in inside.items()}


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(3)


def outcomes(model: Model, where: Where) -> dict[str, Any]:
    """Whatever a model says from the same draws: of all rows, of them without labels, and of one with all of its kinds."""
    data, found = seen_from(rows(), where), dict[str, Any]()
    unlabelled = {name: value for name, value in data.items() if "page" in name or "tone" in name}
    for key, known in {"some": data, "none": unlabelled, "all": {name: value[1:2] for name, value in data.items()}}.items():
        bound = model.objective(known, 2, generator(), model.knobs(alpha=1.5, temperature={"glyph.kind": 0.7}))
        found |= {f"bound {key}": bound, f"slopes {key}": slopes(model, bound)}
        found[f"evidence {key}"] = tuple(model.log_evidence(known, 2, generator()))
        found |= {f"predicted {by} {key}": model.predict(known, 2, generator(), by) for by in ("importance", "q")}
    found["imputed"] = {name: each.draws for name, each in model.impute(data, 2, 2, generator()).items()}
    tones = {name: value for name, value in data.items() if "tone" in name}
    return found | {"generated": model.sample(5, tones, generator(), mean=True)}


def assert_same(one: Mapping[str, Any], other: Mapping[str, Any]) -> None:
    for key, found in one.items():
        torch.testing.assert_close(
            found, other[key], rtol=1e-10, atol=1e-10, equal_nan=True, msg=lambda text, key=key: f"{key}: {text}"
        )


@pytest.mark.parametrize("how", ["enumerate", "concrete", "sample"])
@pytest.mark.parametrize("where", ["alone", "plate"])
def test_a_call_is_the_model_written_flat(where: Where, how: str) -> None:
    """With labels, temperatures, counts and enumerations inside and outside."""
    assert_same(outcomes(page(where, how=how), where), outcomes(page(where, flat=True, how=how), where))


@pytest.mark.parametrize("how", ["enumerate", "concrete"])
def test_calls_slot_by_slot_are_calls_in_all_slots_at_once(how: str) -> None:
    """Where no slot looks at the one before: the glyph's own plate stands behind that of the loop.

    Of what q says where it knows labels, a loop has another estimate, for it cannot tell which slots they stand behind; and
    draws that fill in choose among cells in another order.
    """
    looped = outcomes(page("loop", how=how), "loop")
    for key in ("predicted q some", "predicted q all", "imputed"):
        del looped[key]
    assert_same(looped, outcomes(page("plate", how=how), "plate"))


def test_calls_in_a_loop_are_calls_one_by_one() -> None:
    """Where each slot looks at the one before."""
    noise, outcome = page("loop", how="sample", carried=0.3).noise(2, 5, generator()), []
    for where in ("loop", "apart"):
        model = page(where, how="sample", carried=0.3)
        data = {name: value for name, value in rows().items() if name != "count"}
        block = Block(model.evidence(seen_from(data, where)), noise if where == "loop" else apart(noise))
        bound = model.estimate(block, model.knobs(alpha=1.5))[1].bound
        outcome.append((bound, slopes(model, bound)))
    torch.testing.assert_close(*outcome, rtol=1e-10, atol=1e-10)


def apart(noise: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Noise [sample, row, slot, ...] of each slot under a name of its own."""
    return {f"glyph{k}.{key.removeprefix('glyph.')}": value[:, :, k] for key, value in noise.items() for k in range(SLOTS)}


# A sub-model in a sub-model, and what it hands out.


def word_sides() -> tuple[Side, Side]:
    """A word has one letter, which is a mark behind a mean; q of the letter hands its features out."""

    def inner_q(self: Side, draw: Draws) -> None:
        features = self.gain * draw.given("ink")
        draw.keep("features", features, event=0)
        draw.sample("shape", Normal(features, 0.5, event=0))

    def inner_p(self: Side, draw: Draws) -> None:
        shape = draw.sample("shape", Normal(0.0, 1.0, event=0))
        draw.sample("ink", Normal(self.weight * shape, 0.4, event=0))

    def outer_q(self: Side, draw: Draws) -> None:
        letter = draw.call("letter", self.letter, ink=draw.given("ink"))
        draw.keep("features", letter["features"], event=0)
        draw.sample("sound", Normal(letter["shape"] + letter["features"], 0.6, event=0))

    def outer_p(self: Side, draw: Draws) -> None:
        draw.sample("sound", Normal(0.0, 1.0, event=0))
        draw.call("letter", self.letter)

    return (
        Side(outer_q, letter=Side(inner_q, gain=scalar(0.7))),
        Side(outer_p, letter=Side(inner_p, weight=scalar(1.3))),
    )


def text(looped: bool) -> Model:
    """Words of which the ink of each is seen; behind them stands a mean of what the letters in them hand out."""
    around = {} if looped else PLATE

    def each(draw: Draws) -> Iterator[Draws]:
        return draw.slots("slot", size=SLOTS) if looped else iter([draw])

    def q(self: Side, draw: Draws) -> None:
        ink = draw.given("word.letter.ink")
        for slot in each(draw):
            made = slot.call("word", self.word, plates=around, ink=slot.at(ink, 0) if looped else ink)
            assert set(made) == {"letter.shape", "letter.features", "features", "sound"}
        features = draw.stack("word.features") if looped else made["features"]
        draw.sample("theme", Normal(features.mean(-1), 0.3, event=0))

    def p(self: Side, draw: Draws) -> None:
        draw.sample("theme", Normal(0.0, 1.0, event=0))
        for slot in each(draw):
            slot.call("word", self.word, plates=around)

    encoder, decoder = word_sides()
    latent = {name: Variable("latent", Normal, (), plates=PLATE) for name in ("word.letter.shape", "word.sound")}
    variables = {
        "theme": Variable("latent", Normal, ()),
        **latent,
        "word.letter.ink": Variable("observed", Normal, (), plates=PLATE),
    }
    return by_hand(Side(q, word=encoder), Side(p, word=decoder), variables, frozen=("word.letter",))


@pytest.mark.parametrize("looped", [False, True])
def test_a_sub_model_in_a_sub_model(looped: bool) -> None:
    """Its variables have both names before their own, and computed values come out of it: against plain formulas."""
    model, ink = text(looped), torch.tensor([[0.5, -1.0, 2.0], [0.1, 0.2, 0.3]])
    block = model.block({"word.letter.ink": ink}, 4, generator())
    _, estimate = model.estimate(block, model.knobs())
    normal = torch.distributions.Normal
    q_shape, q_theme = normal(0.7 * ink, 0.5), normal(0.7 * ink.mean(-1), 0.3)
    shape = q_shape.loc + 0.5 * block.noise["word.letter.shape"]
    q_sound = normal(shape + 0.7 * ink, 0.6)
    sound, theme = q_sound.loc + 0.6 * block.noise["word.sound"], q_theme.loc + 0.3 * block.noise["theme"]
    log_p = normal(0.0, 1.0).log_prob(shape) + normal(0.0, 1.0).log_prob(sound) + normal(1.3 * shape, 0.4).log_prob(ink)
    ratio = (log_p - q_shape.log_prob(shape) - q_sound.log_prob(sound)).sum(-1)
    ratio = ratio + normal(0.0, 1.0).log_prob(theme) - q_theme.log_prob(theme)
    torch.testing.assert_close(estimate.bound, ratio.mean(0))


def letters(called: bool, bound: str) -> Model:
    """Letters in a loop: each a sub-model that is called, or the same draws in its place."""

    def letter_q(self: Side, draw: Draws, ink: Tensor, name: str) -> None:
        draw.sample(f"{name}shape", Normal(self.gain * ink, self.scale.exp(), event=0))

    def letter_p(self: Side, draw: Draws, name: str) -> None:
        shape = draw.sample(f"{name}shape", Normal(0.0, 1.0, event=0))
        draw.sample(f"{name}ink", Normal(self.weight * shape, 0.4, event=0))

    inner_q = Side(lambda self, draw: letter_q(self, draw, draw.given("ink"), ""), gain=scalar(0.7), scale=scalar(-0.5))
    inner_p = Side(lambda self, draw: letter_p(self, draw, ""), weight=scalar(1.3))

    def q(self: Side, draw: Draws) -> None:
        ink = draw.given("letter.ink")
        for slot in draw.slots("slot", size=SLOTS):
            seen = slot.at(ink, 0)
            if called:
                slot.call("letter", self.letter, ink=seen)
            else:
                letter_q(self.letter, slot, seen, "letter.")
        draw.sample("theme", Normal(draw.stack("letter.shape").mean(-1), 0.3, event=0))

    def p(self: Side, draw: Draws) -> None:
        draw.sample("theme", Normal(0.0, 1.0, event=0))
        for slot in draw.slots("slot", size=SLOTS):
            if called:
                slot.call("letter", self.letter)
            else:
                letter_p(self.letter, slot, "letter.")

    plates = {"slot": SLOTS}
    variables = {
        "theme": Variable("latent", Normal, ()),
        "letter.shape": Variable("latent", Normal, (), plates=plates),
        "letter.ink": Variable("observed", Normal, (), plates=plates),
    }
    return by_hand(Side(q, letter=inner_q), Side(p, letter=inner_p), variables, bound=bound)


@pytest.mark.parametrize("bound", ["importance", "importance_dreg"])
def test_a_call_in_a_loop_is_the_model_written_flat_under_every_bound(bound: str) -> None:
    data = {"letter.ink": torch.tensor([[0.5, -1.0, 2.0], [0.1, 0.2, 0.3]])}
    outcome = []
    for called in (True, False):
        model = letters(called, bound)
        bounds = model.objective(data, 4, torch.Generator().manual_seed(3))
        outcome.append((bounds, slopes(model, bounds)))
    torch.testing.assert_close(*outcome, rtol=1e-12, atol=1e-12)
    assert all(slope.any() for slope in outcome[0][1].values())


# Counts inside and outside, as they are compiled.

GLYPH = """
model: glyph
plates: {stroke: {size: 2, active: count}}
variables:
  count: {distribution: categorical, values: [0, 1, 2]}
  at: {distribution: normal, plate: stroke}
  image: {distribution: normal, size: 3, role: observed}
p: {image: {parents: [at, count], network: {hidden: [4], pool: sum}}}
q:
  count: {parents: [image], network: {hidden: [4]}}
  at: {parents: [image, stroke], network: {hidden: [4]}}
"""
PAGE = """
model: page
plates: {slot: {size: 2, active: number}, view: {size: 2}, part: {size: 2, active: parts}}
submodels: {glyph: {spec: glyph.yaml, plate: slot}}
variables:
  number: {distribution: categorical, values: [1, 2], role: supervised}
  parts: {distribution: categorical, values: [1, 2], plate: view, role: supervised}
  mark: {distribution: normal, plate: [view, part]}
  page: {distribution: normal, size: 4, role: observed}
p:
  glyphs: {parents: [glyph.image], network: {hidden: [4], pool: mean}}
  marks: {plate: view, parents: [mark], network: {hidden: [4], pool: sum}}
  views: {parents: [marks], network: {hidden: [4], pool: max}}
  page: {parents: [glyphs, views, number], network: {hidden: [5]}}
q:
  number: {parents: [page], network: {hidden: [4]}}
  parts: {parents: [page, view], network: {hidden: [4]}}
  mark: {parents: [page, part], network: {hidden: [4]}}
  glyph.image: {parents: [page, slot], network: {hidden: [4]}}
"""


def test_counts_agree_with_the_oracle(tmp_path: Path) -> None:
    """Of a sub-model's own plate, in each slot of another one; and of parts, in each view."""
    (tmp_path / "glyph.yaml").write_text(GLYPH, encoding="utf-8")
    (tmp_path / "page.yaml").write_text(PAGE, encoding="utf-8")
    compilation = compile_file(tmp_path / "page.yaml")
    model = random_model(load(compilation.code, "page"), generator())
    data = random_data(model.variables, 5, generator())
    noise = model.noise(2, 5, generator())
    alpha, beta = {"number": 0.7, "parts": 1.4}, {name: 1.0 for name, kind in model.variables.items() if kind.inferred}
    expected = objective(compilation.plan, model.state_dict(), data, noise, alpha, beta)
    found = model.estimate(Block(model.evidence(data), noise), model.knobs(alpha, beta))[1].bound
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)


# What does not train.


class Noisy(nn.Module):
    """A sub-model with running statistics and units that are dropped in training."""

    def __init__(self) -> None:
        super().__init__()
        self.kind = Mlp({"image": (4,)}, hidden=[6], heads={"loc": (2,)}, dropout=0.5, normalisation="batch")

    def forward(self, evidence: Mapping[str, Evidence], noise: Mapping[str, Tensor], knobs: Any) -> dict[str, Any]:
        draw = Draws(evidence, noise, knobs)
        draw.sample("style", Normal(self.kind(image=draw.given("image")), 1.0))
        return draw.made


def test_what_is_frozen_never_changes() -> None:
    """Neither its weights nor its running statistics, and no unit of it is dropped; but gradients pass through it."""

    def q(self: Side, draw: Draws) -> None:
        draw.call("glyph", self.glyph, image=draw.given("page") * self.gain)

    def p(self: Side, draw: Draws) -> None:
        draw.sample("page", Normal(draw.sample("glyph.style", Normal(0.0, 1.0)).sum(-1, keepdim=True) * self.gain, 1.0))

    variables = {"glyph.style": Variable("latent", Normal, (2,)), "page": Variable("observed", Normal, (4,))}
    model = by_hand(Side(q, glyph=Noisy(), gain=torch.ones(4)), Side(p, gain=scalar(1.0)), variables, frozen=("glyph",)).train()
    page = torch.randn((8, 4), generator=generator())
    before = {name: value.clone() for name, value in model.encoder.glyph.state_dict().items()}
    optimiser = torch.optim.SGD(model.parameters(), lr=0.1, weight_decay=0.1)
    bounds = [model.objective({"page": page}, 1, generator()) for _ in range(2)]
    torch.testing.assert_close(*bounds)
    bounds[0].sum().backward()
    optimiser.step()
    torch.testing.assert_close(dict(model.encoder.glyph.state_dict()), before, rtol=0, atol=0)
    assert model.encoder.gain.grad.abs().min() > 0
    assert model.training
    assert not model.encoder.glyph.training
    assert not any(each.training for each in model.encoder.glyph.modules())


MARK = """
model: mark
variables:
  style: {distribution: normal, size: 2}
  ink: {distribution: normal, size: 3, role: observed}
p: {ink: {parents: [style], network: {hidden: [5], normalisation: batch}}}
q: {style: {parents: [ink], network: {hidden: [5], normalisation: batch}}}
"""
BOARD = """
model: board
plates: {slot: {size: 3, active: count}}
submodels: {mark: {spec: mark.yaml, plate: slot}}
variables:
  count: {distribution: categorical, values: [1, 2, 3], role: supervised}
  board: {distribution: normal, size: 4, role: observed}
p: {board: {parents: [mark.ink], network: {hidden: [5], pool: sum}}}
q:
  count: {parents: [board], network: {hidden: [5], normalisation: batch}}
  mark.ink: {parents: [board, slot], network: {hidden: [5]}}
"""


def test_batch_normalisation_in_a_sub_model_sees_no_inactive_slot(tmp_path: Path) -> None:
    """It trains, by the statistics that it has; that of the model itself, outside of the slots, follows the batches."""
    (tmp_path / "mark.yaml").write_text(MARK, encoding="utf-8")
    (tmp_path / "board.yaml").write_text(BOARD, encoding="utf-8")
    model = random_model(load(compile_file(tmp_path / "board.yaml").code, "board"), generator()).train()
    state = {name: value.clone() for name, value in model.state_dict().items() if "running" in name}
    evidence = model.evidence({"board": torch.randn((6, 4), generator=generator()), "count": torch.tensor([0, 1] * 3)})
    noise, found = model.noise(2, 6, generator()), []
    for filling in (0.0, 5.0):
        inactive = torch.arange(3) > torch.tensor([0, 1] * 3)[:, None]
        filled = {name: value.masked_fill(inactive[..., None], filling) for name, value in noise.items()}
        bound = model.estimate(Block(evidence, filled), model.knobs())[1].bound
        found.append((bound, slopes(model, bound)))
    torch.testing.assert_close(*found)
    assert found[0][1]["encoder.mark.style.body.0.weight"].any()
    moved = {name for name, value in model.state_dict().items() if name in state and not torch.equal(value, state[name])}
    assert moved == {"encoder.count.body.0.running_mean", "encoder.count.body.0.running_var"}


# What goes wrong.


def test_a_failure_inside_names_the_variable_and_its_file() -> None:
    compilation = compile_file(ROOT / "specs" / "multi_mnist.yaml")
    model = load(compilation.code, compilation.spec.model)()
    network: Any = model.get_submodule("decoder.glyph.image.first")
    network.weight_style = nn.Parameter(torch.zeros(network.weight_style.shape[0], 99))
    with pytest.raises(RuntimeError) as caught:
        model.objective({"canvas": torch.rand(2, 1, 50, 50)}, 2)
    assert caught.value.__notes__[0].startswith("while computing 'image' (mnist.yaml:")
    assert ": logits = self.image(digit=digit, style=style)\n  with digit [" in caught.value.__notes__[0]
