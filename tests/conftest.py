"""What the tests share: golden files, and `--bless` to rewrite them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

os.environ["OMP_NUM_THREADS"] = "1"  # before torch is loaded: bits are compared between processes, and tensors are small

GOLDEN = Path(__file__).parent / "golden"
collect_ignore_glob = ["golden/*"]  # the code there is run by test_golden, and holds no doctest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--bless", action="store_true", help="rewrite the golden files with what the code gives now")


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Callable[[str, str], None]:
    """Compare a text with a file under tests/golden; with --bless, rewrite the file."""

    def compare(name: str, text: str) -> None:
        path = GOLDEN / name
        if request.config.getoption("--bless"):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8", newline="\n")
        assert path.exists(), f"{path} is missing: pytest --bless writes it"
        assert text == path.read_text(encoding="utf-8"), f"{path} differs: pytest --bless rewrites it"

    return compare


@pytest.fixture
def float64() -> Iterator[None]:
    """Double precision for whatever a test makes, and one thread, which serves small tensors best."""
    import torch

    threads = torch.get_num_threads()
    torch.set_default_dtype(torch.float64)
    torch.set_num_threads(1)
    yield
    torch.set_default_dtype(torch.float32)
    torch.set_num_threads(threads)
