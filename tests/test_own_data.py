"""A person's own files from the spec to the run and back: labels where they are, names, units, the path, and the same bits."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow.csv
import pytest
import torch
from own_data import CHEMISTRY, CULTIVARS, digits, digits_folder, load, wine_folder, wine_holes, wine_rows, wines, write_csv
from sklearn.preprocessing import StandardScaler

from graphvae.compiler.errors import DataError, RunError
from graphvae.compiler.pipeline import compile_file
from graphvae.lab import training
from graphvae.lab.data import load_data, source_path
from graphvae.lab.evaluation import evaluate
from graphvae.lab.imputation import impute
from graphvae.lab.models import model_class
from graphvae.lab.runs import Run
from graphvae.lab.training import resume, train
from graphvae.lab.transforms import Coding

TEST = np.sort(np.random.default_rng(0).permutation(178)[:36])
TRAIN = np.setdiff1d(np.arange(178), TEST)


def held() -> tuple[np.ndarray, np.ndarray]:
    """What wine.csv holds: the chemistry with NaN in its holes, and the cultivars as sorted names number them, or -1."""
    chemistry, cultivar = wines()
    cells, labels = wine_holes()
    codes = np.array([sorted(CULTIVARS).index(CULTIVARS[each]) for each in cultivar])
    return np.where(cells, np.nan, chemistry), np.where(labels, -1, codes)


@pytest.fixture(scope="module")
def wine_run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return train(wine_folder(tmp_path_factory.mktemp("wine")), run=tmp_path_factory.mktemp("runs") / "run")


def test_a_csv_file_becomes_the_model_s_numbers(tmp_path: Path) -> None:
    dataset, (chemistry, cultivar) = load(wine_folder(tmp_path)), held()
    scaler = StandardScaler().fit(chemistry[TRAIN])
    for table, rows in ((dataset.train, TRAIN), (dataset.test, TEST)):
        np.testing.assert_allclose(table["chemistry"], scaler.transform(chemistry[rows]), rtol=1e-5, atol=1e-6)
        assert table["cultivar"].tolist() == cultivar[rows].tolist()
    assert dataset.coding.categories == {"cultivar": tuple(sorted(CULTIVARS))}
    np.testing.assert_allclose(dataset.coding.standards["chemistry"].mean, scaler.mean_, rtol=1e-12)
    np.testing.assert_allclose(dataset.coding.standards["chemistry"].deviation, scaler.scale_, rtol=1e-12)


def test_an_empty_cell_is_an_unlabelled_cell_and_the_budget_says_so(tmp_path: Path) -> None:
    spec, labelled = wine_folder(tmp_path), int((held()[1][TRAIN] >= 0).sum())
    dataset = load(spec)
    assert dataset.budget() == [f"{labelled} of 142 rows reveal cultivar"]
    assert dataset.labelled == tuple(np.flatnonzero(held()[1][TRAIN] >= 0).tolist())
    assert load(spec, "data.labels={cultivar: {fraction: 1.0}}").labelled == dataset.labelled
    fewer = load(spec, "data.labels={cultivar: {rows: 12, balanced: true}}")
    assert fewer.budget() == ["12 of 142 rows reveal cultivar"]
    assert set(fewer.labelled) < set(dataset.labelled)
    with pytest.raises(DataError, match=f"{labelled + 1} labelled rows are asked for, and there are {labelled} that have them"):
        load(spec, f"data.labels={{cultivar: {{rows: {labelled + 1}}}}}")


def test_a_column_without_empty_cells_reveals_nothing_by_itself(tmp_path: Path) -> None:
    spec = wine_folder(tmp_path)
    rows = [[CULTIVARS[label], *cells[1:]] for cells, label in zip(wine_rows(), wines()[1], strict=True)]
    write_csv(tmp_path / "wine.csv", ["cultivar", *CHEMISTRY], rows)
    assert load(spec).budget() == ["0 of 142 rows reveal cultivar"]


def test_every_part_of_the_rows_is_told(tmp_path: Path) -> None:
    spec = wine_folder(tmp_path)
    dataset = load(spec, "data.split={blocks: [0-99, 150-177]}", "data.validation={rows: 10, labels: true}")
    assert (dataset.rows, len(dataset.test["cultivar"])) == (90, 28)
    assert dataset.budget()[1:] == [
        "10 further rows, with the labels that they have, are set aside for validation",
        "50 rows stand in no block and are left out",
    ]
    _, cultivar = held()
    assert dataset.test["cultivar"].tolist() == cultivar[150:].tolist()


def test_a_label_is_standardised_by_what_is_revealed_of_it(tmp_path: Path) -> None:
    """Mean and deviation of hidden labels would be a leak."""
    amounts = np.random.default_rng(0).gamma(2.0, 10.0, 100)
    np.savez(tmp_path / "a.npz", amount=amounts, x=np.random.default_rng(1).normal(size=(100, 2)))
    (tmp_path / "a.yaml").write_text("""
