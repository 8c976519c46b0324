"""Tests of symscope.data.images and symscope.weights.planted: files, patches, and groups that are known."""

import gzip
import hashlib
import io
import math
import tarfile

import numpy as np
import pooch
import pytest
import skimage.data
import torch

from symscope.data import DatasetError, Split, Splits, mnist, sources
from symscope.data import images as pictures
from symscope.data.images import image_patches, picture_patches
from symscope.networks import fit_steps, seeded
from symscope.weights import planted, tasks
from symscope.weights.cyclic import defect, random_orthogonal, small_rotations
from symscope.weights.orbits import CyclicOrbit
from symscope.weights.planted import action_error, orbit_errors, planted_group
from symscope.weights.unfolded import UnfoldedPatches

needs_fashion = pytest.mark.skipif(
    not sources.FASHION_INSTALLED.is_dir(), reason="Debian's dataset-fashion-mnist is not installed"
)


@pytest.fixture(autouse=True)
def forget_pictures():
    sources.checked_picture.cache_clear()
    yield
    sources.checked_picture.cache_clear()


# Pictures of scikit-image


def test_photographs_and_textures_are_grey_pictures_in_range():
    found, textures = pictures.photographs(), pictures.textures()
    assert list(found) == ["astronaut", "camera", "chelsea", "coffee", "coins"]
    assert list(textures) == ["brick", "grass", "gravel"]
    for picture in (*found.values(), *textures.values()):
        assert picture.dtype == torch.float32 and picture.ndim == 2
        assert picture.min() >= 0 and 0.5 < picture.max() <= 1
    torch.testing.assert_close(
        found["camera"] * 255, torch.from_numpy(skimage.data.camera() * 1.0).float()
    )
    colours = torch.from_numpy(skimage.data.coffee()).double() / 255
    expected = colours @ torch.tensor([0.2126, 0.7152, 0.0722], dtype=torch.float64)
    torch.testing.assert_close(found["coffee"].double(), expected, atol=1e-6, rtol=0)


def test_an_altered_picture_is_refused(monkeypatch):
    altered = skimage.data.camera().copy()
    altered[3, 4] ^= 1
    monkeypatch.setattr(skimage.data, "camera", lambda: altered)
    with pytest.raises(DatasetError, match="'camera' of scikit-image: expected SHA-256 5cb24482"):
        pictures.photographs()


def test_a_picture_that_is_not_installed_says_how_to_get_it(monkeypatch):
    def offline():
        raise ConnectionError("no internet connection")

    monkeypatch.setattr(skimage.data, "grass", offline)
    with pytest.raises(DatasetError, match=r"'grass' .* not installed.*download_all\(\)"):
        pictures.textures()


# Patches


def small(**options) -> Splits:
    return picture_patches(
        pictures.textures(), **{"train": 400, "validation": 50, "test": 60} | options
    )


def nearest(points: torch.Tensor, others: torch.Tensor) -> torch.Tensor:
    """Distance of each point to the nearest other; torch's fast mode is not exact enough."""
    return torch.cdist(points, others, compute_mode="donot_use_mm_for_euclid_dist").amin(1)


def test_patches_are_centred_and_scaled_by_one_number():
    data = small()
    assert [part.inputs.shape for part in (data.train, data.validation, data.test)] == [
        (400, 36),
        (50, 36),
        (60, 36),
    ]
    for part in (data.train, data.validation, data.test):
        assert part.inputs.dtype == torch.float32 and part.targets.dtype == torch.int64
        assert part.inputs.mean(1).abs().max() < 1e-5
        assert part.targets.unique().tolist() == [0, 1, 2]
    assert data.train.inputs.square().sum(1).mean().item() == pytest.approx(36, rel=1e-4)
    assert data.test.inputs.square().sum(1).mean().item() != pytest.approx(36, rel=1e-4)


def test_patches_come_from_their_picture_and_the_splits_share_no_pixel():
    # The slopes of a patch tell its row and column, and which picture it comes from.
    columns = torch.arange(200.0).repeat(90, 1)
    rows = torch.arange(90.0)[:, None].repeat(1, 200)
    plain = (columns**2 + rows**2) / 100
    both = {"plain": plain, "other": plain + columns * rows / 10}
    data = picture_patches(both, patch=4, train=3_000, validation=500, test=800, seed=1)
    ranges = {"train": (0, 140), "validation": (140, 160), "test": (160, 200)}
    for name, (left, right) in ranges.items():
        part = getattr(data, name)
        for target, picture in enumerate(both.values()):
            windows = picture[:, left:right].unfold(0, 4, 1).unfold(1, 4, 1).reshape(-1, 16)
            windows = windows - windows.mean(1, keepdim=True)
            patches = part.inputs[part.targets == target] * data.input_std
            assert nearest(patches, windows).max() < 1e-2
        # Every place is used, up to chance at the edges; slopes of "plain" are (2 place + 1) / 100.
        patches = part.inputs[part.targets == 0] * data.input_std
        for step, first, last in ((1, left, right - 4), (4, 0, 86)):
            places = 50 * (patches[:, step] - patches[:, 0]) - 0.5
            assert first - 0.1 < places.min() < first + 3 and last - 3 < places.max() < last + 0.1

    marked = {"marked": torch.zeros(50, 200)}
    marked["marked"][:, 139] = 1  # the last training column
    found = picture_patches(marked, patch=4, train=3_000, validation=500, test=800)
    assert found.train.inputs.abs().max() > 0
    assert found.validation.inputs.abs().max() == 0 and found.test.inputs.abs().max() == 0
    assert found.train.inputs.reshape(-1, 4, 4)[:, 0, 3].max() > 0


def test_the_same_seed_gives_the_same_patches():
    a, b, c = small(seed=3), small(seed=3), small(seed=4)
    assert torch.equal(a.train.inputs, b.train.inputs)
    assert torch.equal(a.test.targets, b.test.targets)
    assert not torch.equal(a.train.inputs, c.train.inputs)


def test_patches_of_digits_keep_the_labels_and_are_not_flat():
    digits = mnist(blur=0, train=50, validation=10, test=10)
    data = image_patches(digits, train=300, validation=20, test=30)
    assert data.train.inputs.shape == (300, 36)
    assert (data.train.inputs.abs().amax(1) > 0).all()
    assert data.train.inputs.square().sum(1).mean().item() == pytest.approx(36, rel=1e-4)
    windows = digits.train.inputs.unfold(1, 6, 1).unfold(2, 6, 1)
    for patch, label in zip(data.train.inputs[:10], data.train.targets[:10], strict=True):
        there = windows[digits.train.targets == label].reshape(-1, 36)
        there = there - there.mean(1, keepdim=True)
        assert nearest(patch[None] * data.input_std, there) < 1e-3
    again = image_patches(digits, train=300, validation=20, test=30)
    assert torch.equal(again.train.inputs, data.train.inputs)


def test_patches_of_colour_images_keep_their_channels():
    images = torch.arange(3.0)[:, None, None] * 100 + torch.arange(25.0).reshape(5, 5)
    part = Split(images.expand(4, 3, 5, 5), torch.zeros(4, dtype=torch.int64))
    data = image_patches(Splits("x", part, part, part), patch=2, train=20, validation=2, test=2)
    assert data.train.inputs.shape == (20, 12)
    raw = data.train.inputs * data.input_std
    torch.testing.assert_close(raw[:, 4] - raw[:, 0], torch.full((20,), 100.0), atol=1e-3, rtol=0)
    torch.testing.assert_close(raw[:, 1] - raw[:, 0], torch.ones(20), atol=1e-3, rtol=0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"patch": 0}, "patch must be a whole number of at least 1, got 0"),
        ({"train": 0}, "train must be a whole number of at least 1, got 0"),
        (
            {"patch": 52},
            "patch must be at most 51 for the validation patches of 'brick', 512 x 512",
        ),
        ({"seed": -1}, "seed must be a whole number of at least 0"),
    ],
)
def test_patches_that_cannot_be_cut(options, message):
    with pytest.raises(ValueError, match=message):
        small(**options)


def test_patches_of_images_that_cannot_be_cut():
    flat = Split(torch.ones(3, 8, 8), torch.zeros(3, dtype=torch.int64))
    with pytest.raises(ValueError, match="the train images of x are all but flat"):
        image_patches(Splits("x", flat, flat, flat), train=5, validation=5, test=5)
    with pytest.raises(ValueError, match="patch must be at most 8 for x, got 9"):
        image_patches(Splits("x", flat, flat, flat), patch=9)


# Fashion-MNIST and CIFAR-10


def idx(values: np.ndarray) -> bytes:
    sizes = np.array(values.shape, ">u4").tobytes()
    return bytes((0, 0, 8, values.ndim)) + sizes + values.astype(np.uint8).tobytes()


@pytest.fixture
def fashion(tmp_path, monkeypatch):
    """A small Fashion-MNIST where Debian's package would put it; nowhere else to look."""
    folder = tmp_path / "installed"
    folder.mkdir()
    draw = np.random.default_rng(0)
    hashes = {}
    for part, count in (("train", 30), ("t10k", 10)):
        values = {
            "images-idx3-ubyte": draw.integers(0, 256, (count, 28, 28)),
            "labels-idx1-ubyte": np.arange(count) % 10,
        }
        for kind, value in values.items():
            raw = idx(value)
            hashes[f"{part}-{kind}"] = hashlib.sha256(raw).hexdigest()
            (folder / f"{part}-{kind}.gz").write_bytes(gzip.compress(raw))
    monkeypatch.setattr(sources, "FASHION_SHA256", hashes)
    monkeypatch.setattr(sources, "FASHION_INSTALLED", folder)
    monkeypatch.setattr(sources, "FASHION_MIRRORS", ())
    monkeypatch.setattr(pooch, "os_cache", lambda project: tmp_path / "cache")
    monkeypatch.delenv("SYMSCOPE_DATA", raising=False)
    return folder


few = {"train": 20, "validation": 5, "test": 8}


def test_fashion_mnist_is_read_from_where_debian_puts_it(fashion):
    data = pictures.fashion_mnist(**few)
    assert data.train.inputs.shape == (20, 28, 28) and len(data.test.inputs) == 8
    assert data.train.inputs.mean().abs() < 1e-4
    assert data.train.inputs.std(correction=0).item() == pytest.approx(1, rel=1e-4)
    images, labels, first_test = sources.full_fashion()
    assert first_test == 30
    raw = {image.numpy().tobytes(): int(label) for image, label in zip(images, labels, strict=True)}
    held = {image.numpy().tobytes() for image in images[first_test:]}
    parts = [data.train, data.validation, data.test]
    seen = []
    for part in parts:
        bytes_ = (part.inputs * data.input_std + data.input_mean) * 255
        keys = [image.numpy().tobytes() for image in bytes_.round().to(torch.uint8)]
        assert [raw[key] for key in keys] == part.targets.tolist()
        assert all((key in held) == (part is data.test) for key in keys)
        seen += keys
    assert len(set(seen)) == 33
    again, other = pictures.fashion_mnist(**few), pictures.fashion_mnist(**few, seed=1)
    assert torch.equal(again.train.inputs, data.train.inputs)
    assert not torch.equal(other.train.inputs, data.train.inputs)


def test_fashion_mnist_that_is_not_installed_says_how_to_get_it(fashion, monkeypatch, tmp_path):
    monkeypatch.setattr(sources, "FASHION_INSTALLED", tmp_path / "nowhere")
    message = "train-images-idx3-ubyte.gz of Fashion-MNIST is neither .*nowhere.*fashion-mnist"
    with pytest.raises(DatasetError, match="(?s)" + message) as caught:
        pictures.fashion_mnist(**few)
    assert "install Debian's package dataset-fashion-mnist" in str(caught.value)
    monkeypatch.setenv("SYMSCOPE_DATA", str(tmp_path))
    with pytest.raises(DatasetError, match=r"\(in SYMSCOPE_DATA\) cannot be used: .*No such file"):
        pictures.fashion_mnist(**few)


def test_the_users_folder_goes_first_and_a_bad_file_in_it_is_not_passed_over(
    fashion, monkeypatch, tmp_path
):
    monkeypatch.setenv("SYMSCOPE_DATA", str(tmp_path))
    pictures.fashion_mnist(**few)  # nothing in the user's folder: Debian's
    (tmp_path / "fashion-mnist").mkdir()
    name = "train-images-idx3-ubyte.gz"
    raw = bytearray(gzip.decompress((fashion / name).read_bytes()))
    raw[-1] ^= 1
    (tmp_path / "fashion-mnist" / name).write_bytes(gzip.compress(bytes(raw)))
    with pytest.raises(DatasetError, match="cannot be used: expected SHA-256 .* once decompressed"):
        pictures.fashion_mnist(**few)


@needs_fashion
def test_real_fashion_mnist_passes_its_hashes(monkeypatch):
    monkeypatch.delenv("SYMSCOPE_DATA", raising=False)
    images, labels, first_test = sources.full_fashion()
    assert images.shape == (70_000, 28, 28) and first_test == 60_000
    assert labels.bincount().tolist() == [7_000] * 10


