"""Run standalone models where torch, what torch itself needs, and the standard library are all that can be imported.

    python -I standalone_run.py FOLDER

For every `NAME.py` in the folder, the weights and data in `NAME.pt` give the numbers in `NAME.out.pt`.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Mapping
from importlib.abc import MetaPathFinder
from pathlib import Path
from typing import Any

TORCH = {"torch", "torchgen", "functorch", "typing_extensions", "sympy", "mpmath", "filelock", "fsspec", "jinja2", "markupsafe"}


class Refuse(MetaPathFinder):
    """Whatever is not on the list is not installed."""

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> None:
        if name.split(".")[0] not in TORCH | sys.stdlib_module_names:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


def numbers(model: Any, data: Mapping[str, Any]) -> dict[str, Any]:
    """Every kind of number that a model gives, by name, from seeds that are the same on every call."""
    import torch

    def seeded() -> torch.Generator:
        return torch.Generator().manual_seed(1)

    model.eval()
    bound = model.objective(data, 3, seeded())
    bound.sum().backward()
    posterior = model.posterior(data, 3, seeded())
    given = {name: value for name, value in data.items() if model.variables[name].role == "given"}
    found = {"objective": bound.detach(), "weight": posterior.weight}
    found |= {f"gradient {name}": parameter.grad for name, parameter in model.named_parameters()}
    found |= {f"posterior {name}": value for name, value in posterior.values.items()}
    found |= {f"mean {name}": value for name, value in model.predict(data, 3, seeded(), "q").items()}
    found |= {f"evidence {name}": value for name, value in model.log_evidence(data, 3, seeded())._asdict().items()}
    return found | {f"sample {name}": value for name, value in model.sample(len(bound), given, seeded()).items()}


def run(folder: Path) -> None:
    import torch

    for path in sorted(folder.glob("*.py")):
        spec = importlib.util.spec_from_file_location(path.stem, path)
        module = importlib.util.module_from_spec(spec)
        sys.modules[path.stem] = module
        spec.loader.exec_module(module)
        saved = torch.load(path.with_suffix(".pt"), weights_only=True)
        model = [value for value in vars(module).values() if isinstance(value, type) and value.__module__ == path.stem][-1]()
        model.load_state_dict(saved["weights"])
        torch.save(numbers(model, saved["data"]), path.with_suffix(".out.pt"))


if __name__ == "__main__":
    sys.meta_path.insert(0, Refuse())
    run(Path(sys.argv[1]))