model: a
variables:
  amount: {distribution: normal, role: supervised}
  x: {distribution: normal, size: 2, role: observed}
p: {x: [amount]}
q: {amount: [x]}
data:
  source: npz
  path: a.npz
  columns: {amount: amount, x: x}
  labels: {amount: {rows: 20}}
  transforms: {amount: standardise}
""")
    dataset = load(tmp_path / "a.yaml")
    train = np.setdiff1d(np.arange(100), np.random.default_rng(0).permutation(100)[:20])
    revealed = amounts[train][list(dataset.labelled)]
    np.testing.assert_allclose(dataset.coding.standards["amount"].mean, revealed.mean(), rtol=1e-12)
    np.testing.assert_allclose(dataset.coding.standards["amount"].deviation, revealed.std(), rtol=1e-12)
    shown = dataset.train["amount"][list(dataset.labelled)].double()
    np.testing.assert_allclose([shown.mean(), shown.std(correction=0)], [0, 1], atol=1e-6)
    assert dataset.train["amount"].isnan().sum() == 60
    np.testing.assert_allclose(dataset.in_units(dataset.test)["amount"], np.delete(amounts, train), rtol=1e-5)
    with pytest.raises(
        DataError, match=r"error\[GV308\]: 'amount' has no two different values in the training rows that show it"
    ):
        load(tmp_path / "a.yaml", "data.labels={amount: {rows: 1}}")


def test_what_cannot_be_standardised_is_named_by_its_column(tmp_path: Path) -> None:
    spec = wine_folder(tmp_path)
    rows = wine_rows()
    for row in TRAIN:
        rows[row][3] = "2.3" if row % 2 else ""
    write_csv(tmp_path / "wine.csv", ["cultivar", *CHEMISTRY], rows)
    with pytest.raises(DataError, match=r"(?s)'ash' of 'chemistry' has no two different values.*\{scale: \[LOW, HIGH\]\}"):
        load(spec)


def test_a_cell_that_is_wrong_is_shown_with_its_line_and_its_column(tmp_path: Path) -> None:
    spec, rows = wine_folder(tmp_path), wine_rows()
    rows[7][3] = "much"
    write_csv(tmp_path / "wine.csv", ["cultivar", *CHEMISTRY], rows)
    with pytest.raises(DataError) as error:
        load(spec)
    assert "'chemistry' should be numbers, and column 'ash' is 'much' in line 9 of wine.csv" in str(error.value)
    assert f"{spec}:17:38:" in str(error.value)
    rows[7][3], rows[20][2] = "2.5", "1e300"
    write_csv(tmp_path / "wine.csv", ["cultivar", *CHEMISTRY], rows)
    with pytest.raises(
        DataError, match=r"error\[GV308\]: 'malic_acid' of 'chemistry' has numbers too large to be standardised"
    ):
        load(spec)
    with pytest.raises(DataError, match=r"'chemistry' is inf in line 22 of wine.csv, column 'malic_acid', outside"):
        load(spec, "data.transforms={}")
    rows[20][2] = "-inf"
    write_csv(tmp_path / "wine.csv", ["cultivar", *CHEMISTRY], rows)
    with pytest.raises(
        DataError, match=r"'chemistry' is -inf in line 22 of wine.csv, column 'malic_acid': no value may be infinite"
    ):
        load(spec)
    rows[20][2] = ""
    write_csv(tmp_path / "wine.csv", ["cultivar", *CHEMISTRY], rows)
    row, column = map(int, np.argwhere([[not cell for cell in cells[1:]] for cells in rows])[0])
    message = f"'chemistry' is missing in line {row + 2} of wine.csv, column '{CHEMISTRY[column]}'"
    with pytest.raises(DataError, match=rf"(?s){message}.*missing: mask"):
        load(spec, "variables.chemistry={distribution: normal, size: 13, role: observed}")


def test_an_observed_category_may_be_missing_where_it_is_masked(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", kind=np.array(["a", "", "b", "a"] * 10), x=np.random.default_rng(0).normal(size=40))
    text = """
