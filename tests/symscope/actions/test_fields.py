"""Fields of one's own move data as they say, and are independent."""

import pytest
import torch
from cases import polynomial
from helpers import random

import symscope as ss
from symscope import FieldAction
from symscope.testing import check_action

DATA = random(12, 3, dtype=torch.float64)


def turn(x):
    return torch.stack([-x[:, 1], x[:, 0], 0 * x[:, 2]], 1)


@pytest.mark.parametrize(
    "action",
    [
        polynomial(3, 1),
        polynomial(3, 2),
        FieldAction([turn, lambda x: x, torch.sin]),
    ],
)
def test_rows_fields_and_flow_agree(action):
    errors = check_action(action, 0.3 * DATA)
    assert set(errors) == {"rows", "fields", "group law"} and max(errors.values()) < 1e-6


def test_linear_fields_are_the_linear_action():
    units, linear = torch.eye(9, dtype=torch.float64).reshape(9, 3, 3), ss.LinearAction(3)
    action = FieldAction([lambda x, h=h: x @ h.T for h in units])
    torch.testing.assert_close(action.fields(DATA), linear.fields(DATA))
    generator = random(9, dtype=torch.float64)
    torch.testing.assert_close(
        action.flow(DATA, generator, 0.7), linear.flow(DATA, generator.reshape(3, 3), 0.7)
    )
    cotangents = random(12, 2, 3, dtype=torch.float64)
    torch.testing.assert_close(action.rows(DATA, cotangents), linear.rows(DATA, cotangents))


def test_a_flow_with_a_known_solution():
    action = FieldAction([torch.square])  # x' = x^2
    data = torch.tensor([[0.5], [-1.0]], dtype=torch.float64)
    moved = action.flow(data, torch.ones(1, dtype=torch.float64), 1.0)
    torch.testing.assert_close(moved, data / (1 - data), rtol=1e-8, atol=0)
    with pytest.raises(RuntimeError, match=r"not found in 4096 steps up to t = 3.*smaller t"):
        action.flow(data, torch.ones(1, dtype=torch.float64), 3.0)


def test_pictures_per_pixel():
    images = random(4, 5, 5, dtype=torch.float64)
    mask = torch.zeros(5, 5, dtype=torch.float64)
    mask[2, 2] = 1.0
    action = FieldAction([lambda x: x * mask, lambda x: x.flip(-1)], ["pixel", "flip"])
    check_action(action, images)
    moved = action.flow(images, action.basis[0], 1.0)
    assert torch.equal(moved[:, 0], images[:, 0])
    torch.testing.assert_close(moved[:, 2, 2], torch.e * images[:, 2, 2])


def test_counts_of_the_ready_made_fields():
    assert polynomial(3, 2).shape == (30,) and polynomial(2, 0).shape == (2,)


def test_dependent_fields_are_named():
    action = FieldAction(
        [turn, lambda x: x, lambda x: 2 * turn(x) - 0.5 * x, lambda x: 0 * x],
        ["turn", "scaling", "spiral", "nothing"],
    )
    with pytest.raises(ValueError, match=r"spiral = \+2 turn -0.5 scaling; nothing = 0\. Leave"):
        action.check(DATA)


def test_dependence_is_not_judged_on_fewer_numbers_than_fields():
    polynomial(3, 2).check(DATA[:2])
    polynomial(3, 2).check(random(40, 3))


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: FieldAction([]), ValueError, "at least one, with a name each; got 0 fields"),
        (lambda: FieldAction([turn], ["a", "b"]), ValueError, "got 1 fields and 2 names"),
        (lambda: FieldAction(turn), ValueError, "needs names, one a field"),
        (lambda: FieldAction([3]), TypeError, "fields must be callables"),
        (
            lambda: FieldAction([lambda x: x[:, :2]]).check(DATA),
            ValueError,
            r"each field must be of the data's shape \(12, 3\); got \(12, 2\)",
        ),
        (
            lambda: FieldAction(lambda x: x[None], ["a", "b"]).check(DATA),
            ValueError,
            r"of shape \(2, 12, 3\), one like the data for each name; got \(1, 12, 3\)",
        ),
        (lambda: FieldAction([turn]).check(DATA[0]), ValueError, r"\(N, ...\), got \(3,\)"),
    ],
)
def test_bad_input(call, error, message):
    with pytest.raises(error, match=message):
        call()
