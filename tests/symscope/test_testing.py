"""check_action passes what is right and names what is wrong, part by part."""

import pytest
import torch

import studies
import symscope as ss
from symscope.testing import check_action

VECTORS = torch.randn(6, 6, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def digits() -> torch.Tensor:
    """A dozen real digits, blurred as in the study."""
    return studies.data.rotated_mnist(train=1, validation=1, test=12, blur=1.5).test.inputs


@pytest.mark.parametrize("copies", [1, 2, 3])
def test_linear_actions_are_exact(copies):
    errors = check_action(ss.LinearAction(6 // copies, copies=copies), VECTORS)
    assert set(errors) == {"rows", "fields", "gram", "group law"}
    assert max(errors.values()) < 1e-6


@pytest.mark.parametrize("group", ["gl2", "affine"])
@pytest.mark.parametrize("origin", ["center", "paper"])
def test_flow_and_rows_of_the_plane_agree_on_the_digits_in_use(group, origin, digits):
    errors = check_action(ss.PlaneAction(group, origin=origin), digits)
    assert errors["rows"] < 0.02


def test_colours_and_pictures_that_are_not_square(digits):
    wide = torch.nn.functional.interpolate(digits[:, None], size=(20, 33), mode="bilinear")
    check_action(ss.PlaneAction("affine"), wide.expand(-1, 3, -1, -1))


def test_forward_differences_are_coarser_and_are_seen_to_be(digits):
    action = ss.PlaneAction(differences="forward", origin="paper")
    with pytest.raises(AssertionError, match="rows of PlaneAction.* not the derivatives of its"):
        check_action(action, digits)
    check_action(action, digits, tolerance=0.5)


class Doubled(ss.LinearAction):
    def rows(self, data, cotangents, backend="auto"):
        return 2 * super().rows(data, cotangents, backend)


class Backwards(ss.LinearAction):
    def flow(self, data, generator, t):
        return super().flow(data, generator, -t)


class Swapped(ss.LinearAction):
    def fields(self, data, backend="auto"):
        return super().fields(data, backend)[[1, 0, *range(2, len(self.basis))]]


class Ragged(ss.LinearAction):
    def fields(self, data, backend="auto"):
        return super().fields(data, backend)[:-1]


class Crooked(ss.LinearAction):
    """Not orthonormal."""

    def __init__(self, n):
        super().__init__(n)
        self.basis = self.basis.clone()
        self.basis[0, 0, 0] = 2


class WithoutGroup(ss.LinearAction):
    """Right for small t only: the first terms of the exponential."""

    def flow(self, data, generator, t):
        return data + t * data @ generator.to(data).T + (t > 0.015) * data


class Grams(ss.LinearAction):
    def gram(self, data, cotangents, backend="auto", dtype=torch.float64):
        return super().gram(data, cotangents, backend, dtype).roll(1, 0)


class Moved(ss.LinearAction):
    def flow(self, data, generator, t):
        return super().flow(data, generator, t) + 1


@pytest.mark.parametrize(
    ("action", "says"),
    [
        (
            Doubled(6),
            r"the rows of LinearAction.* are not the derivatives of its flow, direction 0",
        ),
        (Backwards(6), r"the rows of LinearAction"),
        (Swapped(6), r"the fields of LinearAction.* are not those of its rows, direction [01]"),
        (Ragged(6), r"fields of LinearAction.* must be of shape \(36, 6, 6\); got \(35, 6, 6\)"),
        (Crooked(6), r"the basis of LinearAction.* is not orthonormal"),
        (WithoutGroup(6), r"the flow of LinearAction.* breaks the group law, direction 0"),
        (Grams(6), r"the Gram matrix of LinearAction.* is not that of its rows"),
        (Moved(6), r"the flow of LinearAction.* moves the data at t = 0"),
    ],
)
def test_each_mistake_is_named(action, says):
    with pytest.raises(AssertionError, match=says):
        check_action(action, VECTORS)


def test_what_is_no_action_is_refused():
    with pytest.raises(TypeError, match="has no basis, check, rows, flow"):
        check_action(object(), VECTORS)
