"""Settings from the command line: a value laid over the text, and messages that point into the setting."""

from __future__ import annotations

from pathlib import Path

import pytest

from graphvae.compiler.errors import FlagError, SpecError, UserError
from graphvae.compiler.pipeline import compile_source
from graphvae.compiler.settings import override
from graphvae.compiler.source import read, read_text

MNIST = Path(__file__).parent.parent / "specs" / "mnist.yaml"


def compiled(*settings: str) -> object:
    return compile_source(override(read(MNIST), settings)).graph.spec


def refusal(kind: type[UserError], *settings: str) -> str:
    with pytest.raises(kind) as caught:
        compiled(*settings)
    return str(caught.value)


def test_a_setting_replaces_a_value() -> None:
    source = read_text("model: m\ntraining: {epochs: 3, batch_size: 4}", "m.yaml")
    assert override(source, ["training.epochs=5"]).root == {"model": "m", "training": {"epochs": 5, "batch_size": 4}}
    assert source.root["training"]["epochs"] == 3


def test_settings_make_the_blocks_they_need_and_the_last_one_holds() -> None:
    root = override(read_text("model: m", "m.yaml"), ["a.b.c=1", "a.b.d=[x, 1e-1]", "a.b.c={e: no}"]).root
    assert root == {"model": "m", "a": {"b": {"c": {"e": "no"}, "d": ["x", 0.1]}}}


def test_values_are_read_as_in_a_file() -> None:
    root = override(read_text("model: m", "m.yaml"), ["a= 1e-3 ", "b=a=b", "c='010'", "d=true", "e=x # y"]).root
    assert root == {"model": "m", "a": 0.001, "b": "a=b", "c": "010", "d": True, "e": "x"}


def test_what_is_not_set_keeps_its_place() -> None:
    source = override(read(MNIST), ["training.epochs=5"])
    source.check()
    training = source.root["training"]
    assert str(training.spans["epochs"]) == "--set:1:17"
    assert str(training.key_spans["epochs"]) == "--set:1:10"
    assert str(training.spans["batch_size"]).startswith(str(MNIST))
    assert str(source.root.spans["training"]).startswith(str(MNIST))


def test_a_wrong_value_is_shown_in_its_setting() -> None:
    assert refusal(SpecError, "training.epochs=abc") == (
        "--set:1:17: error[GV052]: 'epochs' should be a whole number, and not 'abc'\n"
        "  1 | training.epochs=abc\n"
        "    |                 ^^^"
    )
    assert "--set:1:25: error[GV104]" in refusal(SpecError, "p.image.parents=[digit, stile]")
    assert "--set:1:17: error[GV002]" in refusal(SpecError, "training.epochs=[1")
    assert "--set:1:17: error[GV007]" in refusal(SpecError, "training.epochs=010")


def test_a_wrong_key_is_shown_in_its_setting() -> None:
    assert "--set:1:1: error[GV050]: unknown key 'trainig'" in refusal(SpecError, "trainig.epochs=5")
    assert "--set:1:10: error[GV050]: unknown key 'epoch'" in refusal(SpecError, "training.epoch=5")
    assert "did you mean 'epochs'?" in refusal(SpecError, "training.epoch=5")


@pytest.mark.parametrize("setting", ["training.epochs", "training.epochs=", "=5", "a..b=5", ".a=5", "a.=5", ""])
def test_what_is_not_key_equals_value(setting: str) -> None:
    assert refusal(FlagError, setting) == f"error[GV501]: '{setting}' is not KEY=VALUE\n  as in --set training.epochs=5"


def test_a_key_cannot_lead_into_a_list_or_a_scalar() -> None:
    assert refusal(FlagError, "p.image.parents.first=5") == (
        "--set:1:17: error[GV501]: 'p.image.parents' is a list and has no key 'first'\n"
        "  1 | p.image.parents.first=5\n"
        "    |                 ^^^^^\n"
        "  set the whole: --set 'p.image.parents=VALUE'"
    )
    assert "'model' is a single value and has no key 'x'" in refusal(FlagError, "model.x=5")


def test_mistakes_in_the_file_and_in_settings_are_told_apart() -> None:
    source = override(read_text("model: m\nx: 1", "m.yaml"), ["y=1"])
    with pytest.raises(SpecError) as caught:
        compile_source(source)
    places = [str(finding.span) for finding in caught.value.diagnostics if "unknown" in finding.message]
    assert places == ["--set:1:1", "m.yaml:2:1"]