model: a
variables:
  kind: {distribution: categorical, categories: 2, role: ROLE}
  x: {distribution: normal, role: observed}
  z: {distribution: normal}
p: {x: [z], kind: [z]}
q: {z: [x, kind]}
data: {source: npz, path: a.npz, columns: {kind: kind, x: x}}
"""
    (tmp_path / "a.yaml").write_text(text.replace("ROLE", "observed"))
    with pytest.raises(DataError, match="'kind' is missing in row 1"):
        load(tmp_path / "a.yaml")
    (tmp_path / "a.yaml").write_text(text.replace("ROLE", "observed, missing: mask"))
    dataset = load(tmp_path / "a.yaml")
    assert sorted(torch.cat([dataset.train["kind"], dataset.test["kind"]]).tolist()) == [-1] * 10 + [0] * 20 + [1] * 10
    (tmp_path / "a.yaml").write_text(text.replace("ROLE", "given").replace("x: [z], kind: [z]", "x: [z, kind]"))
    with pytest.raises(DataError, match=r"(?s)'kind' is missing in row 1.*what is given must be there in every row"):
        load(tmp_path / "a.yaml")


def test_the_path_stands_beside_the_spec_and_a_flag_goes_before_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = wine_folder(tmp_path)
    found = source_path(compile_file(spec).spec, None)
    assert found == tmp_path / "wine.csv"
    assert source_path(compile_file(spec).spec, "other.csv") == Path("other.csv")
    assert source_path(compile_file(spec, ["data.path=other.csv"]).spec, None) == Path("other.csv")
    assert source_path(compile_file("specs/digits.yaml").spec, None) is None
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert load(spec).rows == 142
    write_csv(tmp_path / "part.csv", ["cultivar", *CHEMISTRY], wine_rows()[30:160])
    assert load(spec, path=tmp_path / "part.csv").rows == 104


def test_the_manifest_says_what_the_numbers_mean(wine_run: Run) -> None:
    chemistry, cultivar = held()
    data = wine_run.manifest["data"]
    assert data["coding"]["categories"] == {"cultivar": sorted(CULTIVARS)}
    np.testing.assert_allclose(data["coding"]["standards"]["chemistry"]["mean"], np.nanmean(chemistry[TRAIN], 0), rtol=1e-12)
    assert Path(data["folder"]).is_absolute()
    assert Path(data["folder"]).name == "wine.csv"
    assert wine_run.manifest["labels"]["revealed"] == {"cultivar": int((cultivar[TRAIN] >= 0).sum())}


def test_a_run_goes_on_wherever_it_is_asked_to(wine_run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    before = wine_run.metrics()
    resume(wine_run.folder)
    assert wine_run.metrics() == before


def test_only_rows_that_have_a_label_are_scored(wine_run: Run) -> None:
    found = evaluate(wine_run, samples=4)
    labelled = int((held()[1][TEST] >= 0).sum())
    value = found.predictions["cultivar"]["q"].value
    assert value * labelled == pytest.approx(round(value * labelled))
    assert 0 <= value <= 1
    error = found.predictions["cultivar"]["q"].standard_error
    assert error == pytest.approx((value * (1 - value) / labelled) ** 0.5)


def test_the_figures_say_in_which_units_the_evidence_is(wine_run: Run) -> None:
    found = evaluate(wine_run, samples=4)
    assert found.rescaled == json.loads((wine_run.folder / "evaluation.json").read_text())["rescaled"] == ["chemistry"]
    assert found.table().caption == "log p(row) is in the units after the transforms of chemistry"


def test_a_test_without_labels_has_no_errors(wine_run: Run, tmp_path: Path) -> None:
    rows = [["" if row in TEST else cells[0], *cells[1:]] for row, cells in enumerate(wine_rows())]
    found = evaluate(wine_run, samples=4, data=write_csv(tmp_path / "a.csv", ["cultivar", *CHEMISTRY], rows))
    assert found.predictions == {}
    assert np.isfinite(found.log_evidence)


def test_what_is_filled_in_has_the_data_s_names_and_units(wine_run: Run, tmp_path: Path) -> None:
    chemistry, cultivar = held()
    header = [*reversed(CHEMISTRY), "note", "cultivar"]
    rows = [[*reversed(cells[1:]), "-", cells[0]] for cells in wine_rows()]
    filled = impute(wine_run, write_csv(tmp_path / "other.csv", header, rows), samples=10, draws=3)
    for index, name in enumerate(CHEMISTRY):
        there = ~np.isnan(chemistry[:, index])
        np.testing.assert_array_equal(filled.means[name][there], chemistry[there, index])
        np.testing.assert_array_equal(filled.draws[name][:, there], np.tile(chemistry[there, index], (3, 1)))
        low, high = np.nanmin(chemistry[:, index]), np.nanmax(chemistry[:, index])
        assert (abs(filled.means[name] - (low + high) / 2) < 2 * (high - low)).all(), "in the units of its column"
    known = cultivar >= 0
    assert filled.categories == {"cultivar": tuple(sorted(CULTIVARS))}
    assert filled.draws["cultivar"][:, known].tolist() == [[sorted(CULTIVARS)[code] for code in cultivar[known]]] * 3
    assert set(filled.draws["cultivar"].ravel()) <= set(CULTIVARS)
    np.testing.assert_allclose(filled.means["cultivar"][~known].sum(1), 1, rtol=1e-5)
    assert (filled.table["cultivar"] == np.array(sorted(CULTIVARS))[filled.means["cultivar"].argmax(1)]).all()


def test_what_is_filled_in_is_the_inverse_of_what_the_model_says(wine_run: Run, tmp_path: Path) -> None:
    """Against the model itself, asked by hand in its own units."""
    from graphvae.lab import runs

    path = write_csv(tmp_path / "wine.csv", ["cultivar", *CHEMISTRY], wine_rows())
    filled = impute(wine_run, path, samples=10, draws=2, seed=3)
    chemistry, cultivar = held()
    mean, deviation = np.nanmean(chemistry[TRAIN], 0), np.nanstd(chemistry[TRAIN], 0)
    table = {
        "chemistry": torch.tensor((chemistry - mean) / deviation, dtype=torch.float32),
        "cultivar": torch.tensor(cultivar),
    }
    found = runs.load(wine_run).impute(table, 10, 2, torch.Generator().manual_seed(3))
    ours = np.stack([filled.means[name] for name in CHEMISTRY], 1)
    np.testing.assert_allclose(ours, found["chemistry"].mean.numpy() * deviation + mean, rtol=1e-4)
    drawn = np.stack([filled.draws[name] for name in CHEMISTRY], 2)
    np.testing.assert_allclose(drawn, found["chemistry"].draws.numpy() * deviation + mean, rtol=1e-4, atol=1e-3)


def test_a_filled_table_is_read_again(wine_run: Run, tmp_path: Path) -> None:
    path = write_csv(tmp_path / "wine.csv", ["cultivar", *CHEMISTRY], wine_rows())
    filled = impute(wine_run, path, samples=5, draws=2)
    for ending in ("csv", "parquet"):
        assert filled.save(tmp_path / f"filled.{ending}") == ["cultivar", *CHEMISTRY]
        again = impute(wine_run, tmp_path / f"filled.{ending}", samples=5, draws=2)
        for name in CHEMISTRY:
            np.testing.assert_array_equal(again.means[name], filled.means[name])
        assert again.table["cultivar"].tolist() == filled.table["cultivar"].tolist()
    table = pyarrow.csv.read_csv(tmp_path / "filled.csv")
    assert table.num_rows == 178
    assert sum(column.null_count for column in table.columns) == 0
    filled.save(tmp_path / "filled.npz")
    with np.load(tmp_path / "filled.npz") as file:
        assert file["cultivar.names"].tolist() == sorted(CULTIVARS)
        np.testing.assert_array_equal(file["ash.draws"], filled.draws["ash"])


def test_a_new_file_is_read_as_the_run_reads(wine_run: Run, tmp_path: Path) -> None:
    unlabelled = write_csv(tmp_path / "unlabelled.csv", CHEMISTRY, [cells[1:] for cells in wine_rows()[:5]])
    assert impute(wine_run, unlabelled, samples=3, draws=1).means["cultivar"].shape == (5, 3)
    one = write_csv(tmp_path / "one.csv", ["cultivar", *CHEMISTRY], [["barbera", *wine_rows()[0][1:]]])
    assert impute(wine_run, one, samples=3, draws=1).means["cultivar"].tolist() == [[1, 0, 0]]
    rows = [["merlot", *cells[1:]] for cells in wine_rows()]
    unknown = write_csv(tmp_path / "unknown.csv", ["cultivar", *CHEMISTRY], rows)
    for ask in (lambda: impute(wine_run, unknown), lambda: evaluate(wine_run, data=unknown)):
        with pytest.raises(DataError, match=r"(?s)'cultivar' is 'merlot' in line 2 of unknown.csv.*are: barbera, barolo"):
            ask()
    with pytest.raises(RunError, match="the data is not what"):
        resume(wine_run.folder, write_csv(tmp_path / "half.csv", ["cultivar", *CHEMISTRY], wine_rows()[:100]))


def test_a_coding_decides_about_other_rows(tmp_path: Path) -> None:
    """Two of the three names, other numbers: the run's own coding holds."""
    spec = wine_folder(tmp_path)
    coding = load(spec).coding
    two = [["barolo" if cells[0] == "barbera" else cells[0], *cells[1:]] for cells in wine_rows()[:120]]
    path = write_csv(tmp_path / "two.csv", ["cultivar", *CHEMISTRY], two)
    compilation = compile_file(spec)
    found = load_data(compilation.graph, model_class(compilation).variables, path, coding)
    assert found.coding == coding
    assert set(found.test["cultivar"].tolist()) <= {-1, 1, 2}
    with pytest.raises(DataError, match="has 2 names in the data, and 3 categories in the spec"):
        load(spec, path=path)


