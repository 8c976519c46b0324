"""Tests of symscope.weights.operations: matrices against torch and SciPy, scores, the seen part, nulls."""

import numpy as np
import pandas
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

from symscope.data import digits, photographs, sources, tiles
from symscope.networks.training import seeded
from symscope.weights.cyclic import random_cyclic, random_orthogonal
from symscope.weights.operations import (
    blur,
    compose,
    difference,
    flip,
    identity,
    known_operations,
    match_operations,
    median,
    refit,
    regrouped,
    rotation,
    scaling,
    scores,
    seen_part,
    shift,
)
from symscope.weights.operations.structure import _ties, scales
from symscope.weights.orbits import CyclicOrbit

SHARES = ("skew", "toeplitz", "bttb", "circulant", "bccb", "haar", "pooled")
NULLS = ["conjugated", "singular", "gaussian", "untrained", "regrouped"]


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    draw = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=draw, dtype=torch.float64)


def moved(matrix: torch.Tensor, patches: torch.Tensor) -> torch.Tensor:
    """Patches (N, s, s) moved by a matrix on flattened ones."""
    return (patches.flatten(1) @ matrix.T).reshape(patches.shape)


def same(found: torch.Tensor, expected: torch.Tensor) -> None:
    torch.testing.assert_close(found, expected, atol=1e-12, rtol=0)


@pytest.fixture(scope="module")
def known() -> dict[str, torch.Tensor]:
    return known_operations(6, tiles(photographs(), 6))


# The matrices


@given(size=st.integers(1, 7), down=st.integers(-8, 8), right=st.integers(-8, 8))
def test_shifts_are_rolls(size, down, right):
    x = random(3, size, size)
    same(moved(shift(size, down, right), x), x.roll((down, right), (1, 2)))
    padded = torch.nn.functional.pad(x, (8, 8, 8, 8)).roll((down, right), (1, 2))
    expected = padded[:, 8 : 8 + size, 8 : 8 + size]
    same(moved(shift(size, down, right, circular=False), x), expected)


@pytest.mark.parametrize("size", [1, 4, 5, 6])
def test_quarter_turns_are_rot90_exactly(size):
    x = random(3, size, size)
    for quarter in range(-4, 6):
        assert torch.equal(moved(rotation(size, 90 * quarter), x), torch.rot90(x, quarter, (1, 2)))
    assert torch.equal(rotation(size, -90.0), rotation(size, 270))


@pytest.mark.parametrize("degrees", [10.0, -33.0, 127.5, 300.0])
def test_rotations_are_those_of_the_images_of_the_study(degrees):
    x = random(3, 6, 6)
    # The other code fills with zeros half a pixel further out; there the two may differ.
    inside = (slice(None), slice(1, -1), slice(1, -1))
    same(moved(rotation(6, degrees), x)[inside], digits.rotate(x, degrees)[inside])


def test_flips():
    x = random(3, 5, 5)
    same(moved(flip(5, "horizontal"), x), x.flip(2))
    same(moved(flip(5, "vertical"), x), x.flip(1))
    same(moved(flip(5, "diagonal"), x), x.mT)


def test_scaling_stretches_a_ramp_about_the_centre():
    places = torch.arange(7, dtype=torch.float64) - 3
    ramp = (2 * places[:, None] + places[None])[None]
    same(moved(scaling(7, 2), ramp), ramp / 2)
    same(moved(scaling(7, 1), ramp), ramp)
    same(moved(scaling(7, 0.5), ramp)[0, 2:5, 2:5], 2 * ramp[0, 2:5, 2:5])
    assert moved(scaling(7, 0.5), ramp)[0, 0].abs().max() == 0  # from outside


@pytest.mark.parametrize("size", [2, 6])
def test_blurs_are_convolutions_with_zeros_outside(size):
    x = random(3, size, size)
    box = torch.nn.functional.avg_pool2d(x[:, None], 3, 1, 1)[:, 0]
    same(moved(blur(size, box=3), x), box)
    for sigma in (0.5, 1.0, 2.0):
        expected = ndimage.gaussian_filter(x.numpy(), sigma, axes=(1, 2), mode="constant")
        same(moved(blur(size, sigma=sigma), x), torch.from_numpy(expected))


