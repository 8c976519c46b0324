"""Streams of random numbers: one a seed and purpose, none of them torch's own."""

from functools import partial

import pytest
import torch

from studies.data import mnist, o5_regression
from studies.data.splits import fits
from symscope._draws import stream

small = partial(mnist, train=30, validation=10, test=10, blur=1.5)


def test_seeds_leave_torchs_own_stream_alone_and_do_not_repeat_it():
    torch.manual_seed(0)
    state = torch.get_rng_state()
    data = o5_regression(seed=0, train=100, validation=1, test=1)
    small(rotate=True)
    assert torch.equal(torch.get_rng_state(), state)
    own = torch.randn(1_020, dtype=torch.float64).to(torch.float32)
    assert not torch.isin(data.train.inputs[0] * data.input_std, own).any()


def test_each_purpose_has_its_own_stream():
    draws = [stream(0, purpose) for purpose in ("split", "angles", "o5")]
    assert len({torch.rand(1, generator=draw).item() for draw in draws}) == 3


@pytest.mark.parametrize("seed", [-1, 1.5, "a", True])
def test_seeds_that_are_none(seed):
    with pytest.raises(ValueError, match="seed must be a whole number of at least 0"):
        stream(seed, "split")


def test_a_stream_repeats_and_is_not_that_of_the_raw_seed():
    first, again = (torch.rand(5, generator=stream(3, "split")) for _ in range(2))
    raw = torch.rand(5, generator=torch.Generator().manual_seed(3))
    assert torch.equal(first, again) and not torch.equal(first, raw)
    assert not torch.equal(first, torch.rand(5, generator=stream(4, "split")))


def test_more_than_there_is():
    fits("train", 5, 5, "full")
    with pytest.raises(ValueError, match="train must be at most 1,000 .* got 1,001"):
        fits("train", 1_001, 1_000, "full")
