"""The command line as a person meets it: what is printed, and the exit code."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def graphvae(*arguments: object, folder: Path = ROOT) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "graphvae", *map(str, arguments)]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder, env=environment)


def test_check_says_that_all_is_well() -> None:
    done = graphvae("check", "specs/mnist.yaml")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "specs/mnist.yaml: p(digit, style, image), q(digit, style | image): no errors, 0 warning(s)\n"


def test_a_mistake_ends_with_its_place_and_exit_code_2(tmp_path: Path) -> None:
    text = (ROOT / "specs" / "mnist.yaml").read_text().replace("[digit, style]", "[digit, stile]")
    (tmp_path / "mnist.yaml").write_text(text)
    done = graphvae("check", "mnist.yaml", folder=tmp_path)
    assert done.returncode == 2
    assert done.stderr.splitlines() == [
        "mnist.yaml:10:28: error[GV104]: 'image' has an unknown parent 'stile' in p",
        "  10 |   image: {parents: [digit, stile], network: {hidden: [256], normalisation: batch}}",
        "     |                            ^^^^^",
        "  did you mean 'style'? the variables are: digit, style, image",
    ]


@pytest.mark.parametrize("stage", ["spec", "graph", "plan", "code"])
def test_show_prints_every_form(stage: str) -> None:
    done = graphvae("show", "specs/digits.yaml", "--stage", stage)
    assert done.returncode == 0
    assert "style" in done.stdout


def test_compile_writes_code_that_runs_alone(tmp_path: Path) -> None:
    done = graphvae("compile", ROOT / "specs" / "mnist.yaml", "-o", tmp_path / "model.py", "--standalone")
    assert done.returncode == 0
    script = "import model; print(sorted(model.Mnist().sample(2)))"
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert ran.stdout == "['digit', 'image', 'style']\n"


def test_train_evaluate_and_resume(tmp_path: Path) -> None:
    spec = ROOT / "specs" / "digits.yaml"
    trained = graphvae("train", spec, "--set", "training.epochs=2", folder=tmp_path)
    assert trained.returncode == 0, trained.stderr
    assert "50 of 1,438 rows reveal digit" in trained.stdout
    assert "reconstruction.image" in trained.stdout
    run = tmp_path / "runs" / "digits" / "1"
    assert run.is_dir()
    resumed = graphvae("train", "--resume", run)
    assert resumed.returncode == 0, resumed.stderr
    evaluated = graphvae("evaluate", run, "--samples", 4)
    assert evaluated.returncode == 0, evaluated.stderr
    assert "error of digit by q" in evaluated.stdout
    assert (run / "evaluation.json").is_file()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["check", "nowhere.yaml"], "cannot read nowhere.yaml: no such file or directory"),
        (["train"], "a training begins with a spec or goes on with a run"),
        (["train", "specs/digits.yaml", "--resume", "runs/x"], "a training begins with a spec or goes on with a run"),
        (["train", "--resume", "specs"], "specs is not a run folder"),
        (["evaluate", "specs"], "specs is not a run folder"),
        (["check", "specs/digits.yaml", "--set", "training.epochs"], "'training.epochs' is not KEY=VALUE"),
        (["check", "specs/digits.yaml", "--set", "training.epoch=5"], "unknown key 'epoch'"),
        (["compile", "specs/digits.yaml", "-o", "no/such/folder/model.py"], "cannot write no/such/folder/model.py"),
        (["train", "specs/mnist.yaml", "--data", "specs"], "there is no train-images-idx3-ubyte.gz in specs"),
        (["render", "specs/digits.yaml", "-o", "picture.gif"], "picture.gif"),
    ],
)
def test_every_mistake_is_one_clear_message(arguments: list[str], message: str) -> None:
    done = graphvae(*arguments)
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr
