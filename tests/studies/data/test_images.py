"""Pictures, their patches, clothes and colours."""

import pytest
import skimage.data
import torch

from studies.data import Splits, sources
from studies.data import images as pictures
from studies.data.images import picture_patches


def test_photographs_are_grey_pictures_in_range():
    found = pictures.photographs()
    assert list(found) == ["astronaut", "camera", "chelsea", "coffee", "coins"]
    for picture in found.values():
        assert picture.dtype == torch.float32 and picture.ndim == 2
        assert picture.min() >= 0 and 0.5 < picture.max() <= 1
    torch.testing.assert_close(
        found["camera"] * 255, torch.from_numpy(skimage.data.camera() * 1.0).float()
    )
    colours = torch.from_numpy(skimage.data.coffee()).double() / 255
    expected = colours @ torch.tensor([0.2126, 0.7152, 0.0722], dtype=torch.float64)
    torch.testing.assert_close(found["coffee"].double(), expected, atol=1e-6, rtol=0)


# Patches


def small(**options) -> Splits:
    three = [(name, pictures.photographs()[name]) for name in ("camera", "coffee", "coins")]
    return picture_patches(dict(three), **{"train": 400, "validation": 50, "test": 60} | options)


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


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"patch": 0}, "patch must be a whole number of at least 1, got 0"),
        ({"train": 0}, "train must be a whole number of at least 1, got 0"),
        (
            {"patch": 52},
            "patch must be at most 51 for the validation patches of 'camera', 512 x 512",
        ),
        ({"seed": -1}, "seed must be a whole number of at least 0"),
    ],
)
def test_patches_that_cannot_be_cut(options, message):
    with pytest.raises(ValueError, match=message):
        small(**options)


few = {"train": 20, "validation": 5, "test": 8}


def test_fashion_mnist_is_read_from_where_debian_puts_it(fashion):
    data = pictures.image_set("Fashion-MNIST", **few)
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
    again, other = (
        pictures.image_set("Fashion-MNIST", **few),
        pictures.image_set("Fashion-MNIST", **few, seed=1),
    )
    assert torch.equal(again.train.inputs, data.train.inputs)
    assert not torch.equal(other.train.inputs, data.train.inputs)


def test_cifar_is_parsed_channel_by_channel(cifar):
    images, labels, first_test = sources.cifar10()
    assert images.shape == (24, 3, 32, 32) and first_test == 20
    flat = cifar.reshape(-1, 3073)
    assert labels.tolist() == flat[:, 0].tolist()
    assert images[7, 1, 2, 3] == flat[7, 1 + 1024 + 2 * 32 + 3]
    data = pictures.image_set("CIFAR-10", train=12, validation=3, test=4)
    assert data.train.inputs.shape == (12, 3, 32, 32) and len(data.test.targets) == 4


def test_the_jpeg_copy_is_read_by_part_class_and_place(cifar_jpeg):
    images, labels, first_test = sources.cifar10_jpeg()
    assert images.shape == (30, 3, 32, 32) and first_test == 20
    assert labels.tolist() == [k for k in range(10) for _ in (0, 1)] + list(range(10))
    levels = images.float().mean((1, 2, 3))
    expected = [20 * k + 5 * i for k in range(10) for i in (0, 1)] + [20 * k + 2 for k in range(10)]
    torch.testing.assert_close(levels, torch.tensor(expected).float(), rtol=0, atol=1)
    data = pictures.image_set("CIFAR-10 (JPEG copy)", train=12, validation=3, test=4)
    assert data.name == "CIFAR-10 (JPEG copy)"
    assert data.train.inputs.shape == (12, 3, 32, 32)


def test_patches_in_colour_are_those_of_each_colour():
    draw = torch.Generator().manual_seed(0)
    picture = torch.rand(3, 40, 60, generator=draw)
    sizes = {"patch": 4, "train": 30, "validation": 5, "test": 5}
    colour = pictures.picture_patches({"one": picture}, **sizes)
    assert colour.train.inputs.shape == (30, 48)
    windows = picture.unfold(1, 4, 1).unfold(2, 4, 1).permute(1, 2, 0, 3, 4).flatten(2)
    windows = windows - windows.mean(2, keepdim=True)
    for patch in colour.train.inputs * colour.input_std:
        near = (windows[:, :39] - patch).abs().amax(2)
        assert near.min() < 1e-5


def test_the_photographs_in_colour():
    found = pictures.colour_photographs()
    assert list(found) == ["astronaut", "chelsea", "coffee"]
    grey = pictures.photographs()
    weights = torch.tensor([0.2126, 0.7152, 0.0722])
    for name, picture in found.items():
        torch.testing.assert_close(torch.einsum("c,chw->hw", weights, picture), grey[name])


def test_sizes_beyond_what_there_is(cifar):
    with pytest.raises(ValueError, match=r"test must be at most 4 for source='CIFAR-10', got 5"):
        pictures.image_set("CIFAR-10", train=1, validation=1, test=5)
    with pytest.raises(ValueError, match="train must be a whole number of at least 1, got 0"):
        pictures.image_set("CIFAR-10", train=0)
