"""The authors' network: forward by hand, norms after each step, the regulariser, bad input."""

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


@torch.no_grad()
def test_the_forward_pass_is_the_loop_written_out():
    made = network()
    made.thresholds.copy_(0.5 * random(3, 6, seed=2))  # of either sign, other in each layer
    images = random(2, *SHAPE, seed=3)
    expected = torch.zeros(2, 6, 4, 3)
    momenta = [0.0, (1 + 5**0.5) / 2]
    momenta.append((1 + (1 + 4 * momenta[1] ** 2) ** 0.5) / 2)
    momenta = [0.0, (momenta[1] - 1) / momenta[2]]
    codes, point = expected.clone(), expected.clone()
    for layer in range(3):
        atoms = torch.zeros(6, 2, 16)
        for j in range(2):
            for c in range(2):
                w = made.orbits[layer].base[j, c]
                for i in range(3):
                    atoms[3 * j + i, c] = w
                    w = made.orbits[layer].generators[j, c] @ w
        atoms = atoms.reshape(6, 2, 4, 4)
        drawn = torch.zeros_like(images)
        for m in range(6):
            for y in range(4):
                for x in range(3):
                    drawn[:, :, y : y + 4, x : x + 4] += (
                        point[:, m, y, x, None, None, None] * atoms[m]
                    )
        new = torch.zeros_like(codes)
        for m in range(6):
            for y in range(4):
                for x in range(3):
                    seen = (drawn - images)[:, :, y : y + 4, x : x + 4]
                    gradient = (seen * atoms[m]).sum((1, 2, 3))
                    moved = point[:, m, y, x] - 0.01 * gradient
                    new[:, m, y, x] = (moved - 0.01 * made.thresholds[layer, m]).clamp(min=0)
        momentum = momenta[layer] if layer < 2 else None
        torch.testing.assert_close(made.every_layer(images)[layer], new)
        if momentum is not None:
            codes, point = new, new + momentum * (new - codes)
    assert (new > 0).any() and (new == 0).any()


@torch.no_grad()
def test_the_batch_norm_is_between_the_layers():
    made = network(normalise=True)
    assert len(made.norms) == 2
    images = random(50, *SHAPE)
    first, _, last = made.train().every_layer(images)
    torch.testing.assert_close(first.mean((0, 2, 3)), torch.zeros(6), rtol=0, atol=1e-4)
    assert last.min() >= 0 and first.min() < 0


@torch.no_grad()
def test_the_heads_judge_their_tasks():
    images, labels = random(6, *SHAPE), torch.tensor([0, 1, 2, 0, 1, 2])
    head = classifier().eval()
    codes = head.network(images)
    # 4 x 3 places in 2 x 2 regions: rows 0-1, 2-3, columns 0-1, 1-2.
    pooled = torch.stack(
        [codes[:, :, r : r + 2, c : c + 2].mean((2, 3)) for r in (0, 2) for c in (0, 1)], 2
    )
    torch.testing.assert_close(head(images), head.linear(pooled.flatten(1)))
    expected = nn.functional.cross_entropy(head(images), labels)
    torch.testing.assert_close(head.loss(images, labels), expected)
    judge = reconstructor()
    assert judge.decoder.shape == (6, 2, 4, 4)
    torch.testing.assert_close(judge.loss(images), (judge(images) - images).square().mean())
    one = torch.zeros(6, 6, 4, 3)
    one[0, 4, 1, 2] = 2.0
    judge.network.forward = lambda images: one
    expected = torch.zeros(6, *SHAPE)
    expected[0, :, 1:5, 2:6] = 2 * judge.decoder[4]
    torch.testing.assert_close(judge(images), expected)


def norms(head: nn.Module) -> list[torch.Tensor]:
    found = []
    for orbits in head.network.orbits:
        found.append(orbits.base.flatten(-2).norm(dim=-1))
        if orbits.kind == "learned":
            found.append(orbits.generators.flatten(-2).norm(dim=-1))
    if hasattr(head, "decoder"):
        found.append(head.decoder.flatten(1).norm(dim=1))
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
    with pytest.raises(ValueError, match="step must be a finite number above 0"):
        published.PublishedNetwork(step=0)


def test_nan_stops_the_training_and_leaves_the_last_good_state():
    head, images = reconstructor(), random(40, *SHAPE)
    images[7, 0, 0, 0] = float("nan")
    with pytest.raises(FloatingPointError, match="look for NaN in the data"):
        fit_steps(head, images, steps=4, batch_size=20)
    assert all(value.isfinite().all() for value in head.parameters())
