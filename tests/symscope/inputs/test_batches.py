"""Samples of different sizes, in whatever form they come."""

import pytest
import torch
from helpers import random
from torch import nn
from torch.utils.data import DataLoader, Dataset, IterableDataset

import symscope as ss
from symscope.inputs.samples import Parts, batches

ACTION = ss.PointAction()
SIZES = torch.randint(3, 7, (360,), generator=torch.Generator().manual_seed(0)).tolist()
DRAW = torch.Generator().manual_seed(3)
MOLECULES = [
    {"pos": random(n, 3, seed=k), "z": torch.randint(3, (n,), generator=DRAW)}
    for k, n in enumerate(SIZES)
]
MOST = max(SIZES)


def energy(pos, z, mask=None):
    """A function of distances and kinds."""
    weight = 1 + z.to(pos)
    if mask is not None:
        weight = weight * mask.to(pos)
    apart = (pos[:, :, None] - pos[:, None]).square().sum(-1)
    return (weight[:, :, None] * weight[:, None] * (-apart / 4).exp()).sum((1, 2))


def energy_of_points(pos, z, batch, cell=None):
    """The same of points one after another."""
    i, j = (batch[:, None] == batch[None]).nonzero().T
    apart, weight = (pos[i] - pos[j]).square().sum(1), 1 + z.to(pos)
    pairs = weight[i] * weight[j] * (-apart / 4).exp()
    return pos.new_zeros(int(batch.max()) + 1).index_add(0, batch[i], pairs)


def flat(molecules):
    """Molecules one after another, and whose each point is."""
    index = [torch.full((len(each["z"]),), k) for k, each in enumerate(molecules)]
    joined = {name: torch.cat([each[name] for each in molecules]) for name in ("pos", "z")}
    return {**joined, "batch": torch.cat(index)}


def padded(molecule):
    """A molecule among points that are not there, and stand anywhere."""
    left = MOST - len(molecule["z"])
    return {
        "pos": torch.cat([molecule["pos"], 9 * torch.ones(left, 3)]),
        "z": nn.functional.pad(molecule["z"], (0, left)),
        "mask": torch.arange(MOST) < MOST - left,
    }


class Molecule:
    """A sample as torch_geometric has them."""

    def __init__(self, pos, z):
        self.pos, self.z = pos, z

    def to(self, device):
        return Molecule(self.pos.to(device), self.z.to(device))


class Joined(Molecule):
    """A batch as torch_geometric has them."""

    @classmethod
    def from_data_list(cls, samples):
        joined = cls(*(torch.cat([getattr(s, name) for s in samples]) for name in ("pos", "z")))
        joined.batch = torch.cat([torch.full((len(s.z),), k) for k, s in enumerate(samples)])
        return joined

    def to_data_list(self):
        sizes = torch.bincount(self.batch).tolist()
        return [Molecule(*own) for own in zip(self.pos.split(sizes), self.z.split(sizes))]  # noqa: B905


class Stored(Dataset):
    def __len__(self):
        return len(MOLECULES)

    def __getitem__(self, k):
        if k >= len(MOLECULES):
            raise IndexError
        return MOLECULES[k]


class Streamed(IterableDataset):
    def __iter__(self):
        return iter(MOLECULES)


def chunks(size):
    return [MOLECULES[k : k + size] for k in range(0, len(MOLECULES), size)]


def graphs(data):
    return energy_of_points(data.pos, data.z, data.batch)


FORMS = {
    "a list": (energy, MOLECULES),
    "a dataset": (energy, Stored()),
    "a stream": (energy, Streamed()),
    "a loader of masked batches": (energy, DataLoader([padded(m) for m in MOLECULES], 90)),
    "masked samples": (energy, [padded(m) for m in MOLECULES]),
    "points and whose they are": (energy_of_points, [flat(some) for some in chunks(50)]),
    "graphs": (graphs, [Joined.from_data_list([Molecule(**m) for m in c]) for c in chunks(50)]),
}


@pytest.fixture(scope="module")
def truth():
    return ss.learned_symmetries(energy, MOLECULES, action=ACTION, moves="pos")


