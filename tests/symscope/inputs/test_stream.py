"""Batches and the pairing of their control."""

import pytest
import torch
from cases import ACTION, asked, network, vectors
from torch.utils.data import DataLoader, Dataset, IterableDataset, StackDataset, TensorDataset

import symscope as ss
from symscope.inputs.samples import Parts
from symscope.inputs.stream import Limits, Stream, pairings_of


def test_batches_loaders_and_order_change_nothing():
    model, data = network(), vectors(203)
    truth = ss.learned_symmetries(model, data, action=ACTION).liegg.variance
    loader = torch.utils.data.DataLoader(
        torch.utils.data.TensorDataset(data, torch.zeros(203)), batch_size=32, shuffle=True
    )
    for given_data in (loader, list(data.split(17)), iter(data.split(203))):
        report = ss.learned_symmetries(model, given_data, action=ACTION)
        torch.testing.assert_close(report.liegg.variance, truth, rtol=1e-9, atol=1e-14)


def test_shuffled_control_pairs_no_sample_with_itself_and_is_seeded():
    model, data = network(), vectors(300)
    first, again, other = (asked(model, data, ACTION, seed=seed) for seed in (0, 0, 1))
    assert first.shuffled.samples == 300
    torch.testing.assert_close(first.shuffled.triangle, again.shuffled.triangle, rtol=0, atol=0)
    difference = first.shuffled.spectrum()[0] - other.shuffled.spectrum()[0]
    assert difference.abs().max() > 0
    for count in (2, 3, 10, 101):
        partner, _ = pairings_of(count, torch.Generator().manual_seed(count))
        assert sorted(partner.tolist()) == list(range(count))
        assert not (partner == torch.arange(count)).any()


def test_the_control_of_a_large_tensor_takes_whole_batches_and_enough_samples(monkeypatch):
    monkeypatch.setattr("symscope.inputs.stream.LIMITS", Limits(samples=100, a_direction=10))
    for total, least in ((90, 90), (1000, 160), (4000, 160)):
        found = asked(network(1), vectors(total), ACTION, batch_size=50)
        assert found.factor.samples == total
        assert least <= found.shuffled.samples < least + 50


def test_the_samples_that_a_decision_rests_on_are_as_many_as_is_said():
    data = vectors(9000)
    for asked_for, used in ((None, 2048), (512, 512), (9000, 9000), (10**6, 9000)):
        found = ss.learned_symmetries(network(1), data, action=ACTION, control_samples=asked_for)
        assert found.factor.samples == 9000 and found.evidence.samples == used
    with pytest.raises(ValueError, match="control_samples must be a whole number of at least 2"):
        ss.learned_symmetries(network(1), data, action=ACTION, control_samples=1)


@pytest.mark.parametrize(
    ("total", "batch_size", "enough"), [(500, 64, 999), (65, 64, 2), (65, 8, 9)]
)
def test_the_control_never_pairs_a_sample_with_itself(total, batch_size, enough):
    data = torch.arange(float(total))[:, None].expand(-1, 8).contiguous()
    own, others = [], []
    for batch in Stream(data, ACTION, batch_size, 3, control_samples=enough):
        torch.testing.assert_close(batch.inputs, data[batch.start : batch.start + batch_size])
        assert len(batch.others) in (0, len(batch.inputs))
        own += batch.inputs[: len(batch.others), 0].tolist()
        others += batch.others[:, 0].tolist()
    assert len(own) >= min(enough, total)
    assert all(a != b for a, b in zip(own, others, strict=True))
    assert sorted(own) == sorted(others)  # each input is used once


def invariant(x):
    return x.reshape(-1, 2, 4).square().sum(2).sin()


def test_a_loader_of_one_sample_a_batch_has_its_control():
    data = vectors(500)
    whole = ss.learned_symmetries(invariant, data, action=ACTION)
    single = ss.learned_symmetries(invariant, DataLoader(data), action=ACTION)
    assert whole.count == single.count == 6
    assert single.shuffled.factor.samples == 499  # the first has nobody to meet
    torch.testing.assert_close(single.liegg.variance, whole.liegg.variance, rtol=1e-9, atol=1e-14)
    ratio = single.shuffled.liegg.variance / whole.shuffled.liegg.variance
    assert ratio.min() > 0.7 and ratio.max() < 1.4


