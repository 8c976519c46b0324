"""Digits: splits by seed, rotation, blur, copies, classes, and bad arguments."""

import gzip
from functools import partial

import numpy as np
import pytest
import torch
from helpers import equal
from scipy.ndimage import gaussian_filter

from studies.data import digits, mnist, rotate, rotated_mnist, sources
from symscope._draws import stream

NAMES = tuple(sources.MNIST_SHA256)
small = partial(mnist, train=30, validation=10, test=10, blur=1.5)


def pixels(split: digits.Split) -> torch.Tensor:
    """The original bytes of images that were neither turned nor blurred."""
    raw = split.inputs * digits.MNIST_STD + digits.MNIST_MEAN
    return (255 * raw).round().to(torch.uint8)


def distinct(*splits: digits.Split) -> int:
    return len({image.numpy().tobytes() for split in splits for image in pixels(split)})


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


@pytest.mark.parametrize("make", [small, partial(small, rotate=True, copies=2)])
def test_same_seed_same_tensors_other_seed_other_tensors(make):
    first, again, other = make(seed=3), make(seed=3), make(seed=4)
    for part in ("train", "validation", "test"):
        assert equal(getattr(first, part), getattr(again, part))
        assert not torch.equal(getattr(first, part).inputs, getattr(other, part).inputs)


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


def test_fresh_turns_are_the_same_digits_at_other_angles_each_time():
    sizes = {"train": 20, "test": 10, "copies": 2, "seed": 3}
    fixed, fresh = rotated_mnist(**sizes).train.inputs, digits.fresh_turns(**sizes)
    first, again, other = fresh(1), fresh(1), fresh(2)
    assert torch.equal(first, again) and first.shape == fixed.shape
    # A turn about the centre leaves the mass of a disc around it where it is.
    x = torch.arange(28) - 13.5
    disc = (x[:, None] ** 2 + x**2 < 12**2).float()
    mass = [((each - each.min()) * disc).sum((1, 2)) for each in (fixed, first, other)]
    for each in mass[1:]:
        torch.testing.assert_close(each, mass[0], rtol=0.02, atol=0)
    for a, b in ((fixed, first), (first, other), (first[:20], first[20:])):
        assert ((a - b).abs().amax((1, 2)) > 0.1).all()
