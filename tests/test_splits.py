"""Which rows train and which test: by seed, by a column, within groups, by whole groups, by blocks."""

from __future__ import annotations

import numpy as np
import pytest

from graphvae.compiler.errors import DataError
from graphvae.compiler.spec import Split
from graphvae.lab.sources import Rows
from graphvae.lab.splits import Parts, apart, split_rows

PERSON = np.random.default_rng(0).permutation(np.repeat(["ann", "ben", "cid", "dot", "eve"], [10, 20, 5, 40, 25]))


def rows(**columns: object) -> Rows:
    arrays = {name: np.asarray(column) for name, column in columns.items()} or {"x": np.arange(100)}
    return Rows(arrays, tuple(arrays))


def split(looked_at: str | None = None, of: Rows | None = None, **options: object) -> Parts:
    parts = split_rows(Split(**options), of or rows(person=PERSON), looked_at)
    both = np.concatenate([parts.train, parts.test])
    assert len(np.unique(both)) == len(both), "a row trains or tests, and does so once"
    assert (np.diff(parts.train) > 0).all()
    assert (np.diff(parts.test) > 0).all()
    return parts


def test_a_share_is_drawn_by_its_seed() -> None:
    parts = split(test=0.3, seed=5)
    order = np.random.default_rng(5).permutation(100)
    assert parts.test.tolist() == sorted(order[:30].tolist())
    assert parts.train.tolist() == sorted(order[30:].tolist())
    assert len(split().test) == 20
    assert len(split(test=0.0).test) == 0
    assert (split(test=0.3, seed=6).test != parts.test).any()


def test_a_column_says_it() -> None:
    fold = np.array(["train", "test", "valid", "test", "train"])
    parts = split("fold", rows(fold=fold), column="fold", test=["test"])
    assert (parts.train.tolist(), parts.test.tolist()) == ([0, 2, 4], [1, 3])
    parts = split("fold", rows(fold=fold), column="fold", test=["valid", "test"])
    assert (parts.train.tolist(), parts.test.tolist()) == ([0, 4], [1, 2, 3])


@pytest.mark.parametrize(
    ("column", "test"),
    [
        ([1, 2, 1, 3], [1, 3]),
        ([1.0, 2.0, 1.0, 3.0], [1, 3]),
        ([True, False, True, True], [True]),
        (["1", "2", "1", "3"], [1, 3]),
    ],
)
def test_numbers_and_switches_say_it_too(column: list[object], test: list[object]) -> None:
    assert split("fold", rows(fold=column), column="fold", test=test).test.tolist() == [0, 2, 3]


def test_within_groups_each_gives_its_share() -> None:
    parts = split("person", test=0.2, within="person", seed=1)
    counts = dict(zip(*np.unique(PERSON[parts.test], return_counts=True), strict=True))
    assert counts == {"ann": 2, "ben": 4, "cid": 1, "dot": 8, "eve": 5}
    assert len(parts.train) + len(parts.test) == 100
    assert (split("person", test=0.2, within="person", seed=2).test != parts.test).any()


def test_by_groups_none_is_on_both_sides() -> None:
    tested = set()
    for seed in range(20):
        parts = split("person", test=0.4, by="person", seed=seed)
        ours, theirs = set(PERSON[parts.train]), set(PERSON[parts.test])
        assert (len(ours), len(theirs)) == (3, 2)
        assert not ours & theirs
        assert len(parts.train) + len(parts.test) == 100
        tested |= theirs
    assert tested == set(PERSON), "the seed decides, and any may be chosen"


def test_blocks_stay_as_they_are() -> None:
    parts = split(blocks=["10-69", "80-99"])
    assert parts.train.tolist() == list(range(10, 70))
    assert parts.test.tolist() == list(range(80, 100))
    assert split(blocks=["50-99", "0-49"]).test.tolist() == list(range(50))


def test_a_number_of_rows_is_set_apart_from_some() -> None:
    some = np.arange(50, 100)
    train, test = apart(some, 7, 3)
    order = np.random.default_rng(3).permutation(50)
    assert test.tolist() == sorted((50 + order[:7]).tolist())
    assert sorted([*train, *test]) == some.tolist()


@pytest.mark.parametrize(
    ("options", "column", "values", "message"),
    [
        ({"blocks": ["0-49", "50-100"]}, None, np.arange(100), "this block ends with row 100, and there are 100 rows"),
        ({"column": "fold", "test": ["tset"]}, "fold", ["test", "train"], "no row has 'tset' in 'fold'"),
        ({"column": "fold", "test": ["tset"]}, "fold", ["test", "train"], "did you mean 'test'?"),
        ({"column": "fold", "test": ["a", "b"]}, "fold", ["a", "b"], "every row is for the test"),
        ({"column": "fold", "test": ["a"]}, "fold", ["a", "", "b"], "'fold' is empty in row 1"),
        ({"by": "fold"}, "fold", [1.0, 2.0, np.nan], "'fold' is empty in row 2"),
        ({"by": "fold"}, "fold", ["a", "b"], "0.2 of 2 groups is 0: there would be no rows to test"),
        ({"by": "fold", "test": 0.9}, "fold", ["a", "b"], "0.9 of 2 groups is 2: there would be no rows to train"),
        ({"within": "fold"}, "fold", np.ones((3, 2)), "'fold' should have one value a row"),
        ({"within": "fodl"}, "fodl", ["a", "b"], "there is no column 'fodl' to split by"),
    ],
)
def test_a_split_that_cannot_be_made_is_refused(
    options: dict[str, object], column: str | None, values: object, message: str
) -> None:
    with pytest.raises(DataError) as error:
        split(column, rows(fold=values), **options)
    assert message in str(error.value)
    [finding] = error.value.diagnostics
    assert finding.code == ("GV302" if column == "fodl" else "GV307")


def test_more_rows_than_there_are_cannot_be_set_aside() -> None:
    with pytest.raises(DataError, match=r"error\[GV307\]: 10 rows are to be set aside, and there are 10"):
        apart(np.arange(10), 10, 0)
