"""Samples that belong together: the unit of bounds, whatever is asked and however data come."""

import re

import pytest
import torch
from helpers import random, seeded_stream
from torch import nn
from torch.utils.data import TensorDataset

import symscope as ss
from symscope.actions import PointAction
from symscope.decide.rule import bound_within, relative_within
from symscope.inputs.samples import Parts
from symscope.inputs.stream import Stream

ROUND = ss.LinearAction(3)
TURNS = ss.algebra.so(3)
NET = nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, 2)).double()


def broken(x):
    a, b = (x @ torch.tensor([[1.0, 2, -1], [2, -1, 1]]).T.to(x)).unbind(1)
    return (2 * x.norm(dim=1)).sin() + (a.sin() + b.cos()) / 6


def carried(x):
    return torch.linalg.cross(x, torch.stack([x[:, 1], x[:, 2], x[:, 0]], 1))


def of_gradients(x, **settings):
    leaf = x.clone().requires_grad_()
    slopes = torch.autograd.grad(broken(leaf).sum(), leaf)[0]
    return ss.symmetries_of_gradients(x, slopes, ROUND, **settings)


def of_images(x, **settings):
    def corner(images):
        return images[:, 2:6, 2:6].flatten(1).tanh()

    images = (x[:, :, None] * x[:, None, :]).repeat(1, 3, 3)
    return ss.plane_symmetries(corner, images, contrast=lambda i: corner(i) ** 2, **settings)


def of_layers(x, **settings):
    return ss.layer_symmetries(NET, x, action=ROUND, **settings)["1"]


# A report on (N, 3) samples, by what is called.
CALLS = {
    "learned": lambda x, **s: ss.learned_symmetries(broken, x, action=ROUND, **s),
    "gradients": of_gradients,
    "layers": of_layers,
    "pairs": lambda x, **s: ss.equivariant_symmetries(carried, x, action=ROUND, **s),
    "dynamics": lambda x, **s: ss.dynamics_symmetries(carried, x, action=ROUND, **s),
    "plane": of_images,
}


def vectors(count, seed=0):
    return random(count, 3, seed=seed, dtype=torch.float64)


@pytest.mark.parametrize("call", CALLS)
def test_groups_of_one_sample_change_no_bound(call):
    x = vectors(96)
    labels = torch.randperm(96)  # names, not places
    alone, found = CALLS[call](x), CALLS[call](x, groups=labels)
    assert torch.equal(found.bound, alone.bound) and found.evidence.units == 96


@pytest.mark.parametrize("call", CALLS)
def test_copies_of_a_sample_make_no_bound_closer(call):
    """Reference rows are drawn for each copy, so that their part of the error is smaller."""
    count, copies, ratios = 12, 40, {"grouped": [], "in a row": [], "scattered": []}
    labels = torch.arange(count).repeat_interleave(copies)
    for seed in range(3):
        x = vectors(count, seed)
        once = _width(CALLS[call](x, seed=seed))
        for order, found in ratios.items():
            many = x.repeat(copies, 1) if order == "scattered" else x[labels]
            groups = {"groups": labels} if order == "grouped" else {}
            report = CALLS[call](many, seed=seed, batch_size=480, **groups)
            assert report.evidence.units == count
            found.append(_width(report) / once)
    for found in ratios.values():
        assert 0.3 < float(torch.tensor(found).median()) < 1.2


def _width(report):
    """How far the bound of the first three directions is above what they change."""
    span = torch.eye(report.evidence.dimension, dtype=torch.float64)[:3]
    largest = relative_within(report.evidence, span)[0][-1]
    return bound_within(report.evidence, span) - float(largest)


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("length", [20, 97])
def test_groups_of_another_length_are_refused(call, length):
    for data in (vectors(96), *([] if call in ("gradients", "plane") else [LISTED])):
        says = rf"groups must say of every sample .*(48|96),\); got \({length},\)"
        with pytest.raises(ValueError, match=says):
            CALLS[call](data, groups=torch.arange(length))


LISTED = list(vectors(96).split(48))


def test_groups_of_data_in_any_form_are_counted_alike():
    x, labels = vectors(96), torch.arange(16).repeat_interleave(6)
    forms = [
        (x, None),
        (LISTED, None),
        (TensorDataset(x), None),
        ({"x": x}, "x"),
        (iter([x]), None),
    ]
    asked = {"action": ROUND, "groups": labels.tolist()}
    for data, moves in forms:
        found = ss.learned_symmetries(broken, data, moves=moves, **asked)
        assert [piece.samples for piece in found.evidence.pieces] == [6] * 16
    names = [f"molecule {label}" for label in labels.tolist()]
    named = ss.learned_symmetries(broken, x, action=ROUND, groups=names)
    numbered = ss.learned_symmetries(broken, x, **asked)
    assert torch.equal(named.bound, numbered.bound)
    assert named.along(TURNS[0]).median == numbered.along(TURNS[0]).median
    few = ss.learned_symmetries(broken, x, action=ROUND, groups=labels, samples=60)
    assert few.evidence.units <= 16 < few.evidence.samples == 60


