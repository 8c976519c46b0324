"""Structure scores: 1 on members, 0 on what is orthogonal to them, chance in between."""

import pytest
import torch
from helpers import random
from hypothesis import given
from hypothesis import strategies as st

from studies.lgn.operations import scores, shift
from studies.lgn.operations.structure import scales
from symscope.orbits.cyclic import random_orthogonal

SHARES = ("skew", "toeplitz", "bttb", "circulant", "bccb", "haar", "pooled")


def doubles(*shape: int, seed: int = 0) -> torch.Tensor:
    return random(*shape, seed=seed, dtype=torch.float64)


def same(found: torch.Tensor, expected: torch.Tensor) -> None:
    torch.testing.assert_close(found, expected, atol=1e-12, rtol=0)


def block_toeplitz(values: torch.Tensor, patch: int) -> torch.Tensor:
    """The convolution of a patch with a kernel (2 patch - 1, 2 patch - 1)."""
    basis = torch.eye(patch * patch, dtype=torch.float64).reshape(-1, 1, patch, patch)
    out = torch.nn.functional.conv2d(basis, values[None, None], padding=patch - 1)
    return out.flatten(1).T


def members(patch: int) -> dict[str, torch.Tensor]:
    d = patch * patch
    a, row = doubles(d, d), doubles(2 * d - 1, seed=1)
    from scipy.linalg import circulant, toeplitz

    average = torch.kron(
        torch.kron(torch.eye(patch // 2), torch.ones(2, 2) / 2),
        torch.kron(torch.eye(patch // 2), torch.ones(2, 2) / 2),
    ).double()
    wrapped = sum(
        float(w) * shift(patch, y, x)
        for w, y, x in zip(doubles(5), (0, 1, 2, 3, 1), (0, 2, 1, 1, 3), strict=True)
    )
    return {
        "skew": a - a.T,
        "toeplitz": torch.from_numpy(toeplitz(row[d - 1 :].numpy(), row[:d].flip(0).numpy())),
        "bttb": block_toeplitz(doubles(2 * patch - 1, 2 * patch - 1), patch),
        "circulant": torch.from_numpy(circulant(row[:d].numpy())),
        "bccb": wrapped,
        "haar": sum(scale @ doubles(d, d, seed=k) @ scale for k, scale in enumerate(scales(patch))),
        "pooled": average @ a @ average,
    }


def positions(name: str, patch: int) -> list[torch.Tensor]:
    """Masks of the entries that matrices of one kind share."""
    places = torch.cartesian_prod(torch.arange(patch), torch.arange(patch))
    offset = torch.arange(patch**2)[:, None] - torch.arange(patch**2)
    rows, columns = (places[:, None] - places[None]).unbind(-1)
    key = {
        "toeplitz": offset,
        "bttb": 100 * rows + columns,
        "circulant": offset % patch**2,
        "bccb": 100 * (rows % patch) + columns % patch,
    }[name]
    return [key == value for value in key.unique()]


@pytest.mark.parametrize("patch", [4, 6])
def test_scores_are_one_on_members_and_less_elsewhere(patch):
    for name, matrix in members(patch).items():
        assert matrix.norm() > 1
        assert scores(matrix, patch)[name] == pytest.approx(1, abs=1e-9)
        noisy = matrix + 0.3 * matrix.norm() / patch**2 * doubles(patch**2, patch**2, seed=9)
        assert 0.7 < scores(noisy, patch)[name] < 0.99


def test_scores_are_zero_on_what_is_orthogonal_to_the_members():
    found = scores(doubles(36, 36) + doubles(36, 36).T, 6)
    assert found["skew"] == pytest.approx(0, abs=1e-9)
    for name, member in members(6).items():
        if name in ("toeplitz", "bttb", "circulant", "bccb"):
            other = doubles(36, 36, seed=3)
            for tied in positions(name, 6):  # leave nothing of the mean of tied entries
                other[tied] -= other[tied].mean()
            assert scores(other, 6)[name] == pytest.approx(0, abs=1e-9)
            assert float((other * member).sum()) == pytest.approx(0, abs=1e-9)


def test_scores_of_gaussian_matrices_are_the_subspaces_dimensions():
    found = scores(doubles(400, 36, 36), 6)
    dims = {"toeplitz": 71, "bttb": 121, "circulant": 36, "bccb": 36, "pooled": 81}
    dims |= {"skew": 36 * 35 / 2, "haar": 27**2 + 8**2 + 1}
    for name, dimension in dims.items():
        share = dimension / 36**2
        assert found[name].mean() == pytest.approx(share, rel=0.03)
    assert found["orthogonality_defect"].mean() < 0.3


@given(scale=st.floats(0.01, 100), sign=st.sampled_from([-1, 1]), seed=st.integers(0, 20))
def test_scores_do_not_feel_scale_or_sign_and_stay_in_range(scale, sign, seed):
    matrix = doubles(9, 9, seed=seed)
    first, second = scores(matrix, 3), scores(sign * scale * matrix, 3)
    assert set(first) == {*SHARES, "orthogonality_defect"}
    for name, value in first.items():
        assert 0 <= value <= 1
        torch.testing.assert_close(value, second[name], atol=1e-9, rtol=0)


def test_skew_is_blind_to_pixels_and_the_defect_to_orthogonal_factors():
    matrix, (q, r) = doubles(16, 16), random_orthogonal(2, 16, torch.Generator().manual_seed(0))
    skew = [scores(m, 4)["skew"] for m in (matrix, q @ matrix @ q.T)]
    assert skew[0] == pytest.approx(float(skew[1]))
    defect = [scores(m, 4)["orthogonality_defect"] for m in (matrix, q @ matrix @ r)]
    assert defect[0] == pytest.approx(float(defect[1]))
    assert scores(7 * q, 4)["orthogonality_defect"] == pytest.approx(0, abs=1e-9)
    rank_one = torch.outer(matrix[0], matrix[1])
    assert scores(rank_one, 4)["orthogonality_defect"] == pytest.approx(1)


@pytest.mark.parametrize("patch", [1, 2, 3, 4, 6, 8])
def test_scales_are_orthogonal_projections_that_add_up(patch):
    found = scales(patch)
    d = patch * patch
    same(sum(found), torch.eye(d, dtype=torch.float64))
    for i, a in enumerate(found):
        for j, b in enumerate(found):
            same(a @ b, a if i == j else torch.zeros(d, d, dtype=torch.float64))
    ranks = {1: [1], 2: [1, 3], 3: [1, 8], 4: [1, 3, 12], 6: [1, 8, 27], 8: [1, 3, 12, 48]}
    assert [round(float(a.trace())) for a in found] == ranks[patch]


def test_a_zero_matrix_scores_zero():
    assert all(value == 0 for value in scores(torch.zeros(9, 9), 3).values())


def test_matrices_that_do_not_fit():
    with pytest.raises(ValueError, match=r"matrices must be \(..., 25, 25\) for patches of 5 x 5"):
        scores(torch.eye(36), 5)
