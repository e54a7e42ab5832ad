"""csv, parquet and npz files as columns: read as they are, or refused in one message that says where."""

from __future__ import annotations

import datetime
import decimal
import struct
import zipfile
from pathlib import Path

import numpy as np
import pyarrow
import pyarrow.csv
import pyarrow.parquet
import pytest

from graphvae.compiler.errors import DataError
from graphvae.lab import sources
from graphvae.lab.sources import Rows, Want, read_source, source_of


def csv_rows(folder: Path, text: str | bytes, **wanted: bool) -> Rows:
    path = folder / "table.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_source("csv", path, {name: Want(named) for name, named in wanted.items()} or None, None)


def parquet_rows(folder: Path, **columns: object) -> Rows:
    pyarrow.parquet.write_table(pyarrow.table(columns), folder / "table.parquet")
    return read_source("parquet", folder / "table.parquet", None, None)


def test_numbers_are_numbers_and_texts_are_texts(tmp_path: Path) -> None:
    rows = csv_rows(tmp_path, 'a,b,c,d\n1,x,,1e3\n2.5, y ,-4,.5\n,"z, ""q""", 7 ,+2\n')
    assert rows.names == ("a", "b", "c", "d")
    np.testing.assert_array_equal(rows.columns["a"], [1, 2.5, np.nan])
    assert rows.columns["b"].tolist() == ["x", "y", 'z, "q"']
    np.testing.assert_array_equal(rows.columns["c"], [np.nan, -4, 7])
    np.testing.assert_array_equal(rows.columns["d"], [1000, 0.5, 2])
    assert rows.count == 3


def test_only_wanted_columns_are_read_and_names_stay_texts(tmp_path: Path) -> None:
    rows = csv_rows(tmp_path, "code,value,other\n01,3,x\n02,,y\n", code=True, value=False, absent=False)
    assert list(rows.columns) == ["code", "value"]
    assert rows.names == ("code", "value", "other")
    assert rows.columns["code"].tolist() == ["01", "02"]
    np.testing.assert_array_equal(rows.columns["value"], [3, np.nan])


@pytest.mark.parametrize(
    "text",
    [
        b"\xef\xbb\xbfa,b\n1,x\n2,y\n",
        b"a,b\r\n1,x\r\n2,y\r\n",
        b"a,b\r1,x\r2,y",
        b"\n\na,b\n\n1,x\n\n2,y\n\n",
        b'a,b\n"1\n",x\n2,"y"',
    ],
    ids=["byte order mark", "crlf", "cr", "blank lines", "a line break in a cell"],
)
def test_the_ways_of_writing_a_table(tmp_path: Path, text: bytes) -> None:
    rows = csv_rows(tmp_path, text)
    assert rows.columns["a"].tolist() == [1, 2]
    assert rows.columns["b"].tolist() == ["x", "y"]


def test_what_looks_alike_is_alike(tmp_path: Path) -> None:
    rows = csv_rows(tmp_path, "cafe\u0301\ncre\u0300me\n")
    assert rows.names == ("caf\u00e9",)
    assert rows.columns["caf\u00e9"].tolist() == ["cr\u00e8me"]


def test_a_row_knows_its_line(tmp_path: Path) -> None:
    rows = csv_rows(tmp_path, 'a,b\n\n1,"x\ny\nz"\n2,x\n\n3,y\n')
    assert [rows.place(row) for row in range(3)] == [f"line {line} of table.csv" for line in (3, 6, 8)]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"", "is empty"),
        (b"\n\n", "is empty"),
        (b"a,b\n", "there are no rows in"),
        (b"a,b", "there are no rows in"),
        (b"a,b,a\n1,2,3\n", "has 1 name(s) of columns twice or more: a"),
        (b"a;b\n1;2\n", "has ';' between its columns"),
        (b"a\tb\n1\t2\n", r"has '\t' between its columns"),
        (b"a,b\n1,2\n3\n", "line 3 of"),
        (b"a,b\n1,2\n3\n", "has 1 cell(s), and the header 2"),
        (b"a,b\n\n1,2\n3,4,5\n", "line 4 of"),
        (b'a,b\n"x\ny",2\n3,4,5\n', "line 4 of"),
        (b"a,b\n1,\xe9\n", "is not UTF-8"),
        ("a,b\n1,2\n".encode("utf-16"), "is not UTF-8"),
        (b"a,b\n1,2\x00\n", "has bytes that are zero"),
        (b'a,b\n1,2\n3,"4\n5,6\n', "the quotes in line 3 of"),
        (bytes(range(256)) * 4, "is not UTF-8"),
    ],
)
def test_a_csv_file_that_is_no_table_is_refused(tmp_path: Path, text: bytes, message: str) -> None:
    with pytest.raises(DataError) as error:
        csv_rows(tmp_path, text)
    assert message in str(error.value)
    assert "table.csv" in str(error.value)


