"""Rows of pairs against their definition."""

import pytest
import torch
from cases import Plain, random_network, tuned_to
from helpers import random

import symscope as ss
from symscope import algebra
from symscope.decide.rule import KAPPA
from symscope.extract.evidence import NETWORK, RANDOM, SHUFFLED
from symscope.extract.extraction import Query, extract
from symscope.extract.network import Network, Outputs
from symscope.reports.pairs import PairDifferentiation, Tied, WithScaling, free, tied

STATES = random(60, 3, dtype=torch.float64)
MAP = random_network(3, 8, 2, 0)
FIELD = random_network(3, 8, 3, 0)
PLANE = ss.LinearAction(2)
SPACE = ss.LinearAction(3)


def evidence_of(function, pairing, mode="reverse", data=STATES):
    found = extract(
        Network(function, Outputs()),
        Query(data=data, action=Tied(pairing), mode=mode),
        plan=lambda how: PairDifferentiation(**vars(how), pairing=pairing),
    )
    return found.evidence


def gram(evidence, kind):
    triangles = [piece.factors[kind].triangle for piece in evidence.pieces]
    return sum(triangle.T @ triangle for triangle in triangles)


def own_by_definition(function, pairing, weights):
    """Df(x) A x - B f(x) for every pair of the basis, without rows or actions."""
    jacobian = torch.func.vmap(torch.func.jacrev(lambda x: function(x[None])[0]))(STATES)
    a, b = pairing.matrices(torch.eye(pairing.to_inputs.shape[1], dtype=torch.float64))
    moved = torch.einsum("nci,kij,nj->nck", jacobian, a, STATES)
    rows = (moved - torch.einsum("kcd,nd->nck", b, function(STATES))) * weights[:, None, None]
    return torch.einsum("nck,ncl->kl", rows, rows)


@pytest.mark.parametrize("mode", ["forward", "reverse"])
@pytest.mark.parametrize(
    ("function", "pairing"),
    [
        (MAP, free(SPACE, PLANE, (2,))),
        (FIELD, tied(SPACE, (3,), False)),
        (FIELD, tied(SPACE, (3,), True)),
    ],
    ids=["free", "tied", "time"],
)
def test_rows_are_their_definition(function, pairing, mode, monkeypatch):
    tuned_to(monkeypatch, quantile=1.0)  # every weight is 1
    found = gram(evidence_of(function, pairing, mode), NETWORK)
    torch.testing.assert_close(found, own_by_definition(function, pairing, torch.ones(60)))


def test_the_reference_holds_the_outputs_own_motion_and_no_cross_terms(monkeypatch):
    tuned_to(monkeypatch, quantile=1.0)
    found = evidence_of(MAP, free(SPACE, PLANE, (2,)))
    reference = gram(found, SHUFFLED) + KAPPA**2 * gram(found, RANDOM)
    values = MAP(STATES)
    motion = torch.einsum("kcd,nd->nck", PLANE.basis, values)
    torch.testing.assert_close(reference[9:, 9:], torch.einsum("nck,ncl->kl", motion, motion))
    assert reference[:9, 9:].abs().max() < 1e-12 * reference.max()


def test_long_samples_weigh_less_on_both_sides_alike():
    # f(x) = x turns as x does, up to rounding, however samples are weighed.
    long = STATES.clone()
    long[0] *= 1e4
    own = gram(evidence_of(lambda x: 1 * x, free(SPACE, SPACE, (3,)), data=long), NETWORK)
    same = torch.eye(9, dtype=torch.float64).repeat(1, 2)
    assert (same @ own @ same.T).abs().max() < 1e-12 * own.max()
    assert float(own.max()) < 1e4  # of 1e8, were the long sample not cut


def test_tied_offers_fields_only_where_its_action_does():
    pairing = tied(SPACE, (3,), True)
    assert torch.equal(Tied(pairing).fields(STATES)[:9], SPACE.fields(STATES))
    assert not Tied(pairing).fields(STATES)[9].any()  # time moves no state
    plain = Plain(SPACE)
    assert not hasattr(Tied(tied(plain, (3,), True)), "fields")
    assert repr(Tied(pairing)) == "LinearAction(3, copies=1)"


def test_with_scaling_has_one_direction_more():
    action = WithScaling(ss.LinearAction(3, copies=2))
    states, slopes = random(5, 2, 3), random(5, 4, 2, 3, seed=1)
    rows = action.rows(states, slopes)
    assert rows.shape == (5, 4, 10) and torch.equal(action.basis[-1], torch.eye(3).double())
    torch.testing.assert_close(rows[..., -1], rows[..., [0, 4, 8]].sum(2))


def test_outputs_may_be_of_any_shape():
    pairing = free(SPACE, ss.LinearAction(2, copies=3), (3, 2))
    values = random(5, 6)
    rows = pairing.rows_of_outputs(values, 2, 5)
    moved = values.reshape(5, 3, 2) @ algebra.gl(2).float().mT[:, None]  # (k, n, 3, 2)
    moved = moved.reshape(4, 5, 6)[..., 2:5].permute(1, 2, 0)
    torch.testing.assert_close(rows, torch.cat([torch.zeros(5, 3, 9), moved], 2))
