"""The part that the loss sees, the best match, its nulls, and bad input."""

import numpy as np
import pandas
import pytest
import torch
from helpers import random

from studies.data import photographs, sources, tiles
from studies.lgn.operations import (
    identity,
    known_operations,
    match_operations,
    refit,
    regrouped,
    rotation,
    scores,
    seen_part,
)
from studies.networks.training import seeded
from symscope.orbits.cyclic import random_cyclic, random_orthogonal
from symscope.orbits.orbits import CyclicOrbit

SHARES = ("skew", "toeplitz", "bttb", "circulant", "bccb", "haar", "pooled")
NULLS = ["conjugated", "singular", "gaussian", "untrained", "regrouped"]


def doubles(*shape: int, seed: int = 0) -> torch.Tensor:
    return random(*shape, seed=seed, dtype=torch.float64)


@pytest.fixture(scope="module")
def known() -> dict[str, torch.Tensor]:
    return known_operations(6, tiles(photographs(), 6))


# The part that the loss sees


def test_the_seen_part_makes_the_same_orbits_and_nothing_else_matters():
    a, w = doubles(16, 16), doubles(2, 16, seed=1)
    part = seen_part(a, w, 4)
    assert int(torch.linalg.matrix_rank(part)) == 2 * 3
    orbit, again = w, w
    for _ in range(3):
        orbit, again = orbit @ a.T, again @ part.T
        torch.testing.assert_close(again, orbit)
    # Change A off the span, and the orbit and the part stay; on it, and the part moves.
    _, _, directions = torch.linalg.svd(torch.linalg.pinv(part) @ part)
    off, on = directions[-1], directions[0]
    torch.testing.assert_close(seen_part(a + torch.outer(doubles(16, seed=2), off), w, 4), part)
    assert (seen_part(a + torch.outer(doubles(16, seed=2), on), w, 4) - part).norm() > 0.1


def test_the_loss_has_no_gradient_off_the_seen_part():
    made = seeded(lambda: CyclicOrbit(16, 4, 1, 2, "free").double(), 0)
    made().mul(doubles(16)).sum().backward()
    gradient = made.parametrizations.generators.original.grad[0]
    part = seen_part(identity(4) @ made.generators[0], made.base[0], 4)
    span = torch.linalg.pinv(part) @ part
    assert gradient.norm() > 0.1
    torch.testing.assert_close(gradient @ span, gradient, atol=1e-9, rtol=0)


def test_the_seen_part_at_the_ends():
    a, w = doubles(9, 9), doubles(3, 9, seed=1)
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
    turn, w = rotation(6, 90), doubles(2, 36)
    span = torch.linalg.pinv(part := seen_part(turn, w, 4)) @ part
    mixed = turn @ span + doubles(36, 36, seed=1) @ (identity(6) - span)
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