def test_a_quote_in_the_middle_of_a_cell_is_a_letter(tmp_path: Path) -> None:
    assert csv_rows(tmp_path, 'a,b\n5" pipe,1\n').columns["a"].tolist() == ['5" pipe']


def test_a_table_too_large_is_refused_before_it_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = "a,b,c\n" + "1,2,3\n" * 1000
    monkeypatch.setattr(sources, "LARGEST", 1001 * 2 * 8)
    assert csv_rows(tmp_path, text, a=False, b=False).count == 1000

    def read(*args: object, **kwargs: object) -> None:
        raise AssertionError("the file was read")

    monkeypatch.setattr(pyarrow.csv, "read_csv", read)
    with pytest.raises(DataError, match=r"table.csv has about 1,001 rows of 3 numbers"):
        csv_rows(tmp_path, text)


def test_a_parquet_file_too_large_is_refused_before_it_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    columns = {"a": np.arange(1000), "b": pyarrow.array([[1.0, 2.0, 3.0]] * 1000, pyarrow.list_(pyarrow.float64(), 3))}
    parquet_rows(tmp_path, **columns)
    monkeypatch.setattr(sources, "LARGEST", 1000 * 4 * 8 - 1)
    with pytest.raises(DataError, match=r"table.parquet has about 1,000 rows of 4 numbers"):
        parquet_rows(tmp_path, **columns)


def test_an_npz_file_too_large_is_refused_before_it_is_read(tmp_path: Path) -> None:
    """A header that claims more numbers than there is memory, with no number behind it."""
    header = str({"descr": "<f8", "fortran_order": False, "shape": (10**9, 100)}).encode().ljust(117) + b"\n"
    with zipfile.ZipFile(tmp_path / "huge.npz", "w") as file:
        file.writestr("x.npy", b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header)
    with pytest.raises(DataError, match=r"has about 1,000,000,000 rows of 100 numbers, 800.0 GB in memory"):
        read_source("npz", tmp_path / "huge.npz", None, None)


def test_every_type_of_parquet_column(tmp_path: Path) -> None:
    rows = parquet_rows(
        tmp_path,
        whole=pyarrow.array([1, 2, 3], pyarrow.int32()),
        holes=pyarrow.array([1, None, 3], pyarrow.int64()),
        single=pyarrow.array([0.5, None, np.nan], pyarrow.float32()),
        switch=pyarrow.array([True, False, True]),
        maybe=pyarrow.array([True, None, False]),
        money=pyarrow.array([decimal.Decimal("1.25"), None, decimal.Decimal("2.50")]),
        text=pyarrow.array([" a ", None, "b"]),
        codes=pyarrow.array(["x", None, "y"]).dictionary_encode(),
        nothing=pyarrow.nulls(3),
        **{"a.b": [4, 5, 6]},
    )
    assert rows.columns["whole"].tolist() == [1, 2, 3]
    assert rows.columns["switch"].tolist() == [True, False, True]
    np.testing.assert_array_equal(rows.columns["holes"], [1, np.nan, 3])
    np.testing.assert_array_equal(rows.columns["single"], [0.5, np.nan, np.nan])
    np.testing.assert_array_equal(rows.columns["maybe"], [1, np.nan, 0])
    np.testing.assert_array_equal(rows.columns["money"], [1.25, np.nan, 2.5])
    np.testing.assert_array_equal(rows.columns["nothing"], [np.nan] * 3)
    assert rows.columns["text"].tolist() == ["a", "", "b"]
    assert rows.columns["codes"].tolist() == ["x", "", "y"]
    assert rows.columns["a.b"].tolist() == [4, 5, 6]
    assert rows.place(2) == "row 2 of table.parquet"


