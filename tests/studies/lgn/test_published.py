"""The authors' network: forward by hand, norms after each step, the regulariser, bad input."""

import numpy as np
import pytest
import torch
from helpers import random
from torch import nn

from studies.lgn import published
from studies.lgn.operations import rotation
from studies.networks import fit_steps, seeded
from symscope.orbits.cyclic import defect

SHAPE = (2, 7, 6)
SMALL = {"shape": SHAPE, "depth": 3, "sets": 2, "order": 3, "patch": 4}


def network(kind: str = "learned", **options) -> published.PublishedNetwork:
    return seeded(lambda: published.PublishedNetwork(**SMALL, kind=kind, **options), 0)


def classifier(kind: str = "learned") -> published.PublishedClassifier:
    made = network(kind, normalise=True)
    return seeded(lambda: published.PublishedClassifier(made, classes=3, pool=2), 1)


def reconstructor(kind: str = "learned") -> published.PublishedReconstructor:
    made = network(kind)
    return seeded(lambda: published.PublishedReconstructor(made), 1)


def in_numpy(made: published.PublishedNetwork, images: np.ndarray) -> list[np.ndarray]:
    """The layers of a classifier in training, by the equations, pixel by pixel."""
    count, _, height, width = images.shape
    side, order = made.orbits[0].patch, made.orbits[0].order
    ring = np.zeros((count, made.shape[0], height + 2, width + 2))
    ring[:, :, 1:-1, 1:-1] = images
    places = [(y, x) for y in range(height + 3 - side) for x in range(width + 3 - side)]
    old = point = np.zeros((count, made.atoms, height + 3 - side, width + 3 - side))
    found, t = [], 1.0
    for layer, orbits in enumerate(made.orbits):
        w, A = orbits.base.numpy(), orbits.generators.numpy()
        atoms = np.array(
            [
                [np.linalg.matrix_power(A[j, c], i) @ w[j, c] for c in range(w.shape[1])]
                for j in range(len(w))
                for i in range(order)
            ]
        ).reshape(made.atoms, -1, side, side)
        drawn = np.zeros_like(ring)
        for y, x in places:
            window = np.einsum("nm,mcij->ncij", point[:, :, y, x], atoms)
            drawn[:, :, y : y + side, x : x + side] += window
        drawn[:, :, [0, -1]] = drawn[..., [0, -1]] = 0  # outside of the image nothing is compared
        moved = point.copy()
        for y, x in places:
            window = (ring - drawn)[:, :, y : y + side, x : x + side]
            moved[:, :, y, x] += 0.01 * np.einsum("ncij,mcij->nm", window, atoms)
        threshold = 0.01 * made.thresholds[layer].numpy()
        codes = np.maximum(moved - threshold[:, None, None], 0)
        after = (1 + (1 + 4 * t * t) ** 0.5) / 2
        point = codes + (t - 1) / after * (codes - old)
        if made.norms:
            centred = point - point.mean((0, 2, 3), keepdims=True)
            point = centred / np.sqrt(point.var((0, 2, 3), keepdims=True) + 1e-5)
        old, t = codes, after
        found.append(codes)
    return found


@torch.no_grad()
@pytest.mark.parametrize("normalise", [False, True])
def test_the_forward_pass_is_the_equations_in_numpy(normalise):
    made = network(normalise=normalise).double()
    made.thresholds.copy_(0.5 * random(3, 6, seed=2))  # of either sign, other in each layer
    images = random(5, *SHAPE, seed=3).double()
    found = made.train().every_layer(images)
    for codes, expected in zip(found, in_numpy(made, images.numpy()), strict=True):
        assert codes.shape == (5, 6, 6, 5)
        np.testing.assert_allclose(codes.numpy(), expected, rtol=1e-6, atol=1e-9)
        assert (expected > 0).any() and (expected == 0).any()


@torch.no_grad()
def test_codes_of_cifar_images_are_29_by_29():
    made = published.PublishedNetwork(normalise=True)
    assert made(random(1, 3, 32, 32)).shape == (1, 20, 29, 29)
    assert published.PublishedReconstructor(made)(random(1, 3, 32, 32)).shape == (1, 3, 32, 32)


@pytest.mark.parametrize("shape, side", [((3, 8, 8), 6), ((1, 5, 9), 3), ((2, 7, 6), 4)])
def test_the_fast_convolutions_are_torchs(shape, side):
    images = random(3, *shape, seed=1).double().requires_grad_()
    filters = random(4, shape[0], side, side, seed=2).double().requires_grad_()
    codes = nn.functional.conv2d(images, filters, padding=1).detach().requires_grad_()
    for fast, plain, given in (
        (published._Seen, nn.functional.conv2d, images),
        (published._Drawn, nn.functional.conv_transpose2d, codes),
    ):
        found, expected = fast.apply(given, filters), plain(given, filters, padding=1)
        torch.testing.assert_close(found, expected)
        upon = random(*expected.shape, seed=3).double()
        pairs = (torch.autograd.grad(each, (given, filters), upon) for each in (found, expected))
        for mine, torchs in zip(*pairs, strict=True):
            torch.testing.assert_close(mine, torchs)