@pytest.mark.parametrize("sizes", [[1] * 300, [2] * 150, [1, 7, 1, 90, 1, 1, 199]])
def test_partners_across_batches_are_others_of_the_past_and_evenly_chosen(sizes):
    data = torch.arange(300.0)[:, None].expand(-1, 8)
    met = []
    for batch in Stream(list(data.split(sizes)), ACTION, 512, 3):
        own, others = batch.inputs[:, 0].tolist(), batch.others[:, 0].tolist()
        assert len(others) == len(own) or (batch.start == 0 and len(own) == 1)
        assert all(a != b for a, b in zip(own, others, strict=False))
        assert max(others, default=0) < batch.start + len(own)
        assert len(set(others)) == len(others)
        met += others
    if max(sizes) == 1:  # all the past is kept alike: a partner is half as old, on average
        places = torch.tensor(met[100:]) / torch.arange(101, 300)
        assert 0.4 < places.mean() < 0.6 and places.min() < 0.1


@pytest.mark.parametrize("size", [1, 2, 3])
@pytest.mark.parametrize("whole", [False, True])
def test_the_second_pairing_is_another(size, whole):
    data = torch.arange(60.0)[:, None].expand(-1, 8).contiguous()
    given = data if whole and size > 1 else list(data.split(size))
    for batch in Stream(given, ACTION, max(size, 2), 3):
        if batch.start + len(batch.inputs) < 3:
            continue  # two samples have but one pairing
        met = torch.stack([batch.inputs, batch.others, batch.again])[..., 0]
        assert all(len(set(three)) == 3 for three in met.T.tolist())


def test_two_samples_have_one_pairing():
    (batch,) = Stream(torch.arange(2.0)[:, None].expand(-1, 8).contiguous(), ACTION, 2, 3)
    assert torch.equal(batch.again, batch.others) and torch.equal(
        batch.others, batch.inputs.flip(0)
    )


def test_batches_reach_the_network_as_they_come():
    seen = []

    def model(x):
        seen.append(len(x))
        return x

    loader = DataLoader(vectors(100), batch_size=25)
    ss.learned_symmetries(model, loader, action=ACTION, batch_size=10, mode="reverse")
    assert seen[-4:] == [25] * 4


def test_samples_of_unlike_shape_do_not_meet():
    images = [torch.rand(1, 5 + i % 2, 6) for i in range(20)]
    for batch in Stream(images, ss.PlaneAction(), 512, 0):
        assert batch.others.shape[1:] == batch.inputs.shape[1:]
        assert len(batch.others) == (batch.start > 1)


class Endless(IterableDataset):
    """Samples without end, one by one or in batches."""

    def __init__(self, *shape):
        self.shape, self.read = shape, 0

    def __iter__(self):
        draw = torch.Generator().manual_seed(0)
        while True:
            self.read += 1
            yield torch.randn(*self.shape, generator=draw, dtype=torch.float64), 0


@pytest.mark.parametrize("shape", [(8,), (30, 8)])
def test_an_endless_dataset_is_read_as_far_as_is_said(shape):
    data = Endless(*shape)
    batches = list(Stream(data, ACTION, 30, 0, samples=100))
    assert [len(batch.inputs) for batch in batches] == [30, 30, 30, 10]
    assert all(batch.others.shape == batch.inputs.shape for batch in batches)


def test_samples_limits_tensors_and_loaders_and_must_be_a_whole_number():
    data = vectors(90)
    for given in (data, data.split(20), iter(data.split(40)), TensorDataset(data)):
        got = torch.cat([batch.inputs for batch in Stream(given, ACTION, 32, 0, samples=50)])
        assert len(got) == 50 and (got[:, None] == data).all(2).any(1).all()
        if not isinstance(given, (torch.Tensor, TensorDataset)):  # of a stream, the first
            torch.testing.assert_close(got, data[:50])
    with pytest.raises(ValueError, match="samples must be a whole number of at least 1, got 0"):
        Stream(data, ACTION, 32, 0, samples=0)


def test_a_dataset_is_read_in_batches():
    data = vectors(90)
    whole, dataset = (
        ss.learned_symmetries(network(), given, action=ACTION)
        for given in (data, TensorDataset(data, torch.zeros(90)))
    )
    torch.testing.assert_close(dataset.liegg.variance, whole.liegg.variance)


def test_data_of_inference_mode_are_taken():
    with torch.inference_mode():
        data = vectors(90)
    expected = ss.learned_symmetries(network(), vectors(90), action=ACTION)
    for given in (data, list(data.split(30))):
        found = ss.learned_symmetries(network(), given, action=ACTION)
        torch.testing.assert_close(found.liegg.variance, expected.liegg.variance)


