"""Rows in reverse and forwards, whole and in chunks, by every backend."""

from functools import partial

import pytest
import torch
from cases import (
    ACTION,
    Plain,
    Recorder,
    asked,
    assert_same_gram,
    network,
    plain,
    published,
    reference_rows,
    tuned_to,
    vectors,
)

import studies
import symscope as ss
from symscope.extract.differentiation import output_cotangents
from symscope.extract.network import Network, Outputs


def test_outputs_in_chunks_change_nothing(monkeypatch):
    model, data = network(7), vectors(60)
    whole = asked(model, data, ACTION).factor.spectrum()[0]
    tuned_to(monkeypatch, chunk_bytes=60 * 8 * 8 * 2)
    chunks = list(output_cotangents(Network(model, Outputs()), data))
    assert [chunk.shape[1] for chunk in chunks] == [2, 2, 2, 1]
    torch.testing.assert_close(asked(model, data, ACTION).factor.spectrum()[0], whole)


def test_many_outputs_are_differentiated_forwards_with_the_same_rows():
    # 20 outputs and 16 directions; 15 outputs and 16.
    data = vectors(120)
    for count, forwards in ((20, True), (15, False)):
        model = Recorder(network(count))
        for outputs in (Outputs(), Outputs("all", unit_norm=True)):
            model.forwards = 0
            found = asked(model, data, ACTION, outputs=outputs, batch_size=50, mode="exact")
            assert bool(model.forwards) == forwards
            unit = (lambda y: y / y.norm(dim=1, keepdim=True)) if outputs.unit_norm else None
            assert_same_gram(found.factor, published(model, data, ACTION, unit), 1e-12)
            assert (found.factor.samples, found.factor.rows) == (120, 120 * count)
            assert (found.shuffled.samples, found.shuffled.rows) == (120, 120 * count)


def test_the_shuffled_control_is_the_same_forwards_and_in_reverse():
    data = vectors(90)
    forwards, reverse = (
        asked(network(20), data, mode=mode, batch_size=40) for mode in ("forward", "reverse")
    )
    rows = reverse.shuffled.triangle
    assert_same_gram(forwards.shuffled, rows, 1e-12)
    assert_same_gram(forwards.factor, reverse.factor.triangle, 1e-12)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("outputs", [1, 20])
def test_fields_and_gram_matrices_only_make_it_faster(outputs, dtype):
    model, data = network(outputs).to(dtype), vectors(300).to(dtype)
    fast, plain = (
        ss.learned_symmetries(model, data, action=action) for action in (ACTION, Plain(ACTION))
    )
    tolerance = {torch.float32: 1e-4, torch.float64: 1e-10}[dtype]
    for a, b in ((fast, plain), (fast.shuffled, plain.shuffled)):
        torch.testing.assert_close(a.liegg.variance, b.liegg.variance, rtol=tolerance, atol=1e-9)
    assert fast.count == plain.count


@pytest.mark.parametrize("mode", ["exact", "forward", "reverse"])
def test_the_reference_is_the_definition_everywhere(mode, monkeypatch):
    def refuse(*_):
        raise AssertionError("an arrangement was used")

    for name in ("plane_rows", "plane_gram", "plane_fields", "linear_gram", "_differences"):
        monkeypatch.setattr(f"symscope.kernels.cpu.{name}", refuse)
    for action, shape in ((ss.PlaneAction("affine"), (40, 6, 7)), (ACTION, (40, 8))):
        data = torch.randn(shape, generator=torch.Generator().manual_seed(1))
        model = studies.networks.seeded(partial(studies.networks.MLP, (data[0].numel(), 8, 30)), 0)
        found = ss.learned_symmetries(model, data, action=action, backend="reference", mode=mode)
        rows = published(model, data, reference_rows(action))
        assert_same_gram(found.factor, rows.double(), 1e-5)