@pytest.mark.parametrize("form", FORMS)
def test_molecules_of_any_size_keep_the_motions_of_space(form, truth):
    model, data = FORMS[form]
    found = ss.learned_symmetries(model, data, action=ACTION, moves="pos")
    assert found.factor.samples == len(MOLECULES)
    assert found.count == 6 and "e(3)" in str(ss.name_algebra(found.symmetries))
    torch.testing.assert_close(found.liegg.variance, truth.liegg.variance, rtol=1e-4, atol=1e-9)
    ratio = found.relative[6:] / truth.relative[6:]
    assert ratio.min() > 0.6 and ratio.max() < 1.6


def test_a_pull_towards_one_side_is_no_symmetry_of_any_form():
    def pulled(pos, z, mask=None):
        there = torch.ones_like(z, dtype=torch.bool) if mask is None else mask
        return energy(pos, z, mask) + (pos[..., 2] * there).sum(1)

    for data in (MOLECULES, FORMS["a loader of masked batches"][1]):
        assert ss.learned_symmetries(pulled, data, action=ACTION, moves="pos").count == 3


def test_batches_hold_one_shape_and_one_mask_and_every_sample_once():
    for form in ("a list", "a loader of masked batches", "points and whose they are", "graphs"):
        found = list(batches(FORMS[form][1], Parts("pos"), ACTION, 64))
        assert sum(len(samples.moved) for samples in found) == len(MOLECULES)
        assert all(len(samples.moved) <= 90 for samples in found)
        if form != "graphs":
            for samples in found:
                masks = samples.held.get("mask", torch.ones(1, 1))
                assert (masks == masks[:1]).all()
    seen = torch.cat([s.moved.flatten() for s in batches(MOLECULES, Parts("pos"), ACTION, 64)])
    own = torch.cat([m["pos"].flatten() for m in MOLECULES])
    torch.testing.assert_close(seen.sort()[0], own.sort()[0])


def test_batches_are_no_larger_than_those_handed_in():
    same = [m for m in MOLECULES if len(m["z"]) == 4]
    for data in ([flat(same[k : k + 8]) for k in range(0, 64, 8)], FORMS["graphs"][1]):
        sizes = [len(samples.moved) for samples in batches(data, Parts("pos"), ACTION, 512)]
        assert max(sizes) <= 50 and sum(sizes) in (64, len(MOLECULES))
    assert max(len(s.moved) for s in batches(same, Parts("pos"), ACTION, 512)) == len(same)


def test_a_part_called_batch_of_whole_samples_is_one_as_any_other():
    data = {"pos": random(200, 4, 3), "batch": torch.arange(200)}
    found = ss.learned_symmetries(
        lambda pos, batch: energy(pos, batch[:, None] % 3 + 0 * pos[..., 0]),
        [data], action=ACTION, moves="pos",
    )  # fmt: skip
    assert found.count == 6


def test_samples_limits_what_is_read():
    found = ss.learned_symmetries(energy, MOLECULES, action=ACTION, moves="pos", samples=100)
    assert found.factor.samples == 100


@pytest.mark.parametrize(
    ("data", "error", "told"),
    [
        (
            [{**MOLECULES[0], "edges": torch.zeros(k, 2)} for k in (3, 4)],
            ValueError,
            "samples with 'pos' of one shape .* do not stack in all else .*callable moves",
        ),
        (
            [{**flat(MOLECULES[:9]), "edges": torch.zeros(2, 77)}],
            ValueError,
            r"beside 'batch' each tensor must have an entry a point \(\d+\) or a sample \(9\); "
            r"'edges' is .(2, 77.)\. .*edges are joined by torch_geometric's own batches",
        ),
        (
            [Molecule(**MOLECULES[0])],
            TypeError,
            "samples of Molecule are joined by their own loader: hand in that",
        ),
        ([{"pos": torch.zeros(4, 2)}], ValueError, r"must be of shape \(N, points, 3\)"),
    ],
)
def test_samples_that_cannot_be_joined_are_refused(data, error, told):
    with pytest.raises(error, match=told):
        ss.learned_symmetries(energy, data, action=ACTION, moves="pos")
