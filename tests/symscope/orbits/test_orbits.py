"""Orbits of filters: unit powers, gradients, starts, copies, and bad input."""

import copy

import pytest
import torch
from helpers import random, seeded_stream

from studies.networks import seeded
from symscope.orbits.cyclic import random_cyclic
from symscope.orbits.orbits import CONSTRAINTS, CyclicOrbit


def orbit(seed: int = 0, **options) -> CyclicOrbit:
    return seeded(lambda: CyclicOrbit(**{"dim": 9, "order": 4, "sets": 2} | options), seed)


def stirred(made: CyclicOrbit, size: float = 0.3, seed: int = 1) -> CyclicOrbit:
    """The same, every parameter moved, as training would."""
    draw = seeded_stream(seed)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter += size * torch.randn(parameter.shape, generator=draw).to(parameter)
    return made


@pytest.mark.parametrize("constraint", CONSTRAINTS)
def test_filters_are_the_unit_powers_of_the_generators_on_the_base(constraint):
    made = stirred(orbit(filters=3, constraint=constraint), 0.05)
    if constraint == "free":  # growth that only a norm for each element holds
        made.generators = 30 * made.generators.detach()
    filters = made()
    assert filters.shape == (2, 3, 4, 9)
    torch.testing.assert_close(filters.norm(dim=-1), torch.ones(2, 3, 4))
    for i in range(4):
        powers = torch.linalg.matrix_power(made.generators.double(), i)
        moved = torch.einsum("jde,jke->jkd", powers, made.base.double())
        expected = moved / moved.norm(dim=-1, keepdim=True)
        torch.testing.assert_close(filters[:, :, i].double(), expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("constraint", CONSTRAINTS)
def test_gradients_agree_with_differences(constraint):
    made = stirred(orbit(dim=5, order=3, sets=1, filters=2, constraint=constraint).double(), 0.1)
    names = [name for name, _ in made.named_parameters()]
    buffers = dict(made.named_buffers())

    def run(method):
        def call(*values):
            state = dict(zip(names, values, strict=True)) | buffers
            return torch.func.functional_call(
                Calls(made, method), {f"made.{k}": v for k, v in state.items()}, ()
            )

        return call

    values = [value.detach().clone().requires_grad_() for value in made.parameters()]
    assert torch.autograd.gradcheck(run("forward"), values)
    if constraint in ("penalized", "cyclic-general"):
        assert torch.autograd.gradcheck(run("penalty"), values)
        made.penalty().backward()
        moved = made.parametrizations.generators.original.grad
        assert moved.abs().max() > 0


class Calls(torch.nn.Module):
    """A module whose forward is another one's method."""

    def __init__(self, made: CyclicOrbit, method: str):
        super().__init__()
        self.made, self.method = made, method

    def forward(self):
        return getattr(self.made, self.method)()


@pytest.mark.parametrize("constraint", CONSTRAINTS)
def test_the_generators_are_learned(constraint):
    made = orbit(constraint=constraint)
    before = made.generators.detach().clone()
    optimizer = torch.optim.Adam(made.parameters(), lr=0.01)
    made()[..., 0].sum().backward()
    optimizer.step()
    assert (made.generators - before).abs().max() > 1e-3


@pytest.mark.parametrize("constraint", CONSTRAINTS)
def test_copies_and_saved_states_give_the_same_filters(constraint):
    made = stirred(orbit(constraint=constraint), 0.05)
    other = orbit(7, constraint=constraint)
    other.load_state_dict(made.state_dict())
    assert torch.equal(other(), made())
    assert torch.equal(copy.deepcopy(made)(), made())


def test_a_drop_in_for_the_weights_of_a_convolution():
    made = orbit(dim=36, order=6, sets=2, filters=2)
    images = torch.randn(3, 1, 14, 14, generator=seeded_stream(0))
    weight = made().reshape(-1, 1, 6, 6)
    found = torch.nn.functional.conv2d(images, weight, stride=2)
    assert found.shape == (3, 24, 5, 5)
    # Channel (j, k, i) in this order: filter i of the orbit of base filter k of set j.
    patch = images[1, 0, 4:10, 2:8].flatten()
    torch.testing.assert_close(found[1, 6 * 3 + 2, 2, 1], patch @ made()[1, 1, 2])
    found.square().sum().backward()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in made.parameters())


@pytest.mark.parametrize("constraint", CONSTRAINTS)
def test_an_orbit_starts_where_it_is_told(constraint):
    made = orbit(filters=2, constraint=constraint)
    start = random_cyclic(2, 9, 4, seeded_stream(5))
    base = random(2, 2, 9, seed=6)
    assert made.start_at(start, base) is made
    torch.testing.assert_close(made.generators, start.float(), atol=1e-5, rtol=0)
    assert torch.equal(made.base, base)
    assert abs(made.penalty().item()) < 1e-6
    made.start_at(start[0])  # alike for both sets, in the dtype of the orbit; the base stays
    torch.testing.assert_close(made.generators[1], start[0].float(), atol=1e-5, rtol=0)
    assert torch.equal(made.base, base)
    made.start_at(start, base[1])
    assert torch.equal(made.base[0], base[1])
    assert all(parameter.requires_grad for parameter in made.parameters())


def test_a_start_that_is_refused_changes_nothing():
    start = random_cyclic(2, 9, 4, seeded_stream(5))
    skewed = torch.eye(9) + torch.ones(9, 9).triu(1) / 9
    cases = [
        ("orthogonal", skewed, None, "must be orthogonal"),
        ("cyclic", skewed, None, "not of order 4"),
        ("cyclic-general", 1.1 * start, None, "not of order 4"),
        ("free", start, torch.zeros(2, 3, 9), r"base must be \(2, 1, 9\), or \(1, 9\)"),
    ]
    for constraint, generators, base, message in cases:
        made = orbit(constraint=constraint)
        before = {name: value.clone() for name, value in made.state_dict().items()}
        with pytest.raises(ValueError, match=message):
            made.start_at(generators, base)
        after = made.state_dict()
        assert all(torch.equal(value, after[name]) for name, value in before.items())


# Bad input


@pytest.mark.parametrize(
    ("start", "message"),
    [
        (torch.eye(8), r"generators must be \(2, 9, 9\), or \(9, 9\) for every set .*got \(8, 8\)"),
        (torch.zeros(3, 9, 9), r"generators must be \(2, 9, 9\), or .* got \(3, 9, 9\)"),
        (torch.full((9, 9), float("nan")), "generators must be finite"),
    ],
)
def test_a_start_that_does_not_fit(start, message):
    with pytest.raises(ValueError, match=message):
        orbit(constraint="free").start_at(start)


@pytest.mark.parametrize("name", ["dim", "order", "sets", "filters"])
@pytest.mark.parametrize("value", [0, -1, 2.0])
def test_sizes_below_one(name, value):
    with pytest.raises(
        ValueError, match=f"{name} must be a whole number of at least 1, got {value}"
    ):
        orbit(**{name: value})


def test_unknown_constraint():
    with pytest.raises(ValueError, match="constraint must be one of free, .*; got 'circular'"):
        orbit(constraint="circular")