@torch.no_grad()
def test_the_heads_judge_their_tasks():
    images, labels = random(6, *SHAPE), torch.tensor([0, 1, 2, 0, 1, 2])
    head = classifier().eval()
    codes = head.network(images)
    # 6 x 5 places in 2 x 2 regions: rows 0-2, 3-5, columns 0-2, 2-4.
    pooled = torch.stack(
        [codes[:, :, r : r + 3, c : c + 3].mean((2, 3)) for r in (0, 3) for c in (0, 2)], 2
    )
    torch.testing.assert_close(head(images), head.linear(pooled.flatten(1)))
    expected = nn.functional.cross_entropy(head(images), labels)
    torch.testing.assert_close(head.loss(images, labels), expected)
    judge = reconstructor()
    assert judge.decoder.shape == (6, 2, 4, 4)
    torch.testing.assert_close(judge.loss(images), (judge(images) - images).square().mean())
    one = torch.zeros(6, 6, 6, 5)
    one[0, 4, 1, 2] = 2.0
    judge.network.forward = lambda images: one
    expected = torch.zeros(6, *SHAPE)
    expected[0, :, 0:4, 1:5] = 2 * judge.decoder[4]
    torch.testing.assert_close(judge(images), expected)


def norms(head: nn.Module) -> list[torch.Tensor]:
    found = []
    for orbits in head.network.orbits:
        found.append(orbits.base.norm(dim=-1))  # of each channel
        if orbits.kind == "learned":
            found.append(orbits.generators.flatten(-2).norm(dim=-1))
    if hasattr(head, "decoder"):
        found.append(head.decoder.flatten(2).norm(dim=2))
    return [each.detach() for each in found]


@pytest.mark.parametrize("make", [classifier, reconstructor])
@pytest.mark.parametrize("kind", published.KINDS)
def test_norms_are_1_after_every_step_and_training_moves_all_there_is(make, kind):
    head = make(kind)
    before = {name: value.clone() for name, value in head.named_parameters()}
    images, labels = random(40, *SHAPE), torch.arange(40) % 3
    for steps in (0, 1, 6):
        if steps:
            fit_steps(head, images, labels, steps=steps, batch_size=20, lr=1e-2, penalty=1e-2)
        for found in norms(head):
            torch.testing.assert_close(found, torch.ones_like(found))
    still = [name for name, value in head.named_parameters() if torch.equal(value, before[name])]
    assert not still
    if kind == "cyclic":
        for orbits in head.network.orbits:
            assert defect(orbits.matrices().detach(), 3).max() < 1e-5
    if kind == "learned":  # B is free
        free = head.network.orbits[0].inverses.flatten(2).norm(dim=2)
        assert (free - 1).abs().min() > 1e-3


def test_the_regulariser_and_its_gradient_by_finite_differences():
    made = network().double()
    total = 0.0
    for orbits in made.orbits:
        for j in range(2):
            for c in range(2):
                product = orbits.generators[j, c] @ orbits.inverses[j, c]
                total += (product - torch.eye(16)).square().sum().sqrt().item()
    penalty = made.penalty()
    assert penalty.item() == pytest.approx(total)
    penalty.backward()
    for parameter in (made.orbits[1].generators, made.orbits[2].inverses):
        direction = random(*parameter.shape, seed=4).double()
        slope = float((parameter.grad * direction).sum())
        sides = []
        for sign in (1, -1):
            with torch.no_grad():
                parameter.add_(sign * 1e-6 * direction)
                sides.append(float(made.penalty()))
                parameter.sub_(sign * 1e-6 * direction)
        assert slope == pytest.approx((sides[0] - sides[1]) / 2e-6, rel=1e-5)


@torch.no_grad()
def test_the_relatives():
    base = network("free").orbits[0]
    assert base().shape == (2, 3, 2, 16) and float(base.penalty()) == 0
    with pytest.raises(ValueError, match="free filters have no generators"):
        base.matrices()
    turned = network("rotations").orbits[0]
    for i in range(3):
        expected = turned.base @ rotation(4, 60 * i).float().mT
        torch.testing.assert_close(turned()[:, i], expected)
    torch.testing.assert_close(turned.matrices()[1, 1], rotation(4, 60).float())
    cyclic = network("cyclic").orbits[0]
    found = cyclic()
    torch.testing.assert_close(found.norm(dim=-1), found[:, :1].norm(dim=-1).expand(-1, 3, -1))
    again = torch.einsum("jcab,jcb->jca", cyclic.matrices(), found[:, 2])
    torch.testing.assert_close(again, found[:, 0])


def test_images_and_filters_that_do_not_fit():
    made = network()
    with pytest.raises(ValueError, match=r"images must be \(N, 2, 7, 6\), got \(3, 1, 7, 6\)"):
        made(random(3, 1, 7, 6))
    with pytest.raises(ValueError, match=r"images must be \(N, 2, 7, 6\), got \(3, 2, 8, 6\)"):
        made(random(3, 2, 8, 6))
    with pytest.raises(ValueError, match=r"patch must be at most 5 for images \(3, 9, 5\), got 6"):
        published.PublishedNetwork((3, 9, 5))
    with pytest.raises(ValueError, match=r"shape must be \(channels, H, W\), got \(32, 32\)"):
        published.PublishedNetwork((32, 32))
    with pytest.raises(ValueError, match="kind must be one of learned, free, rotations, cyclic"):
        published.PublishedNetwork(kind="any")


def test_nan_stops_the_training_and_leaves_the_last_good_state():
    head, images = reconstructor(), random(40, *SHAPE)
    images[7, 0, 0, 0] = float("nan")
    with pytest.raises(FloatingPointError, match="look for NaN in the data"):
        fit_steps(head, images, steps=4, batch_size=20)
    assert all(value.isfinite().all() for value in head.parameters())
