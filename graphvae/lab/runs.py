"""Run folders: `runs/MODEL/NAME` holds a training and everything that led to it.

spec.yaml                the resolved spec, every default in it
submodels/NAME.yaml      the same of each sub-model, where spec.yaml looks for it
model.py                 the emitted code, for reading: nothing in the folder is ever executed
manifest.json            versions, threads, seeds, data, labelled rows, weights of the objective, checksum of a plugin
metrics.jsonl            a line an epoch, every term by name
events/                  the same for TensorBoard
checkpoint.safetensors   weights, optimiser and progress, replaced in one stroke
evaluation.json          what `graphvae evaluate` measured
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from graphvae.compiler.errors import FlagError, RunError
from graphvae.compiler.graph import ModelGraph
from graphvae.compiler.pipeline import Compilation, compile_file
from graphvae.compiler.plugins import Plugin
from graphvae.compiler.shown import Shown
from graphvae.compiler.spec import Spec
from graphvae.lab.folders import new_folder
from graphvae.lab.models import new_model
from graphvae.runtime import Model

MODEL, OPTIMISER = "model.", "optimiser."


@dataclass(frozen=True)
class Checkpoint:
    """The state of a training after a number of epochs and steps."""

    epoch: int
    step: int
    model: Mapping[str, Tensor]
    optimiser: Mapping[str, Tensor]


@dataclass(frozen=True)
class Run(Shown):
    """A run folder, and the file of the plugin that its model needs, which is no part of it."""

    folder: Path
    plugin: Path | None = None

    def _shown(self) -> tuple[ModelGraph, list[str]]:
        """The model, where the run is, and how far it came."""
        graph, lines = self.compile()._shown()
        epochs = self.metrics()
        last = [f"epoch {epochs[-1]['epoch']}: bound {epochs[-1]['bound']:.4g}"] if epochs else ["not one epoch yet"]
        return graph, [*lines, str(self.folder), *last]

    @property
    def manifest(self) -> dict[str, Any]:
        """What the training was started with."""
        found: dict[str, Any] = self._read_json("manifest.json")
        return found

    def compile(self) -> Compilation:
        """The run's spec, compiled anew.

        Raises:
            RunError: If the run needs a plugin, and was opened without it or with another.
        """
        recorded = self.manifest.get("plugin")
        if recorded and self.plugin is None:
            hint = f"pass it once more, if you trust it: --plugin {recorded['path']}"
            raise RunError.of("GV401", f"{self.folder} was trained with a plugin, and nothing is executed unasked", hint=hint)
        compilation = compile_file(self.folder / "spec.yaml", plugin=self.plugin)
        if compilation.plugin and compilation.plugin.sha256 != (recorded or {}).get("sha256"):
            message = f"the plugin {self.plugin} is not what {self.folder} was trained with: its checksum differs"
            raise RunError.of("GV401", message, hint="pass the file as it was then")
        return compilation

    def metrics(self) -> list[dict[str, Any]]:
        """The epochs so far. A last line that a kill cut short is left out."""
        path = self.folder / "metrics.jsonl"
        lines = path.read_text().split("\n") if path.exists() else []
        return [json.loads(line) for line in lines[:-1]]

    def append_metrics(self, values: Mapping[str, Any]) -> None:
        with (self.folder / "metrics.jsonl").open("a") as file:
            file.write(json.dumps(values) + "\n")

    def cut_metrics(self, epoch: int) -> None:
        """Forget the epochs after a checkpoint's."""
        kept = [json.dumps(line) + "\n" for line in self.metrics() if line["epoch"] <= epoch]
        replace_file(self.folder / "metrics.jsonl", "".join(kept).encode())

    def save(self, checkpoint: Checkpoint) -> None:
        """Replace the checkpoint: at any moment the folder holds the old one or the new one, whole."""
        tensors = {MODEL + name: value for name, value in checkpoint.model.items()}
        tensors |= {OPTIMISER + name: value for name, value in checkpoint.optimiser.items()}
        copies = {name: value.detach().contiguous().cpu().clone() for name, value in tensors.items()}
        progress = {"epoch": str(checkpoint.epoch), "step": str(checkpoint.step)}
        path = self.folder / "checkpoint.safetensors"
        save_file(copies, path.with_suffix(".new"), metadata=progress)
        path.with_suffix(".new").replace(path)

    def checkpoint(self) -> Checkpoint | None:
        """The last checkpoint; None before the first.

        Raises:
            RunError: If it cannot be read.
        """
        path = self.folder / "checkpoint.safetensors"
        if not path.exists():
            return None
        try:
            with safe_open(path, framework="pt") as file:
                progress = file.metadata()
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a mapping)
        except (SafetensorError, OSError) as error:
            raise RunError.of("GV401", f"{path} cannot be read: {error}") from None
        return Checkpoint(
            int(progress["epoch"]), int(progress["step"]), _with_prefix(MODEL, tensors), _with_prefix(OPTIMISER, tensors)
        )

    def write_json(self, name: str, values: Mapping[str, Any]) -> None:
        replace_file(self.folder / name, (json.dumps(values, indent=2) + "\n").encode())

    def _read_json(self, name: str) -> Any:
        try:
            return json.loads((self.folder / name).read_text())
        except (OSError, ValueError) as error:
            raise RunError.of("GV401", f"{self.folder / name} cannot be read: {error}") from None