@pytest.fixture
def cifar(tmp_path, monkeypatch):
    """An archive like CIFAR-10's, of few images, in the user's folder."""
    draw = np.random.default_rng(0)
    rows = draw.integers(0, 256, (6, 4, 3073), dtype=np.uint8)
    rows[:, :, 0] %= 10
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        names = [*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"]
        for name, values in zip(names, rows, strict=True):
            info = tarfile.TarInfo(f"cifar-10-batches-bin/{name}.bin")
            info.size = values.nbytes
            archive.addfile(info, io.BytesIO(values.tobytes()))
    folder = tmp_path / "cifar-10"
    folder.mkdir()
    (folder / "cifar-10-binary.tar.gz").write_bytes(packed.getvalue())
    digest = hashlib.sha256(packed.getvalue()).hexdigest()
    monkeypatch.setattr(sources, "CIFAR_SHA256", {"cifar-10-binary.tar.gz": digest})
    monkeypatch.setattr(sources, "CIFAR_MIRRORS", ())
    monkeypatch.setattr(pooch, "os_cache", lambda project: tmp_path / "cache")
    monkeypatch.setenv("SYMSCOPE_DATA", str(tmp_path))
    return rows


def test_cifar_is_parsed_channel_by_channel(cifar):
    images, labels, first_test = sources.cifar10()
    assert images.shape == (24, 3, 32, 32) and first_test == 20
    flat = cifar.reshape(-1, 3073)
    assert labels.tolist() == flat[:, 0].tolist()
    assert images[7, 1, 2, 3] == flat[7, 1 + 1024 + 2 * 32 + 3]
    data = pictures.cifar10(train=12, validation=3, test=4)
    assert data.train.inputs.shape == (12, 3, 32, 32) and len(data.test.targets) == 4


def test_cifar_that_is_altered_or_missing(cifar, monkeypatch, tmp_path):
    path = tmp_path / "cifar-10" / "cifar-10-binary.tar.gz"
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(DatasetError, match="cannot be used: expected SHA-256 .*, found "):
        pictures.cifar10()
    monkeypatch.delenv("SYMSCOPE_DATA")
    with pytest.raises(DatasetError, match="(?s)of CIFAR-10 is neither .*binary version"):
        pictures.cifar10()


def test_sizes_beyond_what_there_is(cifar):
    with pytest.raises(ValueError, match=r"test must be at most 4 for source='CIFAR-10', got 5"):
        pictures.cifar10(train=1, validation=1, test=5)
    with pytest.raises(ValueError, match="validation must be a whole number of at least 1, got 0"):
        pictures.cifar10(validation=0)


# Planted groups

ORDERS = {"quarter turn": 4, "circular shift": 6, "plane rotation": 5, "orthogonal": 5}


def plant(kind: str, **options) -> planted.Planted:
    return planted_group(kind, **{"order": 5, "filters": 2, "samples": 300} | options)


@pytest.mark.parametrize("kind", planted.KINDS)
@pytest.mark.parametrize("two_sided", [False, True])
def test_planted_samples_are_made_by_the_group(kind, two_sided):
    data = plant(kind, two_sided=two_sided)
    n = ORDERS[kind]
    assert data.order == n and data.samples.shape == (300, 36) and data.codes.shape == (300, 2, n)
    assert defect(data.generator, n) < 1e-12
    assert min(float(defect(data.generator, m)) for m in range(1, n)) > 0.1
    eye = torch.eye(36, dtype=torch.float64)
    torch.testing.assert_close(data.generator.T @ data.generator, eye, atol=1e-12, rtol=0)
    torch.testing.assert_close(data.filters.norm(dim=1), torch.ones(2).double())
    made = sum(
        data.codes[:, k, i, None].double()
        * (torch.linalg.matrix_power(data.generator, i) @ data.filters[k])
        for k in range(2)
        for i in range(n)
    )
    torch.testing.assert_close(data.samples.double(), made, atol=1e-5, rtol=0)
    assert ((data.codes != 0).sum((1, 2)) == 2).all()
    sizes = data.codes[data.codes != 0]
    assert 0.5 <= sizes.abs().min() < 0.52 and 1.48 < sizes.abs().max() <= 1.5
    assert (0.4 < (sizes < 0).double().mean() < 0.6) if two_sided else sizes.min() > 0
    used = (data.codes != 0).double().mean(0) * n
    torch.testing.assert_close(used, torch.ones(2, n).double(), atol=0.4, rtol=0)


def test_planted_kinds_are_what_they_are_called():
    patch = torch.arange(36.0, dtype=torch.float64).reshape(6, 6)
    turned = plant("quarter turn").generator @ patch.flatten()
    assert torch.equal(turned.reshape(6, 6), torch.rot90(patch))
    rolled = plant("circular shift").generator @ patch.flatten()
    assert torch.equal(rolled.reshape(6, 6), patch.roll(1, 1))
    plane = plant("plane rotation")
    values = torch.linalg.eigvals(plane.generator)
    assert int((values.real > 1 - 1e-9).sum()) == 34
    assert values.angle().max().item() == pytest.approx(2 * math.pi / 5)
    assert int(torch.linalg.matrix_rank(plane.orbits.reshape(-1, 36), rtol=1e-9)) == 2


def test_planted_noise_has_the_size_asked_for():
    clean, noisy = plant("orthogonal"), plant("orthogonal", noise=0.2)
    assert (noisy.samples - clean.samples).std().item() == pytest.approx(0.2, rel=0.03)


def test_planted_data_repeat_by_seed_and_leave_torchs_stream_alone():
    state = torch.get_rng_state()
    a, b, c = plant("orthogonal", seed=3), plant("orthogonal", seed=3), plant("orthogonal", seed=4)
    assert torch.equal(torch.get_rng_state(), state)
    for x, y in zip(a[:2] + a[3:5], b[:2] + b[3:5], strict=True):
        assert torch.equal(x, y)
    for x, y in zip(a[:2] + a[3:5], c[:2] + c[3:5], strict=True):
        assert not torch.allclose(x, y)


@pytest.mark.parametrize("kind", planted.KINDS)
def test_the_action_error_knows_the_freedom_there_is(kind):
    data = plant(kind)
    a, n = data.generator, data.order
    random = random_orthogonal(1, 36, torch.Generator().manual_seed(9))[0]
    assert action_error(a, data) < 1e-9
    assert action_error(a.T.float(), data) < 1e-5  # the inverse is a coprime power
    assert action_error(-a, data) > 0.1 and action_error(-a, data._replace(two_sided=True)) < 1e-9
    assert 1 < action_error(random, data) < 1.6
    assert action_error(1.1 * a, data) == pytest.approx(0.1)
    assert action_error(torch.linalg.matrix_power(a, n), data) > 0.5  # the identity is no answer
    span = torch.linalg.pinv(data.orbits.reshape(-1, 36)) @ data.orbits.reshape(-1, 36)
    off = torch.eye(36, dtype=torch.float64) - span
    assert action_error(a @ span + random @ off, data) < 1e-9
    if n == 4:
        assert action_error(a @ a, data) > 0.5  # 2 and 4 have a factor in common


@pytest.mark.parametrize("kind", planted.KINDS)
def test_orbit_errors_know_the_freedom_there_is(kind):
    data = plant(kind)
    n, truth = data.order, data.orbits
    order = [(2 + (n - 1) * i) % n for i in range(n)]  # another start, backwards
    found = truth.flip(0)[:, order][:, None].float()  # (J, K, n, d), in sets of one
    assert orbit_errors(found, data).max() < 1e-6
    one = torch.cat([truth[:1], truth[:1]])[:, None]
    errors = orbit_errors(one, data)
    assert errors[0] < 1e-9 and errors[1] > 0.1
    if kind != "plane rotation":  # there, turned half round, they are near
        shuffled = found[:, :, [0, 2, 1, *range(3, n)]]
        assert orbit_errors(shuffled, data).min() > 0.5
        assert orbit_errors(-found, data).min() > 0.5
    assert orbit_errors(-found, data._replace(two_sided=True)).max() < 1e-6


def test_a_planted_plane_rotation_is_recovered_from_far_away():
    data = planted_group("plane rotation")

    def build() -> tasks.Reconstructor:
        orbit = CyclicOrbit(36, 4, sets=1, constraint="orthogonal")
        orbit.generators = small_rotations(1, 36, 0.4).float()
        return tasks.Reconstructor(UnfoldedPatches(orbit, sparsity=0.1, two_sided=False))

    head = seeded(build, 0)
    orbit = head.network.dictionary
    assert action_error(orbit.generators[0], data) > 0.9
    fit_steps(head, data.samples, steps=1_000)
    assert action_error(orbit.generators[0], data) < 0.05


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"order": 0}, "order must be a whole number of at least 1, got 0"),
        ({"filters": 0}, "filters must be a whole number of at least 1, got 0"),
        ({"samples": 0}, "samples must be a whole number of at least 1, got 0"),
        ({"patch": 1}, "patch must be a whole number of at least 2, got 1"),
        ({"active": 11}, "active must be at most 10 codes a sample, got 11"),
        ({"noise": -0.1}, "noise must be a finite number at least 0, got -0.1"),
        ({"seed": -1}, "seed must be a whole number of at least 0, got -1"),
    ],
)
def test_planted_numbers_out_of_range(options, message):
    with pytest.raises(ValueError, match=message):
        plant("orthogonal", **options)


def test_planted_kinds_that_there_are_not():
    with pytest.raises(ValueError, match="kind must be one of quarter turn, .*; got 'flip'"):
        plant("flip")
    with pytest.raises(ValueError, match=r"orbits must be \(J, K, 5, 36\), got \(1, 1, 4, 36\)"):
        orbit_errors(torch.zeros(1, 1, 4, 36), plant("orthogonal"))
