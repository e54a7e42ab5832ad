"""The faces of Extended Yale B: from an npz file, and from PGM files as the database has them, which these tests write."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from graphvae.compiler.errors import DataError
from graphvae.lab.sources import Rows, read_source

SHARED = Path(__file__).parents[2] / "shared" / "data" / "yaleb"
needs_yaleb = pytest.mark.skipif(not SHARED.is_dir(), reason="Extended Yale B is there only for people who asked for it")


def read(path: Path | None) -> Rows:
    return read_source("yaleb", path, None, None)


def refusal(path: Path | None) -> str:
    with pytest.raises(DataError) as error:
        read(path)
    return str(error.value)


def pixels(seed: int, height: int = 192, width: int = 168) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width), np.uint8)


def write(folder: Path, name: str, values: np.ndarray) -> None:
    """A PGM file: two letters, width, height, the brightest value, and a byte for each pixel."""
    place = folder / name[:7]
    place.mkdir(parents=True, exist_ok=True)
    height, width = values.shape
    (place / name).write_bytes(b"P5\n# a comment\n%d %d\n255\n" % (width, height) + values.tobytes())


def names() -> list[str]:
    return ["yaleB02_P00A+000E+90.pgm", "yaleB01_P00A+050E-40.pgm", "yaleB01_P00A-110E+15.pgm", "yaleB01_P00A+000E+00.pgm"]


@pytest.fixture
def faces(tmp_path: Path) -> Path:
    for seed, name in enumerate(names()):
        write(tmp_path, name, pixels(seed))
    return tmp_path


def test_pgm_files_are_read_in_the_order_of_people_and_lights(faces: Path) -> None:
    rows = read(faces)
    assert list(rows.columns) == ["image", "identity", "direction", "azimuth", "elevation"]
    assert rows.columns["identity"].tolist() == ["yaleB01", "yaleB01", "yaleB01", "yaleB02"]
    assert rows.columns["azimuth"].tolist() == [-110, 0, 50, 0]
    assert rows.columns["elevation"].tolist() == [15, 0, -40, 90]
    assert rows.place(0) == "yaleB01_P00A-110E+15.pgm"
    assert rows.test is None


def test_a_pixel_is_the_mean_of_four_by_four(faces: Path) -> None:
    image = read(faces).columns["image"]
    assert image.shape == (4, 48, 42)
    for row, seed in enumerate((2, 3, 1, 0)):
        large = pixels(seed).astype(float)
        for down, across in ((0, 0), (47, 41), (20, 3)):
            mean = large[4 * down : 4 * down + 4, 4 * across : 4 * across + 4].mean()
            assert abs(image[row, down, across] * 255 - mean) <= 0.5 + 1e-4
            assert (image[row, down, across] * 255) % 1 == pytest.approx(0, abs=1e-4)


def test_faces_of_the_small_size_are_read_as_they_are(tmp_path: Path) -> None:
    write(tmp_path, names()[0], pixels(5, 48, 42))
    assert_array_equal(np.rint(read(tmp_path).columns["image"][0] * 255), pixels(5, 48, 42))


def test_what_is_no_face_under_one_light_is_left_out(faces: Path) -> None:
    write(faces, "yaleB01_P00_Ambient.pgm", pixels(9, 480, 640))
    write(faces, "yaleB01_P00A+095E+00.pgm.bad", pixels(9))
    (faces / "yaleB01" / "yaleB01_P00.info").write_text("yaleB01_P00A+000E+00.pgm")
    assert read(faces).count == 4


def test_the_direction_is_a_unit_vector_to_the_light(faces: Path) -> None:
    """To the right of the picture, upwards, towards the camera; a positive azimuth is the right of the person."""
    rows = read(faces)
    direction = rows.columns["direction"]
    assert_allclose(np.linalg.norm(direction, axis=1), 1, rtol=1e-6)
    assert_allclose(direction[1], [0, 0, 1], atol=1e-7)
    assert_allclose(direction[3], [0, 1, 0], atol=1e-7)
    cosine, sine = 0.7660444431, 0.6427876097  # of 40 degrees, which is also the sine and the cosine of 50
    assert_allclose(direction[2], [-cosine * cosine, -sine, cosine * sine], rtol=1e-6)
    assert direction[0, 0] > 0
    assert direction[0, 2] < 0, "behind the person"


@pytest.mark.parametrize(
    ("size", "message"), [((480, 640), "has 480 x 640 pixels, no multiple of 48 x 42"), ((96, 96), "no multiple of 48 x 42")]
)
def test_pictures_of_another_shape_are_refused(tmp_path: Path, size: tuple[int, int], message: str) -> None:
    write(tmp_path, names()[0], pixels(0, *size))
    assert message in refusal(tmp_path)


def test_pictures_of_several_sizes_are_refused(faces: Path) -> None:
    write(faces, "yaleB03_P00A+000E+00.pgm", pixels(0, 96, 84))
    assert "has 96 x 84 pixels, and not 192 x 168 pixels" in refusal(faces)


def test_a_file_that_is_cut_short_is_refused(faces: Path) -> None:
    file = faces / "yaleB01" / "yaleB01_P00A+000E+00.pgm"
    file.write_bytes(file.read_bytes()[:-100])
    assert "cannot read the picture" in refusal(faces)


def test_where_there_are_no_faces(tmp_path: Path) -> None:
    assert "there are no faces of Extended Yale B in" in refusal(tmp_path)
    assert "there is no file" in refusal(tmp_path / "faces.npz")
    assert "the source yaleb needs its file or folder" in refusal(None)


def test_an_npz_file_is_read_as_it_is(tmp_path: Path) -> None:
    small = np.stack([pixels(seed, 48, 42) for seed in range(2)])
    np.savez(tmp_path / "faces.npz", images=small, filename=np.array(names()[:2]), more=np.arange(2))
    rows = read(tmp_path / "faces.npz")
    assert_array_equal(np.rint(rows.columns["image"] * 255), small)
    assert rows.columns["identity"].tolist() == ["yaleB02", "yaleB01"]
    assert rows.columns["elevation"].tolist() == [90, -40]


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"images": np.zeros((2, 48, 42), np.uint8)}, "should have the arrays 'images' and 'filename'"),
        ({"images": np.zeros((2, 48, 42)), "filename": names()[:2]}, "should be bytes [row, height, width], and is float64"),
        ({"images": np.zeros((2, 48), np.uint8), "filename": names()[:2]}, "and is uint8 [2, 48]"),
        ({"images": np.zeros((2, 48, 42), np.uint8), "filename": ["a.pgm", names()[0]]}, "'a.pgm' in"),
        ({"images": np.zeros((2, 48, 42), np.uint8), "filename": names()}, "equally many rows"),
    ],
)
def test_an_npz_file_of_something_else_is_refused(tmp_path: Path, columns: dict[str, np.ndarray], message: str) -> None:
    np.savez(tmp_path / "faces.npz", **columns)
    assert message in refusal(tmp_path / "faces.npz")


@needs_yaleb
def test_the_faces_themselves() -> None:
    rows = read(SHARED)
    with np.load(SHARED / "yaleb_48x42.npz") as file:
        assert_array_equal(np.rint(rows.columns["image"] * 255), file["images"])
        assert_array_equal(rows.columns["azimuth"], file["azimuth"])
        assert_array_equal(rows.columns["elevation"], file["elevation"])
        assert_array_equal(rows.columns["identity"], [f"yaleB{number:02}" for number in file["identity"]])
    assert (rows.count, len(set(rows.columns["identity"]))) == (2414, 38)
    assert read(SHARED / "yaleb_32x32.npz").columns["image"].shape == (2414, 32, 32)


@needs_yaleb
def test_the_side_of_a_face_that_is_turned_to_the_light_is_the_bright_one() -> None:
    rows = read(SHARED)
    image, (across, up, _) = rows.columns["image"], rows.columns["direction"].T
    right = image[:, :, 21:].mean((1, 2)) - image[:, :, :21].mean((1, 2))
    above = image[:, :24].mean((1, 2)) - image[:, 24:].mean((1, 2))
    assert np.corrcoef(right, across)[0, 1] > 0.9
    assert np.corrcoef(above[abs(across) < 0.2], up[abs(across) < 0.2])[0, 1] > 0.5