def create(folder: Path, compilation: Compilation, manifest: Mapping[str, Any]) -> Run:
    """A new run folder, which is there whole or not at all; the manifest says which plugin it needs.

    Raises:
        FlagError: If the folder exists, since no run is ever overwritten, or cannot be made.
    """
    if folder.exists():
        hint = f"choose another name, or go on with it: graphvae train --resume {folder}"
        raise FlagError.of("GV501", f"the run {folder} exists", hint=hint)
    try:
        with new_folder(folder) as draft:
            _write_specs(draft, compilation.graph)
            replace_file(draft / "model.py", compilation.code.encode())
            Run(draft).write_json("manifest.json", {**manifest, "plugin": _record(compilation.plugin)})
        return Run(folder, compilation.plugin.path if compilation.plugin else None)
    except OSError as error:
        raise FlagError.of("GV501", f"cannot make the run folder {folder}: {error.strerror}") from None


def _write_specs(folder: Path, graph: ModelGraph) -> None:
    """A spec and those of its sub-models, each naming the others' files in this folder, and runs by their whole paths."""
    replace_file(folder / "spec.yaml", str(_moved(graph, graph.spec, "", "submodels/")).encode())
    if graph.submodels:
        (folder / "submodels").mkdir()
    for name, node in graph.submodels.items():
        replace_file(folder / "submodels" / f"{name}.yaml", str(_moved(graph, node.spec, f"{name}.", "")).encode())


def _moved(graph: ModelGraph, spec: Spec, path: str, folder: str) -> Spec:
    kept = kept_paths(graph, spec, path, folder)
    blocks = {name: block.model_copy(update=kept[name]) for name, block in spec.submodels.items()}
    return spec.model_copy(update={"submodels": blocks})


def kept_paths(graph: ModelGraph, spec: Spec, path: str, folder: str) -> dict[str, dict[str, str | None]]:
    """What a spec, at its path, says of sub-models where it is kept in a folder: their files there, and runs by whole paths."""
    weights = {name: graph.submodels[path + name].weights for name in spec.submodels}
    return {
        name: {"spec": f"{folder}{path}{name}.yaml", "weights": str(Path(run).resolve()) if run else None}
        for name, run in weights.items()
    }


def _record(plugin: Plugin | None) -> dict[str, str] | None:
    return {"path": str(plugin.path.resolve()), "sha256": plugin.sha256} if plugin else None


def open_run(run: str | Path | Run, plugin: str | Path | None = None) -> Run:
    """An existing run folder, with the plugin that its model needs.

    Raises:
        RunError: If there is none.
    """
    if isinstance(run, Run):
        return replace(run, plugin=Path(plugin)) if plugin else run
    path = Path(run)
    if not (path / "manifest.json").is_file():
        hint = "a run is a folder that 'graphvae train' made, such as runs/digits/1"
        raise RunError.of("GV401", f"{path} is not a run folder", hint=hint)
    return Run(path, Path(plugin) if plugin else None)


def free_name(folder: Path) -> Path:
    """The first free number under a model's folder."""
    taken = {path.name for path in folder.iterdir()} if folder.is_dir() else set()
    return folder / next(str(number) for number in range(1, len(taken) + 2) if str(number) not in taken)


def load(run: str | Path | Run, plugin: str | Path | None = None) -> Model:
    """The trained model of a run, ready to predict: its spec is compiled anew, and only tensors are read from the folder.

    Args:
        run: The run or its folder.
        plugin: The plugin that it was trained with, if any: the same bytes, wherever the file is now. It is executed.

    Raises:
        RunError: If there is no such run, no checkpoint in it yet, one that fits another model, or another plugin.

    >>> import graphvae
    >>> run = graphvae.train("specs/digits.yaml", ["training.epochs=1"])
    >>> model = load("runs/digits/1")
    >>> model.predict({"image": torch.zeros(3, 1, 8, 8)})["digit"].shape
    torch.Size([3, 10])
    """
    opened = open_run(run, plugin)
    checkpoint = opened.checkpoint()
    if checkpoint is None:
        raise RunError.of("GV401", f"{opened.folder} has no checkpoint yet")
    model = new_model(opened.compile())
    try:
        model.load_state_dict(dict(checkpoint.model))
    except RuntimeError as error:
        raise RunError.of("GV401", f"the checkpoint in {opened.folder} does not fit its spec: {error}") from None
    return model.eval()


def optimiser_tensors(optimiser: torch.optim.Optimizer) -> dict[str, Tensor]:
    """An optimiser's state as named tensors: `NUMBER.KEY` for each parameter's."""
    state = optimiser.state_dict()["state"]
    return {f"{number}.{key}": value for number, values in state.items() for key, value in values.items()}


def restore_optimiser(optimiser: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """The inverse of `optimiser_tensors`."""
    state: dict[int, dict[str, Tensor]] = {}
    for name, value in tensors.items():
        number, _, key = name.partition(".")
        state.setdefault(int(number), {})[key] = value
    optimiser.load_state_dict({**optimiser.state_dict(), "state": state})


def replace_file(path: Path, content: bytes) -> None:
    """Write a file in one stroke."""
    new = path.with_name(path.name + ".new")
    new.write_bytes(content)
    new.replace(path)


def _with_prefix(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