def test_lists_in_a_parquet_file_are_arrays(tmp_path: Path) -> None:
    rows = parquet_rows(
        tmp_path,
        flat=pyarrow.array([[1, 2], None, [3, None]]),
        fixed=pyarrow.array([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]], pyarrow.list_(pyarrow.float32(), 2)),
        nested=pyarrow.array([[[1, 2], [3, 4], [5, 6]]] * 3),
    )
    np.testing.assert_array_equal(rows.columns["flat"], [[1, 2], [np.nan, np.nan], [3, np.nan]])
    np.testing.assert_array_equal(rows.columns["fixed"], [[1, 2], [3, 4], [5, 6]])
    assert rows.columns["nested"].shape == (3, 3, 2)
    assert rows.columns["nested"][1].tolist() == [[1, 2], [3, 4], [5, 6]]


@pytest.mark.parametrize(
    ("column", "message"),
    [
        (pyarrow.array([[1, 2], [3], [4, 5]]), "'x' has 1 items in row 1 of table.parquet, and 2 before"),
        (pyarrow.array([datetime.date(2020, 1, 1)] * 3), "holds date32"),
        (pyarrow.array([{"a": 1}] * 3), "holds struct"),
        (pyarrow.array([[datetime.date(2020, 1, 1)]] * 3), "a list should hold numbers or texts"),
        (pyarrow.array([], pyarrow.float64()), "there are no rows in"),
    ],
)
def test_a_parquet_column_that_is_no_column_is_refused(tmp_path: Path, column: pyarrow.Array, message: str) -> None:
    with pytest.raises(DataError) as error:
        parquet_rows(tmp_path, x=column)
    assert message in str(error.value)


def test_a_parquet_file_may_repeat_no_name(tmp_path: Path) -> None:
    table = pyarrow.Table.from_arrays([pyarrow.array([1]), pyarrow.array([2])], names=["x", "x"])
    pyarrow.parquet.write_table(table, tmp_path / "twice.parquet")
    with pytest.raises(DataError, match="twice or more: x"):
        read_source("parquet", tmp_path / "twice.parquet", None, None)


def test_a_truncated_parquet_file_is_refused(tmp_path: Path) -> None:
    parquet_rows(tmp_path, x=np.arange(1000))
    path = tmp_path / "table.parquet"
    for content in (b"", path.read_bytes()[:500], b"PAR1 nothing PAR1"):
        path.write_bytes(content)
        with pytest.raises(DataError, match=r"cannot read .*table.parquet"):
            read_source("parquet", path, None, None)


def test_only_wanted_arrays_of_an_npz_file_are_read(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x=np.arange(3), y=np.array(["a", "b", "c"]), note=np.array("of another length"))
    rows = read_source("npz", tmp_path / "a.npz", {"x": Want(), "y": Want(named=True)}, None)
    assert rows.names == ("x", "y", "note")
    assert {name: values.tolist() for name, values in rows.columns.items()} == {"x": [0, 1, 2], "y": ["a", "b", "c"]}
    with pytest.raises(DataError, match="should have equally many rows: note 0"):
        read_source("npz", tmp_path / "a.npz", {"note": Want()}, None)


@pytest.mark.parametrize("keep", [0, 10, 200, -30])
def test_a_truncated_npz_file_is_refused(tmp_path: Path, keep: int) -> None:
    np.savez_compressed(tmp_path / "a.npz", x=np.random.default_rng(0).normal(size=100))
    (tmp_path / "a.npz").write_bytes((tmp_path / "a.npz").read_bytes()[:keep])
    with pytest.raises(DataError, match=r"cannot read .*a.npz"):
        read_source("npz", tmp_path / "a.npz", None, None)


def test_a_path_that_leads_nowhere(tmp_path: Path) -> None:
    (tmp_path / "wine.csv").write_text("a\n1\n")
    with pytest.raises(DataError, match=r"(?s)there is no file .*wines.csv.*did you mean .*wine.csv\?"):
        read_source("csv", tmp_path / "wines.csv", None, None)
    with pytest.raises(DataError, match=r"(?s)the source csv needs its file.*--data PATH"):
        read_source("csv", None, None, None)
    with pytest.raises(DataError, match=r"(?s)wine.csv is not what the source npz reads.*write source: csv"):
        read_source("npz", tmp_path / "wine.csv", None, None)
    with pytest.raises(DataError, match=r"(?s)is not what the source csv reads.*write source: images"):
        read_source("csv", tmp_path, None, None)


def test_the_source_of_a_path(tmp_path: Path) -> None:
    assert [source_of(Path(f"a.{ending}")) for ending in ("csv", "NPZ", "parquet")] == ["csv", "npz", "parquet"]
    assert source_of(tmp_path) == "images"
    with pytest.raises(DataError, match=r"neither a folder of images nor a file that ends in .csv, .npz, .parquet"):
        source_of(Path("a.xlsx"))