def test_differences_are_convolutions_with_zeros_outside():
    x = random(3, 6, 6)
    around = torch.nn.functional.pad(x, (1, 1, 1, 1))
    centre = around[:, 1:-1, 1:-1]
    right, left = around[:, 1:-1, 2:], around[:, 1:-1, :-2]
    below, above = around[:, 2:, 1:-1], around[:, :-2, 1:-1]
    same(moved(difference(6, "x"), x), (right - left) / 2)
    same(moved(difference(6, "y"), x), (below - above) / 2)
    laplacian = right + left + above + below - 4 * centre
    same(moved(difference(6, "laplacian"), x), laplacian)


def test_median_is_the_least_squares_predictor_of_the_filtered_patches():
    x = random(2_000, 4, 4).cumsum(1).cumsum(2)
    filtered = ndimage.median_filter(x.numpy(), (1, 3, 3), mode="nearest")
    matrix = median(4, x.flatten(1), 3)
    residual = torch.from_numpy(filtered) - moved(matrix, x)
    assert residual.square().mean() < 0.5 * (torch.from_numpy(filtered) - x).square().mean()
    # Least squares leaves a residual orthogonal to what it was fitted on.
    assert (residual.flatten(1).T @ x.flatten(1)).abs().max() < 1e-6 * len(x)
    same(median(4, x.flatten(1), 1).round(decimals=9), identity(4))
    # At the border the last pixel is repeated, as often as the window asks for.
    x = x[:200]
    wide = ndimage.median_filter(x.numpy(), (1, 5, 5), mode="nearest")
    residual = torch.from_numpy(wide) - moved(median(4, x.flatten(1), 5), x)
    assert (residual.flatten(1).T @ x.flatten(1)).abs().max() < 1e-6 * len(x)


def test_median_of_photographs_keeps_constants_and_is_no_longer_the_identity(known):
    matrix = known["median 3"]
    torch.testing.assert_close(matrix.sum(1), torch.ones(36).double(), atol=0.01, rtol=0)
    cosine = float((matrix * identity(6)).sum() / matrix.norm() / 6)
    assert 0.6 < cosine < 0.9  # high, and the reason why a match needs its nulls


def test_composition_applies_the_last_one_first():
    x = random(3, 6, 6)
    same(
        moved(compose(rotation(6, 90), shift(6, 1, 0), blur(6, box=3)), x),
        torch.rot90(moved(blur(6, box=3), x).roll(1, 1), 1, (1, 2)),
    )


def test_the_dictionary_holds_what_it_says(known):
    assert len(known) == 1 + 8 + 23 + 3 + 4 + 3 + 2 + 3 + 21
    assert all(matrix.shape == (36, 36) for matrix in known.values())
    same(known["rotation 90 after median 3"], rotation(6, 90) @ known["median 3"])
    flat = torch.stack(list(known.values())).flatten(1)
    flat = flat / flat.norm(dim=1, keepdim=True)
    assert ((flat @ flat.T).fill_diagonal_(0) < 0.9999).all()  # no two are the same


# The scores


def block_toeplitz(values: torch.Tensor, patch: int) -> torch.Tensor:
    """The convolution of a patch with a kernel (2 patch - 1, 2 patch - 1)."""
    basis = torch.eye(patch * patch, dtype=torch.float64).reshape(-1, 1, patch, patch)
    out = torch.nn.functional.conv2d(basis, values[None, None], padding=patch - 1)
    return out.flatten(1).T


