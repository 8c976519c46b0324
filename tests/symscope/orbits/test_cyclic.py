"""Matrices of finite order: frequencies, normal forms, random ones, defects."""

import math

import pytest
import torch
from helpers import seeded_stream
from hypothesis import assume, given
from hypothesis import strategies as st

from symscope.orbits import cyclic


@given(dim=st.integers(1, 40), order=st.integers(1, 30))
def test_frequencies_fill_the_dimension_evenly_and_make_the_order(dim, order):
    assume(dim > 1 or order <= 2)
    chosen = cyclic.frequencies(dim, order)
    assert sum(cyclic.block_size(k, order) for k in chosen) == dim
    assert set(chosen) <= set(range(order // 2 + 1))
    counts = [chosen.count(k) for k in range(1, (order + 1) // 2)]  # the plane rotations
    if dim % order == 0:  # whole copies of the regular representation
        assert counts == [dim // order] * len(counts)
        assert chosen.count(0) == dim // order
    assert not counts or max(counts) - min(counts) <= 1
    form = cyclic.blocks(chosen, order)
    orders = [m for m in range(1, order + 1) if cyclic.defect(form, m) < 1e-9]
    assert orders[0] == order or dim < 2


def test_the_regular_representation_is_a_circular_shift():
    form = cyclic.blocks(cyclic.frequencies(6, 6), 6)
    shift = torch.eye(6, dtype=torch.float64).roll(1, 0)
    values = [torch.linalg.eigvals(matrix).angle().sort().values for matrix in (form, shift)]
    # -pi and pi are the same angle.
    values = [torch.where(v < -math.pi + 1e-9, v + 2 * math.pi, v).sort().values for v in values]
    torch.testing.assert_close(*values, atol=1e-9, rtol=0)


@given(dim=st.integers(1, 12), order=st.integers(1, 12), seed=st.integers(0, 99))
def test_normal_form_gives_the_matrix_back(dim, order, seed):
    assume(dim > 1 or order <= 2)
    matrix = cyclic.random_cyclic(1, dim, order, seeded_stream(seed))[0]
    basis, chosen = cyclic.normal_form(matrix, order)
    torch.testing.assert_close(basis @ cyclic.blocks(chosen, order) @ basis.T, matrix)
    torch.testing.assert_close(basis.T @ basis, torch.eye(dim, dtype=torch.float64))
    assert sorted(chosen) == sorted(cyclic.frequencies(dim, order))
    skewed = torch.eye(dim, dtype=torch.float64) + torch.ones(dim, dim).triu(1) / dim
    general = torch.linalg.solve(skewed, skewed @ matrix, left=False)
    basis, chosen = cyclic.normal_form(general, order)
    made = torch.linalg.solve(basis, basis @ cyclic.blocks(chosen, order), left=False)
    torch.testing.assert_close(made, general, atol=1e-8, rtol=0)


def test_random_matrices_are_orthogonal_and_uniform():
    matrices = cyclic.random_orthogonal(4_000, 3, seeded_stream(0))
    eye = torch.eye(3, dtype=torch.float64).expand_as(matrices)
    torch.testing.assert_close(matrices.mT @ matrices, eye, atol=1e-12, rtol=0)
    # Without its signs the QR factor would have diagonal entries of one sign.
    assert matrices.mean(0).abs().max() < 5 / (3 * 4_000) ** 0.5
    assert 0.45 < (torch.linalg.det(matrices) > 0).double().mean() < 0.55


@given(dim=st.integers(2, 30), distance=st.floats(0.01, 0.5))
def test_small_rotations_are_rotations_at_the_distance_asked_for(dim, distance):
    turn = cyclic.small_rotations(2, dim, distance, seeded_stream(0))
    eye = torch.eye(dim, dtype=torch.float64)
    assert (turn.mT @ turn - eye).abs().max() < 1e-10
    assert (torch.linalg.det(turn) > 0).all()
    found = torch.linalg.matrix_norm(turn - eye) / dim**0.5
    torch.testing.assert_close(found, torch.full((2,), distance).double(), atol=0, rtol=0.06)


def test_the_defect_of_known_matrices():
    both = torch.block_diag(cyclic.blocks([1], 5), cyclic.blocks([1], 3))
    assert [m for m in range(1, 31) if cyclic.defect(both, m) < 1e-9] == [15, 30]
    assert float(cyclic.defect(2 * torch.eye(9), 3)) == pytest.approx(7)  # |8 I - I| / 3


@given(order=st.integers(1, 12), scale=st.floats(1e-3, 1e3), seed=st.integers(0, 9))
def test_the_scaled_defect_of_a_multiple_of_a_group_is_zero(order, scale, seed):
    matrix = cyclic.random_cyclic(1, 6, order, seeded_stream(seed))[0]
    assert cyclic.scaled_defect(scale * matrix, order) < 1e-6
    assert order == 1 or cyclic.scaled_defect(scale * matrix, order - 1) > 0.1


@given(order=st.integers(1, 6), seed=st.integers(0, 99))
def test_the_scaled_defect_is_the_least_over_all_scales(order, seed):
    matrix = torch.randn(4, 4, generator=seeded_stream(seed), dtype=torch.float64)
    found = float(cyclic.scaled_defect(matrix, order))
    scales = torch.cat([torch.logspace(-4, 2, 4000), -torch.logspace(-4, 2, 4000)]).double()
    tried = cyclic.defect(scales[:, None, None] * matrix, order).min()
    assert found <= tried + 1e-9 and tried == pytest.approx(found, abs=0.01)


def test_the_scaled_defect_of_what_has_no_order_is_one():
    shrinks = torch.diag(torch.ones(5), 1)  # its sixth power is zero
    assert cyclic.scaled_defect(shrinks, 6) == cyclic.scaled_defect(0 * shrinks, 2) == 1
    assert cyclic.scaled_defect(torch.diag(torch.tensor([1.0, -1.0])), 2) < 1e-7
    assert cyclic.scaled_defect(cyclic.blocks([1], 4), 2) == 1  # A^2 = -I, and c^2 > 0
