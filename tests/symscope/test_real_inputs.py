"""What people hand in: answered rightly, or refused in a sentence that says the way."""

import pytest
import torch
from helpers import random
from torch import nn
from torch.utils.data import DataLoader, Dataset

import symscope as ss

TURNS = ss.PointAction(group="linear")
POOLED = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
PLANE = ss.PlaneAction()


def radii(points):
    return points.norm(dim=2).sum(1)


class Sizes(Dataset):
    """Images of three sizes, with labels."""

    def __len__(self):
        return 40

    def __getitem__(self, place):
        return random(1, 10 + place % 3, 12, seed=place), place % 3


def exported(batch):
    """A network that takes so many images at once, no more and no fewer."""
    return torch.export.export(POOLED, (torch.zeros(batch, 1, 12, 12),)).module()


IMAGES = random(40, 1, 12, 12)
SETS = [random(1, 4 + k % 3, 3, seed=k, dtype=torch.float64) for k in range(60)]
X, T = random(60, 2), random(60, 1)
REFUSED = {
    "a function of time, too": (lambda t, x: radii(x), SETS[0], TURNS, {}, r"lambda x: f\(t, x\)"),
    "a list of samples": (radii, [s[0] for s in SETS], TURNS, {}, r"goes in as x\[None\]"),
    "a list of images": (
        nn.Sequential(*POOLED, nn.Linear(4, 2)),
        [image for image, _ in map(Sizes().__getitem__, range(40))], PLANE, {}, r"x\[None\]",
    ),
    "a dataset of sizes": (POOLED, Sizes(), PLANE, {}, "batch_size=1"),
    "a fixed batch": (exported(4), IMAGES, PLANE, {}, "hand in batch_size=4"),
    "columns of two parts": (
        lambda x, t: x.sum(1), {"x": X, "t": T}, ss.LinearAction(3), {"moves": ["x", "t"]},
        "columns of several parts a callable",
    ),
    "points with a charge": (radii, random(60, 8, 4), ss.PointAction(), {}, "vectors=1"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_answered_is_told_the_way(case):
    network, data, action, options, way = REFUSED[case]
    with pytest.raises((ValueError, TypeError, RuntimeError), match=way):
        ss.learned_symmetries(network, data, action=action, **options)


def test_each_way_leads_to_an_answer():
    assert ss.learned_symmetries(radii, SETS, action=TURNS).count == 3
    for data, network, options in (
        (DataLoader(Sizes(), batch_size=1), POOLED, {}),
        (IMAGES, exported(4), {"batch_size": 4}),
        (DataLoader(IMAGES, batch_size=1), exported(1), {}),
    ):
        assert ss.learned_symmetries(network, data, action=PLANE, **options).count == 0


def test_precision_that_does_not_arrive_is_that_of_rounding():
    data = random(200, 3, dtype=torch.float64)
    found = ss.learned_symmetries(
        lambda x: x.float().norm(dim=1).to(x), data, action=ss.LinearAction(3)
    )
    assert (found.count, found.level) == (3, "exact") and found.relative[2] > 1e-12