def members(patch: int) -> dict[str, torch.Tensor]:
    d = patch * patch
    a, row = random(d, d), random(2 * d - 1, seed=1)
    from scipy.linalg import circulant, toeplitz

    average = torch.kron(
        torch.kron(torch.eye(patch // 2), torch.ones(2, 2) / 2),
        torch.kron(torch.eye(patch // 2), torch.ones(2, 2) / 2),
    ).double()
    wrapped = sum(
        float(w) * shift(patch, y, x)
        for w, y, x in zip(random(5), (0, 1, 2, 3, 1), (0, 2, 1, 1, 3), strict=True)
    )
    return {
        "skew": a - a.T,
        "toeplitz": torch.from_numpy(toeplitz(row[d - 1 :].numpy(), row[:d].flip(0).numpy())),
        "bttb": block_toeplitz(random(2 * patch - 1, 2 * patch - 1), patch),
        "circulant": torch.from_numpy(circulant(row[:d].numpy())),
        "bccb": wrapped,
        "haar": sum(scale @ random(d, d, seed=k) @ scale for k, scale in enumerate(scales(patch))),
        "pooled": average @ a @ average,
    }


@pytest.mark.parametrize("patch", [4, 6])
def test_scores_are_one_on_members_and_less_elsewhere(patch):
    for name, matrix in members(patch).items():
        assert matrix.norm() > 1
        assert scores(matrix, patch)[name] == pytest.approx(1, abs=1e-9)
        noisy = matrix + 0.3 * matrix.norm() / patch**2 * random(patch**2, patch**2, seed=9)
        assert 0.7 < scores(noisy, patch)[name] < 0.99


def test_scores_are_zero_on_what_is_orthogonal_to_the_members():
    found = scores(random(36, 36) + random(36, 36).T, 6)
    assert found["skew"] == pytest.approx(0, abs=1e-9)
    for name, member in members(6).items():
        if name in ("toeplitz", "bttb", "circulant", "bccb"):
            ties = _ties(6)[name]
            other = random(36, 36, seed=3)
            for value in ties.unique():  # leave nothing of the mean of tied entries
                other[ties == value] -= other[ties == value].mean()
            assert scores(other, 6)[name] == pytest.approx(0, abs=1e-9)
            assert float((other * member).sum()) == pytest.approx(0, abs=1e-9)


def test_scores_of_gaussian_matrices_are_the_subspaces_dimensions():
    found = scores(random(400, 36, 36), 6)
    dims = {"toeplitz": 71, "bttb": 121, "circulant": 36, "bccb": 36, "pooled": 81}
    dims |= {"skew": 36 * 35 / 2, "haar": 27**2 + 8**2 + 1}
    for name, dimension in dims.items():
        share = dimension / 36**2
        assert found[name].mean() == pytest.approx(share, rel=0.03)
    assert found["orthogonality_defect"].mean() < 0.3


@given(scale=st.floats(0.01, 100), sign=st.sampled_from([-1, 1]), seed=st.integers(0, 20))
def test_scores_do_not_feel_scale_or_sign_and_stay_in_range(scale, sign, seed):
    matrix = random(9, 9, seed=seed)
    first, second = scores(matrix, 3), scores(sign * scale * matrix, 3)
    assert set(first) == {*SHARES, "orthogonality_defect"}
    for name, value in first.items():
        assert 0 <= value <= 1
        torch.testing.assert_close(value, second[name], atol=1e-9, rtol=0)


def test_skew_is_blind_to_pixels_and_the_defect_to_orthogonal_factors():
    matrix, (q, r) = random(16, 16), random_orthogonal(2, 16, torch.Generator().manual_seed(0))
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


# The part that the loss sees


def test_the_seen_part_makes_the_same_orbits_and_nothing_else_matters():
    a, w = random(16, 16), random(2, 16, seed=1)
    part = seen_part(a, w, 4)
    assert int(torch.linalg.matrix_rank(part)) == 2 * 3
    orbit, again = w, w
    for _ in range(3):
        orbit, again = orbit @ a.T, again @ part.T
        torch.testing.assert_close(again, orbit)
    # Change A off the span, and the orbit and the part stay; on it, and the part moves.
    _, _, directions = torch.linalg.svd(torch.linalg.pinv(part) @ part)
    off, on = directions[-1], directions[0]
    torch.testing.assert_close(seen_part(a + torch.outer(random(16, seed=2), off), w, 4), part)
    assert (seen_part(a + torch.outer(random(16, seed=2), on), w, 4) - part).norm() > 0.1


def test_the_loss_has_no_gradient_off_the_seen_part():
    made = seeded(lambda: CyclicOrbit(16, 4, 1, 2, "free").double(), 0)
    made().mul(random(16)).sum().backward()
    gradient = made.parametrizations.generators.original.grad[0]
    part = seen_part(identity(4) @ made.generators[0], made.base[0], 4)
    span = torch.linalg.pinv(part) @ part
    assert gradient.norm() > 0.1
    torch.testing.assert_close(gradient @ span, gradient, atol=1e-9, rtol=0)


def test_the_seen_part_at_the_ends():
    a, w = random(9, 9), random(3, 9, seed=1)
    assert seen_part(a, w, 1).norm() == 0
    torch.testing.assert_close(seen_part(a, w, 4), a)  # 3 filters, 3 elements: all of R^9
    turn = rotation(3, 180)
    assert int(torch.linalg.matrix_rank(seen_part(turn, w[:1], 9))) == 2  # two directions, not 8


def test_refitting_learned_orbits_gives_their_seen_part_back():
    made = seeded(lambda: CyclicOrbit(36, 6, 3, 2), 0)
    matrices, spaces = refit(made())
    for j in range(3):
        part = seen_part(made.generators[j], made.base[j], 6)
        torch.testing.assert_close(matrices[j], part, atol=1e-4, rtol=0)
        torch.testing.assert_close(matrices[j] @ spaces[j], matrices[j], atol=1e-6, rtol=0)


def test_regrouped_matrices_move_learned_atoms_onto_learned_atoms():
    atoms = seeded(lambda: CyclicOrbit(36, 4, 5, 2), 0)().detach().double()
    matrices, spaces = regrouped(atoms, 7)
    assert matrices.shape == spaces.shape == (7, 36, 36)
    flat = atoms.reshape(-1, 36)
    for matrix, space in zip(matrices, spaces, strict=True):
        assert round(float(space.trace())) == 2 * 3
        starts = flat[((flat @ space) - flat).norm(dim=1) < 1e-5]
        assert len(starts) == 6
        distance = torch.cdist(starts @ matrix.T, flat)
        assert distance.amin(1).max() < 1e-5
    again, other = regrouped(atoms, 7)[0], regrouped(atoms, 7, seed=1)[0]
    assert torch.equal(again, matrices) and not torch.allclose(other, matrices)


# The table


def test_a_planted_operation_is_found_and_stands_out_of_its_nulls(known):
    table = match_operations(
        -2 * known["rotation 90 after median 3"].float(), known=known, draws=50
    ).set_index("quantity")
    match = table.loc["match"]
    assert match.operation == "rotation 90 after median 3"
    assert match.value == pytest.approx(1, abs=1e-6) and match.cosine == pytest.approx(-1, abs=1e-6)
    for null in NULLS[:3]:
        assert match[null] < 0.2
        assert match[f"p_{null}"] == pytest.approx(1 / 51)


def test_the_seen_part_is_matched_on_its_own_subspace(known):
    # The rotation where the filters' orbits are, something else where they are not.
    turn, w = rotation(6, 90), random(2, 36)
    span = torch.linalg.pinv(part := seen_part(turn, w, 4)) @ part
    mixed = turn @ span + random(36, 36, seed=1) @ (identity(6) - span)
    table = match_operations(mixed, filters=w, order=4, known=known, draws=20)
    match = table[table.quantity == "match"].set_index("part")
    assert match.loc["seen"].operation == "rotation 90"
    assert match.loc["seen"].value == pytest.approx(1)
    assert match.loc["whole"].value < 0.6
    found = scores(part, 6)
    seen = table[table.part == "seen"].set_index("quantity")
    assert seen.loc["toeplitz"].value == pytest.approx(float(found["toeplitz"]))
    assert "orthogonality_defect" not in seen.index


def test_nulls_keep_what_they_promise_so_the_scores_they_fix_have_p_one(known):
    a = random_cyclic(1, 36, 6, torch.Generator().manual_seed(1))[0]
    table = match_operations(a.float(), known=known, draws=40).set_index("quantity")
    assert table.loc["skew"].p_conjugated == 1  # the eigenvalues decide
    assert table.loc["skew"].p_singular < 1
    for null in ("conjugated", "singular"):
        assert table.loc["orthogonality_defect"][f"p_{null}"] == 1
    assert table.loc["orthogonality_defect"].p_gaussian == pytest.approx(1 / 41)


def test_p_values_of_a_random_matrix_are_uniform(known):
    names = ["identity", "rotation 90", "circular shift up", "box 3"]
    few = {name: known[name] for name in names}
    p = [
        match_operations(
            random_orthogonal(1, 36, torch.Generator().manual_seed(100 + k))[0],
            known=few,
            draws=19,
            seed=k,
        )
        .set_index("quantity")
        .loc[["match", "toeplitz"], "p_singular"]
        for k in range(100)
    ]
    found = pandas.concat(p).to_numpy()
    assert 0.4 < found.mean() < 0.6
    assert 0.01 <= np.mean(found <= 0.05) < 0.11


def test_the_table_has_every_null_it_was_given(known):
    made = seeded(lambda: CyclicOrbit(), 0)
    start = seeded(lambda: CyclicOrbit(), 1).generators
    options = {"filters": made.base[0], "order": 6, "known": known, "draws": 30}
    table = match_operations(made.generators[0], 6, atoms=made(), untrained=start, **options)
    columns = ["part", "quantity", "value", "operation", "cosine"]
    assert list(table.columns) == columns + [c for null in NULLS for c in (null, f"p_{null}")]
    assert list(table.part.unique()) == ["whole", "seen"]
    assert list(table.quantity[:9]) == ["match", *SHARES, "orthogonality_defect"]
    seen, whole = table[table.part == "seen"], table[table.part == "whole"]
    assert seen[NULLS].notna().all(axis=None)
    assert whole[NULLS[:4]].notna().all(axis=None) and whole.regrouped.isna().all()
    p = table[[f"p_{null}" for null in NULLS]]
    assert ((p > 0) & (p <= 1) | p.isna()).all(axis=None)
    assert (whole.p_untrained * 7 == (whole.p_untrained * 7).round()).all()  # of 6 draws
    state = torch.get_rng_state()
    again = match_operations(made.generators[0], 6, atoms=made(), untrained=start, **options)
    pandas.testing.assert_frame_equal(table, again)
    assert torch.equal(torch.get_rng_state(), state)


# Bad input


def test_operations_out_of_range():
    for make in (identity, lambda s: shift(s, 0, 0), lambda s: rotation(s, 3)):
        with pytest.raises(ValueError, match="patch must be a whole number of at least 1, got 0"):
            make(0)
    with pytest.raises(ValueError, match="axis must be one of horizontal, .*; got 'x'"):
        flip(6, "x")
    with pytest.raises(ValueError, match="axis must be one of x, y, laplacian; got 'z'"):
        difference(6, "z")
    with pytest.raises(ValueError, match="factor must be a finite number above 0, got 0"):
        scaling(6, 0)
    with pytest.raises(ValueError, match="give either box or sigma"):
        blur(6)
    with pytest.raises(ValueError, match="give either box or sigma"):
        blur(6, box=3, sigma=1.0)
    with pytest.raises(ValueError, match="box must be odd, got 4"):
        blur(6, box=4)
    with pytest.raises(ValueError, match="sigma must be a finite number above 0, got -1"):
        blur(6, sigma=-1)
    with pytest.raises(ValueError, match="width must be odd, got 2"):
        median(6, torch.zeros(99, 36), 2)
    with pytest.raises(ValueError, match=r"patches must be \(N, 36\) for patch 6, got \(99, 25\)"):
        median(6, torch.zeros(99, 25))
    with pytest.raises(ValueError, match="patches must be at least 72 to fit 36 x 36, got 50"):
        median(6, torch.zeros(50, 36))


def test_without_photographs_the_default_says_how_to_get_them(monkeypatch):
    def missing(name):
        raise sources.DatasetError(f"{name} is not installed")

    monkeypatch.setattr(sources, "picture", missing)
    with pytest.raises(sources.DatasetError, match="astronaut is not installed"):
        match_operations(torch.eye(49), 7)


def test_generators_and_filters_that_do_not_fit(known):
    eye = torch.eye(36)
    with pytest.raises(ValueError, match=r"generator must be \(25, 25\) for patches of 5 x 5"):
        match_operations(eye, 5)
    with pytest.raises(ValueError, match=r"matrices must be \(..., 25, 25\) for patches of 5 x 5"):
        scores(eye, 5)
    with pytest.raises(ValueError, match="filters and order go together"):
        match_operations(eye, order=6, known=known)
    with pytest.raises(ValueError, match="atoms need filters and order"):
        match_operations(eye, atoms=torch.zeros(1, 1, 6, 36), known=known)
    with pytest.raises(ValueError, match=r"filters must be of \(..., 36\), got \(1, 35\)"):
        match_operations(eye, filters=torch.zeros(1, 35), order=6, known=known)
    with pytest.raises(ValueError, match="draws must be a whole number of at least 1, got 0"):
        match_operations(eye, known=known, draws=0)
    with pytest.raises(ValueError, match="order must be a whole number of at least 1, got 0"):
        seen_part(eye, torch.zeros(1, 36), 0)
    with pytest.raises(ValueError, match=r"generator must be \(d, d\) and filters \(K, d\)"):
        seen_part(eye, torch.zeros(36), 3)
