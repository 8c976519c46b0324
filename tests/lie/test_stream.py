"""Batches and the pairing of their control."""

import pytest
import torch
from cases import ACTION, asked, network, vectors

import symscope as ss
from symscope.lie.stream import Stream, derangement


def test_batches_loaders_and_order_change_nothing():
    model, data = network(), vectors(203)
    truth = ss.learned_symmetries(model, data, action=ACTION).variance
    loader = torch.utils.data.DataLoader(
        torch.utils.data.TensorDataset(data, torch.zeros(203)), batch_size=32, shuffle=True
    )
    for given_data in (loader, list(data.split(17)), iter(data.split(203))):
        report = ss.learned_symmetries(model, given_data, action=ACTION)
        torch.testing.assert_close(report.variance, truth, rtol=1e-9, atol=1e-14)


def test_shuffled_control_pairs_no_sample_with_itself_and_is_seeded():
    model, data = network(), vectors(300)
    first, again, other = (asked(model, data, ACTION, seed=seed) for seed in (0, 0, 1))
    assert first.shuffled.samples == 300
    torch.testing.assert_close(first.shuffled.triangle, again.shuffled.triangle, rtol=0, atol=0)
    difference = first.shuffled.spectrum()[0] - other.shuffled.spectrum()[0]
    assert difference.abs().max() > 0
    for count in (2, 3, 10, 101):
        partner = derangement(count, torch.Generator().manual_seed(count))
        assert sorted(partner.tolist()) == list(range(count))
        assert not (partner == torch.arange(count)).any()


def test_the_control_of_a_large_tensor_takes_whole_batches_and_enough_samples(monkeypatch):
    monkeypatch.setattr("symscope.lie.stream.CONTROL_SAMPLES", 100)
    monkeypatch.setattr("symscope.lie.stream.CONTROL_SAMPLES_A_DIRECTION", 10)
    for total, least in ((90, 90), (1000, 160), (4000, 160)):
        found = asked(network(1), vectors(total), ACTION, batch_size=50)
        assert found.factor.samples == total
        assert least <= found.shuffled.samples < least + 50


@pytest.mark.parametrize(
    ("total", "batch_size", "enough"), [(500, 64, 999), (65, 64, 2), (65, 8, 9)]
)
def test_the_control_never_pairs_a_sample_with_itself(total, batch_size, enough, monkeypatch):
    monkeypatch.setattr("symscope.lie.stream.CONTROL_SAMPLES", enough)
    monkeypatch.setattr("symscope.lie.stream.CONTROL_SAMPLES_A_DIRECTION", 0)
    data = torch.arange(float(total))[:, None].expand(-1, 8).contiguous()
    own, others = [], []
    for batch in Stream(data, ACTION, batch_size, 3):
        torch.testing.assert_close(batch.inputs, data[batch.start : batch.start + batch_size])
        assert len(batch.others) in (0, len(batch.inputs))
        own += batch.inputs[: len(batch.others), 0].tolist()
        others += batch.others[:, 0].tolist()
    assert len(own) >= min(enough, total)
    assert all(a != b for a, b in zip(own, others, strict=True))
    assert sorted(own) == sorted(others)  # each input is used once
