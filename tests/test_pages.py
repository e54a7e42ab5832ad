"""Pages of the documentation that are printed from the code say what the code says."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from models import ROOT

from graphvae.compiler.codes import CODES
from graphvae.compiler.families import FAMILIES
from graphvae.diagrams.render import render
from graphvae.diagrams.sketch import Style

ERRORS = (ROOT / "docs" / "errors.md").read_text("utf-8")


@pytest.mark.parametrize("name", ["families", "errors", "equations", "gallery"])
def test_a_page_is_what_is_printed(name: str) -> None:
    command = [sys.executable, ROOT / "docs" / f"{name}.py"]
    printed = subprocess.run(command, capture_output=True, encoding="utf-8", check=True).stdout
    assert printed == (ROOT / "docs" / f"{name}.md").read_text("utf-8"), f"python docs/{name}.py > docs/{name}.md"


def test_every_family_has_its_row() -> None:
    page = (ROOT / "docs" / "families.md").read_text("utf-8")
    assert all(f"| `{name}`" in page for name in FAMILIES)


@pytest.mark.parametrize("name", CODES)
def test_every_code_has_its_section_with_an_example(name: str) -> None:
    [section] = re.findall(rf"^### {name}\n(.*?)(?=^##|\Z)", ERRORS, re.MULTILINE | re.DOTALL)
    assert f"{'warning' if 'GV2' in name or name == 'GV403' else 'error'}[{name}]: " in section
    assert f"| [{name}](#{name.lower()}) | {CODES[name].meaning} |" in ERRORS


def test_the_object_that_the_page_shows_is_what_check_prints(tmp_path: Path) -> None:
    [shown] = re.findall(r"```json\n(.*?)```", ERRORS, re.DOTALL)
    text = (ROOT / "specs" / "mnist.yaml").read_text("utf-8").replace("[digit, style]", "[digit, stile]", 1)
    (tmp_path / "mnist.yaml").write_text(text, encoding="utf-8")
    command = [sys.executable, "-m", "graphvae", "check", "mnist.yaml", "--format", "json"]
    done = subprocess.run(command, capture_output=True, encoding="utf-8", check=False, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (2, "")
    assert json.loads(done.stdout) == json.loads(shown)
    rows = re.findall(r"^\| (`.*?) \|", ERRORS.partition("| key | is |")[2].partition("A spec that begins")[0], re.MULTILINE)
    keys = [key for row in rows for key in re.findall(r"`(\w+)`", row)]
    assert set(keys) == json.loads(shown)["diagnostics"][0].keys()


def test_the_gallery_has_every_spec_that_ships_and_no_other_picture() -> None:
    page = (ROOT / "docs" / "gallery.md").read_text("utf-8")
    shown = re.findall(r"^model: (\w+)$", page, re.MULTILINE)
    assert sorted(shown) == sorted(path.stem for path in (*ROOT.glob("specs/*.yaml"), *ROOT.glob("docs/gallery/*.yaml")))
    pictures = re.findall(r"\(gallery/(\w+\.svg)\)", page)
    assert sorted(pictures) == sorted(path.name for path in ROOT.glob("docs/gallery/*.svg"))


def test_pictures_of_the_gallery_are_those_of_their_specs(tmp_path: Path) -> None:
    """Marks and arrows by their names, whichever engine has placed them."""
    for old in sorted(ROOT.glob("docs/gallery/*.svg")):
        shipped = ROOT / "specs" / f"{old.stem}.yaml"
        spec = shipped if shipped.exists() else ROOT / "docs" / "gallery" / f"{old.stem.removeprefix('literature_')}.yaml"
        new = tmp_path / old.name
        render(spec, new, style=Style(width="one-column", view="overlay" if spec.stem == "vae" else "both"))
        said = [re.findall(r"<(?:title|desc)>(.*?)</", path.read_text("utf-8")) for path in (old, new)]
        assert sorted(said[0]) == sorted(said[1]), "python docs/gallery.py draw"
