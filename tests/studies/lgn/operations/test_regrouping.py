"""Structure of orbits: found where it was planted, chance where it was not."""

import pytest
import torch
from helpers import random

from studies.lgn.operations import orbit_structure, rotation, shift, stand_out
from studies.lgn.operations.regrouping import alike

KNOWN = {"rotation 90": rotation(6, 90), "shift": shift(6, 0, 1)}


def orbits(matrix: torch.Tensor, sets: int = 6, n: int = 4) -> torch.Tensor:
    atoms = [random(sets, 36, dtype=torch.float64)]
    for _ in range(n - 1):
        atoms.append(atoms[-1] @ matrix.mT)
    return torch.stack(atoms, 1)


def test_orbits_of_a_known_operation_match_it_as_no_regrouping_does():
    # Shrinking by a sixth at each step, as in the authors' network, is not felt.
    for factor in (1, 1 / 6):
        table, null = orbit_structure(orbits(factor * KNOWN["shift"]), KNOWN, draws=99)
        match = table[table.quantity == "match"]
        assert set(match.operation) == {"shift"}
        assert match.value.tolist() == pytest.approx([1] * 6)
        for null_of in ("regrouped", "basis", "alike"):
            assert (match[f"p_{null_of}"] == 0.01).all(), null_of
        assert stand_out(table, "match") == 1
        assert null["match"].shape == (99,) and null["match"].max() < 0.9


def test_random_orbits_are_as_their_regrouping():
    share = []
    for seed in range(12):
        atoms = random(5, 4, 36, seed=seed, dtype=torch.float64)
        table, _ = orbit_structure(atoms, KNOWN, draws=99, seed=seed)
        share.append(float((table.p_regrouped < 0.05).mean()))
    assert torch.tensor(share).mean() < 0.12


def test_the_null_alike_keeps_inner_products_and_stays_in_the_span():
    orbit = torch.nn.functional.normalize(random(4, 36, dtype=torch.float64), dim=1)
    others = random(5, 4, 36, seed=1, dtype=torch.float64)
    made = alike(orbit, others)[:, 0]
    torch.testing.assert_close(made @ made.mT, (orbit @ orbit.mT).expand(5, 4, 4))
    for each, span in zip(made, others, strict=True):
        assert torch.linalg.matrix_rank(torch.cat([each, span])) == 4


def test_parallel_smooth_atoms_are_no_structure_of_a_group():
    # Orbits under matrices of nearly rank one, u u^T with u smooth: pooled, whoever asks the
    # two simpler nulls together.
    smooth = torch.linspace(0, 1, 6, dtype=torch.float64)
    found = []
    for seed in range(10):
        draw = random(5, 6, seed=seed, dtype=torch.float64)
        waves = torch.cos(2 * draw[:, :2, None] * smooth + 6 * draw[:, 2:4, None])
        u = (waves[:, 0, :, None] * waves[:, 1, None, :]).flatten(1)
        noise = random(5, 4, 36, seed=seed + 50, dtype=torch.float64)
        atoms = u[:, None] / u.norm(dim=1)[:, None, None] + 0.02 * noise
        table, _ = orbit_structure(atoms, KNOWN, draws=99, seed=seed)
        found.append(stand_out(table, "pooled"))
    assert sum(found) / 10 < 0.12


def test_what_is_refused():
    with pytest.raises(ValueError, match=r"\(J, n, 36\) with n at least 2, got \(5, 1, 36\)"):
        orbit_structure(random(5, 1, 36), KNOWN)
    with pytest.raises(ValueError, match="draws must be a whole number of at least 1, got 0"):
        orbit_structure(random(5, 4, 36), KNOWN, draws=0)
