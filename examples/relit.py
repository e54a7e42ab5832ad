"""Faces relit: who it is and the light are inferred from a photograph, and p draws the person under other lights.

Reads a run of specs/faces.yaml or specs/faces_intrinsic.yaml, infers the latent variables of test faces by q, and draws them
again. Of the second, which multiplies what the skin reflects by how the light falls on the form, it shows these, too. Writes
relit.png.

    graphvae train specs/faces_intrinsic.yaml --data yaleb_48x42.npz --run intrinsic
    python examples/relit.py intrinsic
"""

import argparse
from pathlib import Path

import matplotlib.pyplot as plt
import torch
from torch.nn.functional import one_hot

import graphvae
from graphvae.lab.data import load_data
from graphvae.lab.runs import open_run
from graphvae.runtime import Model, normalise

FACES = 4
LIGHTS = {"left": (-0.8, 0.0, 0.6), "above": (0.0, 0.8, 0.6), "front": (0.0, 0.0, 1.0), "right": (0.8, 0.0, 0.6)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--output", type=Path, default=Path("relit.png"))
    arguments = parser.parse_args()

    run = open_run(arguments.run)
    model = graphvae.load(run)
    test = load_data(run.compile().graph, model.variables, run.manifest["data"]["folder"]).test
    generator = torch.Generator().manual_seed(0)

    guess = model.predict({"image": test["image"]}, 1, generator, by="q")
    cosine = (normalise(guess["light"], -1) * test["light"]).sum(-1)
    print(f"{len(cosine)} test faces: {(guess['person'].argmax(-1) != test['person']).float().mean():.1%} of the people wrong,")
    print(f"their lights off by {cosine.clamp(-1, 1).arccos().rad2deg().mean():.1f} degrees on average")

    shown = torch.linspace(0, len(cosine) - 1, FACES).long()
    known = {"image": test["image"][shown], "person": guess["person"][shown].argmax(-1)}
    latent = model.predict(known, 100, generator, by="q") | {"person": known["person"]}
    columns = {"test face": known["image"], "drawn again": drawn(model, latent)} | intrinsic(model, latent)
    for name, light in LIGHTS.items():
        columns[f"lit: {name}"] = drawn(model, latent | {"light": torch.tensor(light).expand(FACES, 3)})

    figure, axes = plt.subplots(FACES, len(columns), figsize=(0.75 * len(columns), 0.87 * FACES))
    for column, (name, images) in zip(axes.T, columns.items(), strict=True):
        column[0].set_title(name, fontsize=7)
        for axis, image in zip(column, images, strict=True):
            axis.imshow(image.permute(1, 2, 0), cmap="gray", vmin=0, vmax=1)
            axis.set(xticks=[], yticks=[])
    for axis, person, truth in zip(axes[:, 0], known["person"], test["person"][shown], strict=True):
        axis.set_ylabel(f"person {truth}\nseen as {person}", fontsize=6)
    figure.subplots_adjust(wspace=0.05, hspace=0.05)
    figure.savefig(arguments.output, dpi=100, bbox_inches="tight")


def drawn(model: Model, latent: dict[str, torch.Tensor]) -> torch.Tensor:
    """The mean image [row, 1, 48, 42] of p under these values."""
    return model.sample(FACES, latent, mean=True)["image"].clamp(0, 1)


def intrinsic(model: Model, latent: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """What the networks of specs/faces_intrinsic.yaml say of form and skin, [row, channel, 48, 42] from 0 to 1."""
    if "form" not in latent:
        return {}
    person = one_hot(latent["person"], *model.variables["person"].event).float()
    with torch.no_grad():
        normals = normalise(model.decoder.normals(person=person, form=latent["form"]), -3)
        albedo = model.decoder.albedo(person=person, skin=latent["skin"]).sigmoid()
    shading = (normals * normalise(latent["light"], -1)[..., None, None]).sum(-3, keepdim=True).relu()
    return {"normals": (normals + 1) / 2, "albedo": albedo, "shading": shading}


if __name__ == "__main__":
    main()