def test_the_public_call_reads_as_far_as_is_said():
    found = ss.learned_symmetries(network(), Endless(30, 8), action=ACTION, samples=200)
    assert found.factor.samples == 200
    data, model = vectors(300), network()
    few = ss.learned_symmetries(model, data, action=ACTION, samples=100)
    drawn = torch.cat([batch.inputs for batch in Stream(data, ACTION, 32, 0, samples=100)])
    expected = ss.learned_symmetries(network(), drawn, action=ACTION)
    torch.testing.assert_close(few.liegg.variance, expected.liegg.variance)
    assert few.controls()["untrained"].factor.samples == 100


def test_few_images_of_two_sizes_are_one_set_of_data():
    def mean_of_squares(images):  # of its own size, whatever that is
        return images.square().mean((1, 2))[:, None].sin()

    draw = torch.Generator().manual_seed(0)
    images = [torch.rand(40, side, side, generator=draw) for side in (8, 12)]
    found = ss.learned_symmetries(mean_of_squares, images, action=ss.PlaneAction())
    parts = [
        ss.learned_symmetries(mean_of_squares, own, action=ss.PlaneAction()).factor
        for own in images
    ]
    torch.testing.assert_close(found.factor.gram, parts[0].gram + parts[1].gram)


# What is drawn, and what was read before


class Places(Dataset):
    """Numbered samples, sorted."""

    def __len__(self):
        return 1000

    def __getitem__(self, place):
        if place >= len(self):
            raise IndexError
        return torch.full((8,), float(place)), place % 3


@pytest.mark.parametrize("form", ["tensor", "dataset", "mapping", "dataset of mappings"])
def test_samples_are_drawn_from_sorted_data_and_not_the_first(form):
    table = torch.arange(1000.0)[:, None].expand(-1, 8).contiguous()
    data, parts = {
        "tensor": (table, None),
        "dataset": (Places(), None),
        "mapping": ({"x": table, "label": table[:, 0]}, Parts("x")),
        "dataset of mappings": (
            StackDataset(x=TensorDataset(table).tensors[0], label=table[:, 0]),
            Parts("x"),
        ),
    }[form]
    some, other = (
        torch.cat([b.inputs[:, 0] for b in Stream(data, ACTION, 64, s, samples=300, parts=parts)])
        for s in (0, 1)
    )
    assert len(some) == 300 and (some.diff() > 0).all()  # in the order of the data
    assert 400 < float(some.mean()) < 600 and some.max() > 900 and not some.equal(other)


class OnceOnly(IterableDataset):
    """Samples, or batches, of a stream that is gone once it was read."""

    def __init__(self, items):
        self.items = iter(items)

    def __iter__(self):
        return self.items


@pytest.mark.parametrize("size", [0, 30])
def test_a_stream_that_can_be_read_once_loses_no_sample(size):
    data = vectors(300)
    found = ss.learned_symmetries(
        network(), OnceOnly(data.split(size) if size else data), action=ACTION
    )
    expected = ss.learned_symmetries(network(), data, action=ACTION)
    assert found.factor.samples == 300
    torch.testing.assert_close(found.liegg.variance, expected.liegg.variance)


def test_the_first_batch_can_be_looked_at_and_comes_again():
    data = vectors(90)
    for given in (data, iter(data.split(20)), OnceOnly(data), TensorDataset(data)):
        stream = Stream(given, ACTION, 32, 0)
        assert stream.peek().inputs.equal(stream.peek().inputs)
        torch.testing.assert_close(torch.cat([batch.inputs for batch in stream]), data)
    with pytest.raises(ValueError, match="data is empty"):
        Stream([], ACTION, 32, 0).peek()


def test_samples_with_their_targets_are_not_taken_for_two_batches():
    data = vectors(90)
    with pytest.raises(ValueError, match="tuple of 2 .* hand in a list of batches, .*data.0."):
        ss.learned_symmetries(network(), (data, data.flip(0)), action=ACTION)
    both = torch.cat([data, data], 1)
    with pytest.raises(ValueError, match="tuple of 2"):
        ss.learned_symmetries(network(), (both[:, :8], both[:, 8:]), action=ACTION)
    for batches in ([data[:45], data[45:]], data.split(45), data.split(40)):
        assert ss.learned_symmetries(network(), batches, action=ACTION).factor.samples == 90
