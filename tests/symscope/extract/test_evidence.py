"""Evidence in pieces: where samples go, and that merged evidence is that of all samples."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from symscope.extract.evidence import (
    CONTROL,
    KINDS,
    NETWORK,
    RANDOM,
    SHUFFLED,
    SHUFFLED_AGAIN,
    Evidence,
)


def drawn(samples: int, seed: int = 0) -> torch.Tensor:
    draw = torch.Generator().manual_seed(seed)
    return torch.randn(samples, 2, 3, generator=draw, dtype=torch.float64)


def collected(batches: list[torch.Tensor]) -> Evidence:
    evidence = Evidence(3)
    for rows in batches:
        for start, stop, piece in evidence.spans(len(rows)):
            for kind in KINDS:
                piece.factors[kind].update(rows[start:stop])
    return evidence


def gram(evidence: Evidence, kind: str = NETWORK) -> torch.Tensor:
    triangles = [piece.factors[kind].triangle for piece in evidence.pieces]
    return sum(triangle.T @ triangle for triangle in triangles)


@settings(max_examples=25)
@given(st.lists(st.integers(1, 90), min_size=1, max_size=40))
def test_no_sample_is_lost_and_pieces_stay_between_their_limits(sizes):
    rows = drawn(sum(sizes))
    evidence = collected(list(rows.split(sizes)))
    assert evidence.samples == sum(sizes) and evidence.rows == 2 * sum(sizes)
    assert len(evidence.pieces) <= 2 * evidence.most + max(sizes) // evidence.size + 1
    flat = rows.flatten(0, 1)
    torch.testing.assert_close(gram(evidence), flat.T @ flat)


def test_one_batch_is_spread_over_all_pieces():
    evidence = collected([drawn(320)])
    assert [piece.samples for piece in evidence.pieces] == [10] * 32


def test_many_directions_are_held_in_few_pieces():
    assert Evidence(200).most == 32 and Evidence(201).most == 8


@settings(max_examples=25)
@given(st.integers(1, 70), st.integers(1, 70))
def test_merged_evidence_is_that_of_all_samples(first, second):
    one, other = drawn(first, 1), drawn(second, 2)
    merged = collected([one]).merge(collected([other]))
    together = torch.cat([one, other]).flatten(0, 1)
    torch.testing.assert_close(gram(merged), together.T @ together)
    assert merged.samples == first + second


def test_evidence_of_other_dimensions_is_refused():
    with pytest.raises(ValueError, match="dimension 3 and 4"):
        Evidence(3).merge(Evidence(4))


def test_the_control_is_judged_by_the_second_pairing():
    evidence = Evidence(3)
    for _, _, piece in evidence.spans(8):
        for place, kind in enumerate(KINDS):
            piece.factors[kind].update((place + 1) * torch.ones(1, 1, 3, dtype=torch.float64))
    turned = evidence.of_shuffled()
    torch.testing.assert_close(gram(turned), gram(evidence, CONTROL))
    torch.testing.assert_close(gram(turned, SHUFFLED), gram(evidence, SHUFFLED_AGAIN))
    torch.testing.assert_close(gram(turned, RANDOM), gram(evidence, RANDOM))