DIGITS = """
model: grey
variables:
  digit: {distribution: categorical, categories: 10, role: supervised}
  code: {distribution: normal, size: 2}
  image: {distribution: bernoulli, shape: [1, 8, 8], role: observed}
p: {image: {parents: [digit, code], network: {hidden: [8]}}}
q:
  digit: {parents: [image], network: {hidden: [8]}}
  code: {parents: [image, digit], network: {hidden: [8]}}
data:
  source: npz
  path: digits.npz
  columns: {image: image, digit: digit}
  transforms: {image: [{scale: [0, 255]}, binarise_each_time]}
  labels: {digit: {rows: 40}}
training: {epochs: 3, batch_size: 64}
"""


def digits_npz(folder: Path) -> Path:
    images, labels = digits(300)
    np.savez(folder / "digits.npz", image=images, digit=labels)
    (folder / "grey.yaml").write_text(DIGITS)
    return folder / "grey.yaml"


def test_switches_are_drawn_anew_in_the_training_and_once_for_the_test(tmp_path: Path) -> None:
    dataset = load(digits_npz(tmp_path), "data.validation={rows: 20, labels: true}")
    assert dataset.each_time == ["image"]
    images, _ = digits(300)
    test = np.sort(np.random.default_rng(0).permutation(300)[:60])
    assert set(dataset.test["image"].unique().tolist()) == {0.0, 1.0}
    assert dataset.validation
    assert set(dataset.validation["image"].unique().tolist()) == {0.0, 1.0}
    values = dataset.train["image"]
    assert set((values * 255).round().unique().tolist()) <= set(np.unique(images).tolist())
    assert ((values > 0) & (values < 1)).any()
    grey = images[test][:, None] / 255
    drawn = dataset.test["image"].numpy()
    assert ((drawn == 1) <= (grey > 0)).all()
    error = np.sqrt((grey * (1 - grey)).sum())
    assert abs(drawn.sum() - grey.sum()) < 4 * error


