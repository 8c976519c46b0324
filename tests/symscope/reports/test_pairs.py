"""Rows of pairs against their definition."""

import pytest
import torch
from cases import Plain, random_network, tuned_to
from helpers import random

import symscope as ss
from symscope import algebra
from symscope.decide.decision import RULE
from symscope.extract.evidence import COMMON, NETWORK, RANDOM, SHUFFLED
from symscope.extract.extraction import Query, extract
from symscope.extract.network import Network, Outputs
from symscope.reports.equivariance import Carried, Free, OnInputs, PairDifferentiation

STATES = random(60, 3, dtype=torch.float64)
MAP = random_network(3, 8, 2, 0)
FIELD = random_network(3, 8, 3, 0)
PLANE = ss.LinearAction(2)
SPACE = ss.LinearAction(3)
CURVED = ss.FieldAction(
    [lambda x: x.sin(), lambda x: x[:, [1, 2, 0]] * x, lambda x: torch.ones_like(x)]
)


def evidence_of(function, pairing, mode="reverse", data=STATES):
    found = extract(
        Network(function, Outputs()),
        Query(data=data, action=OnInputs(pairing), mode=mode),
        plan=lambda how: PairDifferentiation(**vars(how), pairing=pairing),
    )
    return found.evidence


def gram(evidence, kind):
    triangles = [piece.factors[kind].triangle for piece in evidence.pieces]
    return sum(triangle.T @ triangle for triangle in triangles)


def along(function, fields):
    """Df(x) X_k(x) for every sample, without rows or actions: (N, C, K)."""
    jacobian = torch.func.vmap(torch.func.jacrev(lambda x: function(x[None])[0]))(STATES)
    return torch.einsum("nci,kni->nck", jacobian, fields)


def free_by_definition():
    values = torch.einsum("kcd,nd->nck", PLANE.basis, MAP(STATES))
    return torch.cat([along(MAP, SPACE.fields(STATES)), -values], 2)


def carried_by_definition(action, time):
    """The Lie bracket Df X - DX f, and f itself for tau."""
    velocities = FIELD(STATES)

    def moved(x):
        return action.fields(x[None])[:, 0]

    slopes = torch.func.vmap(torch.func.jacrev(moved))(STATES)  # n k c i
    rows = along(FIELD, action.fields(STATES))
    rows = rows - torch.einsum("nkci,ni->nck", slopes, velocities)
    return torch.cat([rows, velocities[..., None]], 2) if time else rows


@pytest.mark.parametrize("mode", ["forward", "reverse"])
@pytest.mark.parametrize(
    ("function", "pairing", "rows"),
    [
        (MAP, Free(SPACE, PLANE, (2,)), free_by_definition()),
        *(
            (FIELD, Carried(action, time), carried_by_definition(action, time))
            for action in (SPACE, CURVED)
            for time in (False, True)
        ),
    ],
    ids=["free", "linear", "linear, time", "curved", "curved, time"],
)
def test_rows_are_their_definition(function, pairing, rows, mode, monkeypatch):
    tuned_to(monkeypatch, quantile=1.0)  # every weight is 1
    found = gram(evidence_of(function, pairing, mode), NETWORK)
    torch.testing.assert_close(found, torch.einsum("nck,ncl->kl", rows, rows))


def test_an_action_without_fields_carries_velocities_by_its_rows():
    whole = gram(evidence_of(FIELD, Carried(SPACE, True)), NETWORK)
    plain = gram(evidence_of(FIELD, Carried(Plain(SPACE), True)), NETWORK)
    torch.testing.assert_close(plain, whole)


def test_the_reference_holds_the_outputs_own_motion_and_no_cross_terms(monkeypatch):
    tuned_to(monkeypatch, quantile=1.0)
    found = evidence_of(MAP, Free(SPACE, PLANE, (2,)))
    reference = gram(found, SHUFFLED) + RULE.kappa**2 * gram(found, RANDOM)
    reference = reference + gram(found, COMMON)
    values = MAP(STATES)
    motion = torch.einsum("kcd,nd->nck", PLANE.basis, values)
    torch.testing.assert_close(reference[9:, 9:], torch.einsum("nck,ncl->kl", motion, motion))
    assert reference[:9, 9:].abs().max() < 1e-12 * reference.max()


def test_long_samples_weigh_less_on_both_sides_alike():
    # f(x) = x turns as x does, exactly so however samples are weighed.
    long = STATES.clone()
    long[0] *= 1e4
    own = gram(evidence_of(lambda x: 1 * x, Free(SPACE, SPACE, (3,)), data=long), NETWORK)
    same = torch.eye(9, dtype=torch.float64).repeat(1, 2)
    assert (same @ own @ same.T).abs().max() < 1e-12 * own.max()
    assert float(own.max()) < 1e4  # of 1e8, were the long sample not cut


def test_the_action_on_inputs_offers_fields_only_where_its_own_does():
    pairing = Carried(SPACE, True)
    assert torch.equal(OnInputs(pairing).fields(STATES)[:9], SPACE.fields(STATES))
    assert not OnInputs(pairing).fields(STATES)[9].any()  # time moves no state
    assert not hasattr(OnInputs(Carried(Plain(SPACE), True)), "fields")
    assert repr(OnInputs(pairing)) == "LinearAction(3, copies=1)"


def test_outputs_may_be_of_any_shape():
    pairing = Free(SPACE, ss.LinearAction(2, copies=3), (3, 2))
    values = random(5, 6)
    rows = pairing.motion(random(5, 3), values, 2, 5)
    moved = values.reshape(5, 3, 2) @ algebra.gl(2).float().mT[:, None]  # (k, n, 3, 2)
    moved = moved.reshape(4, 5, 6)[..., 2:5].permute(1, 2, 0)
    torch.testing.assert_close(rows, torch.cat([torch.zeros(5, 3, 9), moved], 2))
