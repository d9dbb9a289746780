"""Samples from arrays and folders, and how they become a model's inputs."""

from __future__ import annotations

import gc
import io
import shutil
import struct
import tarfile
import tempfile
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from windtunnel.errors import InvalidInput, NotFound, Unsupported
from windtunnel.pipeline import InputSpec, Pipeline, load_samples, model_inputs

RANDOM = np.random.default_rng(3)
X = RANDOM.random((10, 4, 5, 3)).astype(np.float32)
Y = np.arange(10) % 3


def save(path: Path, *, compressed: bool = False, **arrays: Any) -> Path:
    # np.savez takes any name as a keyword, but `file` and slashes need the mapping form.
    (np.savez_compressed if compressed else np.savez)(path, **arrays)
    return path


def array(rows: object) -> npt.NDArray[Any]:
    """`rows`, which must be one array."""
    assert isinstance(rows, np.ndarray)
    return rows


class TestNpz:
    @pytest.mark.parametrize("compressed", [False, True])
    def test_arrays_come_back(self, tmp_path: Path, compressed: bool) -> None:
        samples = load_samples(save(tmp_path / "s.npz", compressed=compressed, x=X, y=Y))
        assert samples.count == len(samples) == 10
        assert list(samples.inputs) == ["x"]
        assert (array(samples.inputs["x"]) == X).all()
        assert (array(samples.labels) == Y).all()
        assert samples.class_names is None

    def test_stored_arrays_stay_on_disk(self, tmp_path: Path) -> None:
        samples = load_samples(save(tmp_path / "s.npz", x=X, y=Y))
        assert isinstance(samples.inputs["x"], np.memmap)
        assert type(next(samples.batches(4)).inputs["x"]) is np.ndarray

    def test_a_git_lfs_pointer_is_named(self, tmp_path: Path) -> None:
        (tmp_path / "s.npz").write_bytes(b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n")
        with pytest.raises(InvalidInput, match=r"s\.npz is a Git LFS pointer") as caught:
            load_samples(tmp_path / "s.npz")
        assert "git lfs pull" in caught.value.hint

    def test_content_tells_not_the_name(self, tmp_path: Path) -> None:
        path = save(tmp_path / "s.npz", x=X).rename(tmp_path / ("a" * 64))
        assert load_samples(path).count == 10

    def test_several_inputs_and_fortran_order(self, tmp_path: Path) -> None:
        arrays: dict[str, Any] = {"x/image": np.asfortranarray(X), "x/age": np.arange(10, dtype=">i4"), "y": np.eye(10)}
        samples = load_samples(save(tmp_path / "s.npz", **arrays))
        assert (array(samples.inputs["image"]) == X).all()
        assert (array(samples.inputs["age"]) == np.arange(10)).all()
        assert (array(samples.labels) == np.eye(10)).all()

    def test_batches_cover_everything_in_order(self, tmp_path: Path) -> None:
        samples = load_samples(save(tmp_path / "s.npz", x=X, y=Y))
        batches = list(samples.batches(4))
        assert [batch.count for batch in batches] == [4, 4, 2]
        assert (np.concatenate([batch.inputs["x"] for batch in batches]) == X).all()
        assert (np.concatenate([batch.labels for batch in batches]) == Y).all()
        with pytest.raises(InvalidInput):
            next(samples.batches(0))

    def test_distinct_ones_are_the_first_of_their_kind(self, tmp_path: Path) -> None:
        other = np.arange(10)[:, None].astype(np.float32)
        other[7] = other[2]
        x = np.ascontiguousarray(np.zeros_like(X))
        both: dict[str, Any] = {"x/a": x, "x/b": other}
        assert load_samples(save(tmp_path / "s.npz", **both)).distinct().tolist() == [0, 1, 2, 3, 4, 5, 6, 8, 9]
        assert load_samples(save(tmp_path / "t.npz", x=np.asfortranarray(x))).distinct().tolist() == [0]

    def test_take(self, tmp_path: Path) -> None:
        samples = load_samples(save(tmp_path / "s.npz", x=X, y=Y)).take(np.array([7, 0, 7]))
        assert (array(samples.inputs["x"]) == X[[7, 0, 7]]).all()
        assert array(samples.labels).tolist() == [1, 0, 1]
        for bad in ([3], [-1], []):
            with pytest.raises(InvalidInput):
                samples.take(bad)

    def test_labels_may_be_names_of_the_classes(self, tmp_path: Path) -> None:
        names = np.array(["cat", "dog"])
        samples = load_samples(save(tmp_path / "s.npz", x=X, y=np.array(["dog", "cat"] * 5), class_names=names))
        assert array(samples.labels).tolist() == [1, 0] * 5

    @pytest.mark.parametrize("compressed", [False, True])
    @pytest.mark.parametrize(
        ("arrays", "message"),
        [
            ({"y": Y}, "no array x"),
            ({"x": X[:0]}, "no samples"),
            ({"x": np.float32(1)}, "no samples"),
            ({"x": X, "y": Y[:5]}, "different counts of samples: x 10, y 5"),
            ({"x/a": X, "x/b": X[:3]}, "different counts"),
            ({"x": X, "x/a": X}, "both x and"),
            ({"X": X}, "'X'"),
            ({"x": X, "labels": Y}, "'labels'"),
            ({"x": np.where(np.arange(10)[:, None] == 6, np.nan, 1.0)}, "sample 6"),
            ({"x": np.full((2, 2), np.inf, np.float16)}, "sample 0"),
            ({"x": X, "y": np.where(Y == 2, np.nan, 1.0)}, "'y' of sample 2"),
            ({"x": X, "y": Y - 1}, "-1"),
            ({"x": X, "y": np.array(list("abcdefghij"))}, "y holds texts, for example 'a'"),
            ({"x": X, "y": np.array(list("abcdefghij")), "class_names": np.array(["a", "b"])}, "the name 'c'"),
            ({"x": X.astype(complex)}, "complex128"),
            ({"x": X, "class_names": Y}, "class_names"),
        ],
    )
    def test_bad_arrays_are_named(self, tmp_path: Path, arrays: dict[str, Any], message: str, compressed: bool) -> None:
        with pytest.raises(InvalidInput, match=message):
            load_samples(save(tmp_path / "s.npz", compressed=compressed, **arrays))

    def test_objects_are_never_unpickled(self, tmp_path: Path) -> None:
        path = tmp_path / "s.npz"
        np.savez(path, x=np.array([{"a": 1}], dtype=object))
        with pytest.raises(InvalidInput, match="objects"):
            load_samples(path)

    @pytest.mark.parametrize("kind", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
    @pytest.mark.parametrize("shape", [(10**6, 10**6), (2**62, 16), (11,), (9,), (-1,), (2**70,)])
    def test_headers_that_claim_more_or_less_are_refused(
        self, tmp_path: Path, kind: int, shape: tuple[int, ...]
    ) -> None:
        buffer = io.BytesIO()
        np.lib.format.write_array_header_1_0(buffer, {"descr": "<f4", "fortran_order": False, "shape": shape})
        self.write(tmp_path / "s.npz", kind, buffer.getvalue() + bytes(40))
        with pytest.raises(InvalidInput):
            load_samples(tmp_path / "s.npz")

    def test_a_zip_that_supports_the_claim_is_refused_before_allocation(self, tmp_path: Path) -> None:
        buffer = io.BytesIO()
        np.lib.format.write_array_header_1_0(buffer, {"descr": "|u1", "fortran_order": False, "shape": (2**31,)})
        for kind in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            path = self.write(tmp_path / f"s{kind}.npz", kind, buffer.getvalue() + bytes(40))
            data = bytearray(path.read_bytes())
            struct.pack_into("<L", data, data.index(b"PK\x01\x02") + 24, len(buffer.getvalue()) + 2**31)
            path.write_bytes(data)
            with pytest.raises(InvalidInput, match="claims"):
                load_samples(path)

    @staticmethod
    def write(path: Path, kind: int, data: bytes) -> Path:
        with zipfile.ZipFile(path, "w", kind) as archive:
            archive.writestr("x.npy", data)
        return path

    @pytest.mark.parametrize("compressed", [False, True])
    def test_damage_is_seen(self, tmp_path: Path, compressed: bool) -> None:
        whole = save(tmp_path / "s.npz", compressed=compressed, x=X, y=Y).read_bytes()
        flipped = bytearray(whole)
        flipped[len(whole) // 3] ^= 0x10
        for data in (bytes(flipped), whole[: len(whole) // 2], whole[:-1], b""):
            (tmp_path / "s.npz").write_bytes(data)
            with pytest.raises(InvalidInput):
                load_samples(tmp_path / "s.npz")

    def test_missing(self, tmp_path: Path) -> None:
        with pytest.raises(NotFound):
            load_samples(tmp_path / "absent.npz")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three classes; sizes and modes differ."""
    root = tmp_path / "images"
    for index, (name, mode, size) in enumerate(
        [("cat", "RGB", (6, 4)), ("bird", "L", (3, 3)), ("dog", "RGBA", (6, 4)), ("bird", "P", (2, 5))]
    ):
        (root / name).mkdir(parents=True, exist_ok=True)
        Image.new(mode, size, index + 1).save(root / name / f"{index}.png")
    (root / ".DS_Store").touch()
    return root


class TestFolder:
    def test_classes_are_sorted_by_name(self, folder: Path) -> None:
        samples = load_samples(folder)
        assert samples.class_names == ("bird", "cat", "dog")
        assert array(samples.labels).tolist() == [0, 0, 1, 2]
        assert [image.shape for image in samples.inputs["x"]] == [(3, 3, 3), (5, 2, 3), (4, 6, 3), (4, 6, 3)]
        assert all(image.dtype == np.uint8 for image in samples.inputs["x"])

    def test_batches_of_equal_sizes_are_arrays(self, folder: Path) -> None:
        first, second = load_samples(folder).batches(2)
        assert [image.shape for image in first.inputs["x"]] == [(3, 3, 3), (5, 2, 3)]
        assert array(second.inputs["x"]).shape == (2, 4, 6, 3)

    def test_take_reads_nothing_yet(self, folder: Path) -> None:
        samples = load_samples(folder)
        next(iter((folder / "dog").iterdir())).write_bytes(b"damaged")
        assert [image.shape for image in samples.take([1, 0]).inputs["x"]] == [(5, 2, 3), (3, 3, 3)]
        with pytest.raises(InvalidInput, match=r"dog/2\.png"):
            list(samples.take([3]).inputs["x"])

    def test_a_jpeg_is_decoded(self, tmp_path: Path) -> None:
        (tmp_path / "in" / "a").mkdir(parents=True)
        Image.new("RGB", (8, 8), (200, 100, 50)).save(tmp_path / "in" / "a" / "p.JPG", quality=95)
        image = load_samples(tmp_path / "in").inputs["x"][0]
        np.testing.assert_allclose(image, np.broadcast_to([200, 100, 50], (8, 8, 3)), atol=3)

    @pytest.mark.heavy
    @pytest.mark.parametrize("wrapped", [False, True])
    @pytest.mark.parametrize("form", ["zip", "gztar"])
    def test_archives_of_it(
        self, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: str, wrapped: bool
    ) -> None:
        (tmp_path / "tmp").mkdir()
        monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
        base = folder.name if wrapped else "."
        root = folder.parent if wrapped else folder
        archive = Path(shutil.make_archive(str(tmp_path / "out"), form, root, base)).rename(tmp_path / "artifact")
        samples = load_samples(archive)
        chosen = samples.take([2])
        del samples
        gc.collect()
        assert chosen.inputs["x"][0].shape == (4, 6, 3)
        assert chosen.class_names == ("bird", "cat", "dog")
        del chosen
        gc.collect()
        assert list((tmp_path / "tmp").iterdir()) == []

    def test_a_hostile_archive_is_refused(self, tmp_path: Path) -> None:
        with tarfile.open(tmp_path / "bad.tar.gz", "w:gz") as archive:
            archive.addfile(tarfile.TarInfo("../evil"))
        with pytest.raises(InvalidInput):
            load_samples(tmp_path / "bad.tar.gz")

    def test_what_does_not_belong_is_named(self, folder: Path) -> None:
        (folder / "cat" / "notes.txt").touch()
        with pytest.raises(InvalidInput, match=r"cat/notes\.txt"):
            load_samples(folder)
        (folder / "cat" / "notes.txt").unlink()
        (folder / "loose.png").touch()
        with pytest.raises(InvalidInput, match=r"loose\.png"):
            load_samples(folder)
        (folder / "loose.png").unlink()
        (folder / "empty").mkdir()
        with pytest.raises(InvalidInput, match="empty"):
            load_samples(folder)

    def test_an_empty_folder_is_refused(self, tmp_path: Path) -> None:
        (tmp_path / "none").mkdir()
        with pytest.raises(InvalidInput, match="no class folders"):
            load_samples(tmp_path / "none")

    @pytest.mark.parametrize("side", [9_000, 12_000, 60_000])
    def test_decompression_bombs_are_refused(self, tmp_path: Path, side: int) -> None:
        (tmp_path / "in" / "a").mkdir(parents=True)
        buffer = io.BytesIO()
        Image.new("1", (8, 8)).save(buffer, "PNG")
        data = bytearray(buffer.getvalue())
        struct.pack_into(">LL", data, 16, side, side)
        struct.pack_into(">L", data, 29, zlib.crc32(bytes(data[12:29])))
        (tmp_path / "in" / "a" / "bomb.png").write_bytes(data)
        with pytest.raises(InvalidInput, match="pixels"):
            load_samples(tmp_path / "in").inputs["x"][0]

    def test_16_bit_images_are_refused(self, tmp_path: Path) -> None:
        (tmp_path / "in" / "a").mkdir(parents=True)
        Image.fromarray(np.zeros((4, 4), np.uint16)).save(tmp_path / "in" / "a" / "deep.png")
        with pytest.raises(InvalidInput, match="8 bits"):
            load_samples(tmp_path / "in").inputs["x"][0]


class TestModelInputs:
    @staticmethod
    def inputs(
        tmp_path: Path, specs: list[InputSpec], pipeline: Pipeline | None = None, **arrays: Any
    ) -> list[dict[str, Any]]:
        return list(model_inputs(load_samples(save(tmp_path / "s.npz", **arrays)), pipeline, specs))

    @pytest.mark.parametrize("shape", [(1, 4, 5, 3), (-1, 4, 5, 3), (1, -1, -1, 3)])
    def test_one_unnamed_input_feeds_the_only_one(self, tmp_path: Path, shape: tuple[int, ...]) -> None:
        rows = self.inputs(tmp_path, [InputSpec("serving_default_image:0", shape, "float32")], x=X)
        assert len(rows) == 10
        assert (rows[3]["serving_default_image:0"] == X[3:4]).all()
        assert rows[3]["serving_default_image:0"].dtype == np.float32

    def test_inputs_are_matched_by_name_alias_or_bare_name(self, tmp_path: Path) -> None:
        specs = [
            InputSpec("serving_default_age:0", (1, 1), "int32"),
            InputSpec("t0", (1, 2), "float32", alias="image"),
            InputSpec("plain", (1, 3), "float32"),
        ]
        arrays: dict[str, Any] = {
            "x/image": np.ones((2, 2)),
            "x/plain": np.full((2, 3), 2.0),
            "x/age": np.full((2, 1), 3),
        }
        first, _ = self.inputs(tmp_path, specs, **arrays)
        assert {name: array.ravel()[0] for name, array in first.items()} == {
            "serving_default_age:0": 3,
            "t0": 1,
            "plain": 2,
        }

    @pytest.mark.parametrize("arrays", [{"x": X}, {"x/a": X}, {"x/a": X, "x/c": X}, {"x/a": X, "x/b": X, "x/c": X}])
    def test_inputs_that_do_not_match_are_refused(self, tmp_path: Path, arrays: dict[str, Any]) -> None:
        specs = [InputSpec(name, (1, 4, 5, 3), "float32") for name in "ab"]
        with pytest.raises(InvalidInput, match="inputs are a, b"):
            self.inputs(tmp_path, specs, **arrays)

    def test_a_wrong_name_for_the_only_input_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(InvalidInput, match="inputs are image"):
            self.inputs(tmp_path, [InputSpec("image", (1, 4, 5, 3), "float32")], None, **{"x/sound": X})

    def test_a_wrong_shape_names_both(self, tmp_path: Path) -> None:
        with pytest.raises(InvalidInput, match=r"\[1, 8, 8, 3\].*\[1, 4, 5, 3\]"):
            self.inputs(tmp_path, [InputSpec("a", (1, 8, 8, 3), "float32")], x=X)
        with pytest.raises(Unsupported, match="4 samples at once"):
            self.inputs(tmp_path, [InputSpec("a", (4, 4, 5, 3), "float32")], x=X)

    def test_an_input_without_batch_axis(self, tmp_path: Path) -> None:
        rows = self.inputs(tmp_path, [InputSpec("a", (16,), "float32")], x=np.ones((2, 16), np.float32))
        assert rows[0]["a"].shape == (16,)

    @pytest.mark.parametrize(
        ("values", "dtype", "fits"),
        [
            (np.array([[0.1]]), "float32", True),
            (np.array([[3]], np.uint8), "float32", True),
            (np.array([[3]], np.int64), "int32", True),
            (np.array([[2**40]], np.int64), "int32", False),
            (np.array([[-1]], np.int64), "uint8", False),
            (np.array([[0.5]]), "int8", False),
            (np.array([[2.0]]), "uint8", False),
            (np.array([[1e300]]), "float32", False),
            (np.array([["text"]]), "float32", False),
            (np.array([["text"]]), "string", True),
            (np.array([[1.0]]), "string", False),
        ],
    )
    def test_casts_keep_every_value(self, tmp_path: Path, values: npt.NDArray[Any], dtype: str, fits: bool) -> None:
        specs = [InputSpec("a", (1, 1), dtype)]
        if fits:
            assert self.inputs(tmp_path, specs, x=values)[0]["a"].shape == (1, 1)
        else:
            with pytest.raises(InvalidInput, match=dtype):
                self.inputs(tmp_path, specs, x=values)

    def test_the_pipeline_runs_on_images_of_any_size(self, folder: Path) -> None:
        steps = [{"op": "resize", "size": [2, 2]}, {"op": "normalize", "scale": 2.0}, {"op": "layout", "to": "NCHW"}]
        pipeline = Pipeline.parse({"schema": "windtunnel.pipeline/1", "steps": steps})
        rows = list(model_inputs(load_samples(folder), pipeline, [InputSpec("a", (1, 3, 2, 2), "float32")]))
        assert len(rows) == 4
        np.testing.assert_allclose(rows[0]["a"], 4, atol=1e-4)

    def test_the_pipeline_takes_the_one_image_among_several_inputs(self, tmp_path: Path) -> None:
        mirror = Pipeline.parse({"schema": "windtunnel.pipeline/1", "steps": [{"op": "mirror"}]})
        images = RANDOM.integers(0, 256, (2, 4, 5, 3), dtype=np.uint8)
        specs = [InputSpec("image", (1, 4, 5, 3), "uint8"), InputSpec("age", (1, 1), "float32")]
        arrays: dict[str, Any] = {"x/image": images, "x/age": np.ones((2, 1))}
        first, _ = self.inputs(tmp_path, specs, mirror, **arrays)
        assert (first["image"][0] == images[0, :, ::-1]).all()
        assert first["age"] == 1
        with pytest.raises(InvalidInput, match="0 of 2"):
            self.inputs(tmp_path, specs, mirror, **{**arrays, "x/image": images.astype(np.float32)})
