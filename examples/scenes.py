"""Scenes taken apart: how many digits a model sees on a canvas, where, and what each looks like.

Reads a run of specs/multi_mnist.yaml or specs/multi_mnist_plain.yaml, infers the count of a few test scenes, and with it the
place and the glyph of every slot. Writes scenes.png: the scenes, what p makes of the inferred values, and the glyphs.

    graphvae train specs/multi_mnist_plain.yaml --data FOLDER_OF_MNIST --run plain
    python examples/scenes.py plain
"""

import argparse
from pathlib import Path

import matplotlib.pyplot as plt
import torch
from matplotlib.patches import Rectangle
from torch.nn.functional import one_hot

import graphvae
from graphvae.lab.data import load_data
from graphvae.lab.runs import open_run
from graphvae.runtime import Model

COLOURS = ["tab:orange", "tab:blue", "tab:green"]
SCENES = 10


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--output", type=Path, default=Path("scenes.png"))
    arguments = parser.parse_args()

    run = open_run(arguments.run)
    model = graphvae.load(run)
    test = load_data(run.compile().graph, model.variables, run.manifest["data"]["folder"]).test
    canvas, generator = test["canvas"], torch.Generator().manual_seed(0)

    count = model.predict({"canvas": canvas}, 1, generator, by="q")["count"].argmax(-1)
    print(f"the count of {len(canvas):,} test scenes: {(count == test['count']).float().mean():.1%} right")
    canvas, count = canvas[:SCENES], count[:SCENES]
    inferred = model.predict({"canvas": canvas, "count": count}, 1, generator, by="q")
    latent = {"count": count, **{name: inferred[name] for name in ("place", "look", "glyph.style") if name in inferred}}
    if "glyph.digit" in inferred:
        latent["glyph.digit"] = inferred["glyph.digit"].argmax(-1)
    again = model.sample(SCENES, latent, generator, mean=True)["canvas"]
    glyphs = drawn(model, latent)

    figure, axes = plt.subplots(5, SCENES, figsize=(7, 3.8), gridspec_kw={"wspace": 0.08, "hspace": 0.12})
    for row, name in enumerate(["scene", "inferred", "slot 0", "slot 1", "slot 2"]):
        axes[row, 0].set_ylabel(name, fontsize=7)
    for scene, column in enumerate(axes.T):
        column[0].imshow(canvas[scene, 0], cmap="gray_r", vmin=0, vmax=1)
        column[1].imshow(again[scene, 0], cmap="gray_r", vmin=0, vmax=1)
        column[0].set_title(f"{test['count'][scene] + 1} seen as {count[scene] + 1}", fontsize=6)
        for slot in range(count[scene] + 1):
            column[1].add_patch(outline(latent["place"][scene, slot], slot))
            column[2 + slot].imshow(glyphs[scene, slot, 0], cmap="gray_r", vmin=0, vmax=1)
            column[2 + slot].spines[:].set_color(COLOURS[slot])
            if "glyph.digit" in latent:
                column[2 + slot].text(1, 7, int(latent["glyph.digit"][scene, slot]), color=COLOURS[slot], fontsize=7)
        for axis in column:
            axis.set(xticks=[], yticks=[])
        for axis in column[3 + count[scene] :]:
            axis.spines[:].set_visible(False)
    figure.savefig(arguments.output, dpi=200, bbox_inches="tight")


@torch.no_grad()
def drawn(model: Model, latent: dict[str, torch.Tensor]) -> torch.Tensor:
    """The glyph of every slot, [row, slot, 1, 28, 28], by the network that the spec has for it."""
    if "look" in latent:
        return model.decoder.window(look=latent["look"]).sigmoid()
    digit = one_hot(latent["glyph.digit"], 10).float()
    return model.decoder.glyph.image(digit=digit, style=latent["glyph.style"]).sigmoid()


def outline(place: torch.Tensor, slot: int) -> Rectangle:
    """The edges of a window on the canvas of 50 pixels, whose `box` is as the specs compute it from a place [3]."""
    scale, *shifts = (place * torch.tensor([0.2, 0.8, 0.8]) + torch.tensor([2.4, 0.0, 0.0])).tolist()
    corner = [25 * ((-1 - shift) / scale + 1) - 0.5 for shift in shifts]
    return Rectangle(corner, 50 / scale, 50 / scale, fill=False, edgecolor=COLOURS[slot], linewidth=0.8)


if __name__ == "__main__":
    main()