def test_a_group_stays_together_in_whichever_order_its_samples_come():
    """Samples of one mask are paired with each other alone, and come one mask after another."""
    there = torch.ones(60, 4, dtype=torch.bool)
    there[torch.randint(2, (60,), generator=seeded_stream()).bool(), 3] = False
    data = {"pos": random(60, 4, 3, dtype=torch.float64), "mask": there}
    labels = torch.arange(20).repeat_interleave(3)

    def energy(pos, mask):
        return (pos * mask[..., None]).sum(1).norm(dim=1).sin()

    asked = {"action": PointAction(3), "moves": "pos", "groups": labels}
    found = ss.learned_symmetries(energy, data, **asked)
    assert [piece.samples for piece in found.evidence.pieces] == [3] * 20


MASKED = torch.arange(40)[:, None] % 3 == torch.arange(3)


@pytest.mark.parametrize(
    ("data", "parts", "settings"),
    [
        (lambda x: x, None, {"samples": 30}),
        (lambda x: TensorDataset(x), None, {"samples": 30}),
        (lambda x: list(x.split(7)), None, {}),
        (lambda x: {"x": x, "mask": MASKED}, Parts("x"), {}),
        (lambda x: {"x": x, "mask": MASKED}, Parts("x"), {"samples": 30}),
        (lambda x: [{"x": p, "mask": m} for p, m in zip(x, MASKED, strict=True)], Parts("x"), {}),
        (lambda x: [{"x": p[: 2 + i % 2]} for i, p in enumerate(x)], Parts("x"), {}),
        (lambda x: [{"x": x.flatten(0, 1), "batch": torch.arange(120) // 3}], Parts("x"), {}),
        (lambda x: list(x.split(7)), Parts(lambda x: (x, lambda moved: moved)), {}),
    ],
)
def test_every_sample_has_its_place_in_the_data(data, parts, settings):
    x = torch.arange(40.0)[:, None, None].expand(40, 3, 3)
    stream = Stream(data(x), PointAction(3), 16, 0, parts=parts, **settings)
    seen = [(batch.inputs[:, 0, 0].tolist(), batch.places.tolist()) for batch in stream]
    assert sum(len(places) for _, places in seen) == settings.get("samples", 40)
    assert all(values == places for values, places in seen)


def test_within_and_contrast_rest_on_whole_groups():
    labels = torch.arange(30).repeat_interleave(20)
    x = vectors(30).repeat_interleave(20, 0)
    other = {"contrast": lambda x: (x @ torch.tensor([1.0, 2, -1]).to(x)).sin()}
    asked = {"action": ROUND, "batch_size": 600, **other}
    apart = ss.learned_symmetries(broken, vectors(600), **asked)
    found = ss.learned_symmetries(broken, x, groups=labels, **asked)
    for each in (found, found.contrast, found.shuffled, found.controls(other=broken)["other"]):
        assert [piece.samples for piece in each.evidence.pieces] == [20] * 30
    assert found.within(TURNS).bound > apart.within(TURNS).bound
    assert float(found.over_contrast[1][0]) != float(apart.over_contrast[1][0])
    assert "600 samples (30 independent)" in str(found)


def test_of_samples_that_belong_together_along_tells_the_median_group():
    x = torch.cat([vectors(10).repeat_interleave(9, 0), 3 * vectors(1, 1).expand(90, 3)])
    labels = torch.cat([torch.arange(10).repeat_interleave(9), torch.full((90,), 10)])
    alone = ss.learned_symmetries(broken, x, action=ROUND).along(TURNS[0])
    found = ss.learned_symmetries(broken, x, action=ROUND, groups=labels).along(TURNS[0])
    assert torch.equal(found.changes, alone.changes) and found.worst == alone.worst
    each = found.changes[torch.arange(0, 91, 9)].sort()[0]
    assert found.median == pytest.approx(float(each[5])) != alone.median


def test_of_shards_groups_cannot_be_told():
    with pytest.raises(ValueError, match=re.escape("groups are of all samples, of which a shard")):
        ss.symmetries_of_shards(broken, LISTED, action=ROUND, groups=torch.arange(96))