def test_fresh_switches_are_the_same_after_resuming(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[list[torch.Tensor]] = []
    plain = training.switched

    def watched(*arguments: object) -> object:
        blocks = plain(*arguments)  # type: ignore[arg-type]
        seen[-1] += [block.evidence["image"].value for block in blocks]
        return blocks

    monkeypatch.setattr(training, "switched", watched)
    spec = digits_npz(tmp_path)
    seen.append([])
    whole = train(spec, run=tmp_path / "whole")
    seen.append([])
    cut = train(spec, ["training.epochs=2"], run=tmp_path / "cut")
    (cut.folder / "spec.yaml").write_text((cut.folder / "spec.yaml").read_text().replace("epochs: 2", "epochs: 3"))
    resume(cut.folder)
    assert len(seen[0]) == len(seen[1])
    assert all(torch.equal(one, other) for one, other in zip(*seen, strict=True))
    assert all(((values == 0) | (values == 1)).all() for values in seen[0])
    steps = len(seen[0]) // 6  # two blocks a step, three epochs
    assert any(not torch.equal(seen[0][block], seen[0][block + 2 * steps]) for block in range(2 * steps))
    ours, theirs = whole.checkpoint(), cut.checkpoint()
    assert ours is not None
    assert theirs is not None
    assert all(torch.equal(ours.model[name], theirs.model[name]) for name in ours.model)
    other = train(spec, ["training.seeds.noise=1"], run=tmp_path / "other").metrics()
    assert other[0]["reconstruction.image"] != whole.metrics()[0]["reconstruction.image"]
    assert evaluate(whole, samples=3) == evaluate(whole, samples=3)


def test_every_step_draws_its_own_switches_by_the_noise_seed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the same grey everywhere, what differs is the draw alone."""
    spec = digits_npz(tmp_path)
    np.savez(tmp_path / "digits.npz", image=np.full((300, 8, 8), 0.5), digit=digits(300)[1])
    seen: list[torch.Tensor] = []
    plain = training.switched

    def watched(*arguments: object) -> object:
        blocks = plain(*arguments)  # type: ignore[arg-type]
        seen.append(torch.cat([block.evidence["image"].value for block in blocks])[:20])
        return blocks

    monkeypatch.setattr(training, "switched", watched)
    settings = ["data.transforms={image: binarise_each_time}", "training.epochs=2"]
    for seed in (0, 1):
        train(spec, [*settings, f"training.seeds.noise={seed}"], run=tmp_path / f"run{seed}")
    assert len(seen) > 8
    for one in range(len(seen)):
        for other in range(one):
            agreement = (seen[one] == seen[other]).double().mean().item()
            assert abs(agreement - 0.5) < 5 * 0.5 / seen[one].numel() ** 0.5, "as independent draws agree"


def test_a_folder_of_pictures_trains(tmp_path: Path) -> None:
    digits_folder(tmp_path / "digits", 200, unlabelled=120)
    text = (
        DIGITS.replace("source: npz", "source: images").replace("digits.npz", "digits").replace("digit: digit", "digit: label")
    )
    text = text.replace("[{scale: [0, 255]}, binarise_each_time]", "binarise").replace("  labels: {digit: {rows: 40}}\n", "")
    (tmp_path / "grey.yaml").write_text(text)
    run = train(tmp_path / "grey.yaml", run=tmp_path / "run")
    train_rows = np.setdiff1d(np.arange(200), np.random.default_rng(0).permutation(200)[:40])
    names = sorted(f"digit{digit}" for digit in range(10))
    assert run.manifest["data"]["coding"]["categories"] == {"digit": names}
    order = sorted(range(200), key=lambda row: ("" if row < 120 else f"digit{digits(200)[1][row]}/") + f"{row:04d}.png")
    assert run.manifest["labels"]["revealed"]["digit"] == sum(order[row] >= 120 for row in train_rows)
    filled = impute(run, tmp_path / "digits", samples=3, draws=1)
    assert filled.table["label"].tolist()[-1] == f"digit{digits(200)[1][order[-1]]}"


def test_errors_of_standardised_labels_are_in_their_own_units(tmp_path: Path) -> None:
    """Multiplied by a hundred, the same labels give the same training and a hundred times the error."""
    generator = np.random.default_rng(0)
    x = generator.normal(size=(200, 2))
    found = []
    for unit in (1, 100):
        np.savez(tmp_path / f"{unit}.npz", amount=unit * (x[:, 0] + 3), x=x)
        (tmp_path / "a.yaml").write_text("""
model: a
variables:
  amount: {distribution: normal, role: supervised}
  x: {distribution: normal, size: 2, role: observed}
p: {x: [amount]}
q: {amount: [x]}
data:
  source: npz
  columns: {amount: amount, x: x}
  labels: {amount: {rows: 50}}
  transforms: {amount: standardise}
  validation: {rows: 20, labels: true}
training: {epochs: 2}
""")
        run = train(tmp_path / "a.yaml", data=tmp_path / f"{unit}.npz", run=tmp_path / f"run{unit}")
        evaluation = evaluate(run, samples=5)
        assert evaluation.rescaled == []
        assert evaluation.table().caption is None
        found.append((evaluation.predictions["amount"]["q"].value, run.metrics()[-1]["validation.rmse.amount"]))
    assert found[1] == pytest.approx([100 * value for value in found[0]], rel=1e-4)


def test_a_coding_goes_through_the_manifest_unchanged(wine_run: Run) -> None:
    kept = wine_run.manifest["data"]["coding"]
    assert Coding.of(kept).as_json() == json.loads(json.dumps(kept))