@pytest.mark.parametrize(
    ("action", "shape", "dtype"),
    [
        (ss.PlaneAction("affine"), (40, 6, 7), torch.float64),
        (ss.LinearAction(4, copies=2), (40, 8), torch.float32),
    ],
)
def test_the_kernels_serve_the_public_call(action, shape, dtype):
    device = "cuda" if torch.cuda.is_available() else "cpu"
    data = torch.randn(shape, generator=torch.Generator().manual_seed(1)).to(device)
    model = studies.networks.seeded(lambda: studies.networks.MLP((data[0].numel(), 8, 30)), 0).to(
        device
    )
    kernels, definition = (
        ss.learned_symmetries(model, data, action=action, dtype=dtype, backend=backend)
        for backend in ("triton", "reference")
    )
    scale = float(definition.liegg.variance.max())
    torch.testing.assert_close(
        kernels.liegg.variance, definition.liegg.variance, rtol=1e-4, atol=1e-6 * scale
    )
    assert float(kernels.liegg.angles_to(definition.liegg.generators[:1])[0]) < 0.1


@pytest.mark.parametrize("outputs", [1, 3, 20])
def test_reverse_mode_holds_the_graph_of_a_few_samples(outputs, monkeypatch):
    model, data, seen = network(outputs), vectors(100), []
    whole = ss.learned_symmetries(model, data, action=ACTION, mode="reverse")
    layers = ss.layer_symmetries(model, data, action=ACTION, mode="reverse")

    def noting(x):
        seen.append(len(x))
        return model(x)

    # Hidden features, before and after the activation, and the input: 40 numbers at most.
    tuned_to(monkeypatch, graph_bytes=9 * 40 * 8)
    tuned_to(monkeypatch, chunk_bytes=5 * 8 * 8 * 2)
    found = ss.learned_symmetries(noting, data, action=ACTION, mode="reverse")
    assert max(seen[12:]) < 64 and sum(size < 20 for size in seen) > 5
    again = ss.layer_symmetries(model, data, action=ACTION, mode="reverse")
    for name, expected in layers.items():
        torch.testing.assert_close(again[name].liegg.variance, expected.liegg.variance)
    torch.testing.assert_close(found.liegg.variance, whole.liegg.variance)
    torch.testing.assert_close(found.shuffled.liegg.variance, whole.shuffled.liegg.variance)
    assert (found.factor.samples, found.factor.rows) == (100, 100 * outputs)
    assert found.count == whole.count


def test_forward_mode_counts_what_runs_through_the_layers(monkeypatch):
    # 16 directions and 40 outputs of 8 numbers: small beside 500 hidden features.
    model, data, seen = plain(8, 500, 40).double(), vectors(100), []
    whole = ss.learned_symmetries(model, data, action=ACTION, mode="exact")

    def noting(x):
        seen.append(len(x))
        return model(x)

    tuned_to(monkeypatch, graph_bytes=10 * 3 * 17 * 500 * 8)
    found = ss.learned_symmetries(noting, data, action=ACTION, mode="exact")
    assert found.mode.name == "forward" and set(seen[-7:]) == {10, 4}
    torch.testing.assert_close(found.liegg.variance, whole.liegg.variance)
    assert found.count == whole.count


@pytest.mark.parametrize("mode", ["forward", "reverse"])
def test_a_batch_that_cannot_be_split_is_not(mode, monkeypatch):
    model, data = network(20), vectors(200)

    def fixed(x):
        if len(x) != 100:
            raise RuntimeError("batches of 100")
        return model(x)

    tuned_to(monkeypatch, graph_bytes=9 * 40 * 8)
    tuned_to(monkeypatch, chunk_bytes=1000)
    found = ss.learned_symmetries(fixed, data, action=ACTION, mode=mode, batch_size=100)
    expected = ss.learned_symmetries(model, data, action=ACTION, mode=mode, batch_size=100)
    torch.testing.assert_close(found.liegg.variance, expected.liegg.variance)
    assert found.mode.name == mode
