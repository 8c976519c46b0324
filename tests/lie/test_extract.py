"""The streamed factor: exact, mergeable, independent of how the data are cut, flat in memory."""

import os
import subprocess
import sys
from functools import partial

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import symscope as ss
from symscope.lie.extract import Extraction, Search, extract
from symscope.lie.factor import Factor
from symscope.lie.rows import Outputs, output_cotangents
from symscope.lie.stream import Stream, derangement

ACTION = ss.LinearAction(4, copies=2)


def network(outputs: int = 3) -> nn.Module:
    return ss.networks.seeded(lambda: ss.networks.MLP((8, 16, outputs)), 0).double()


def vectors(n: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(n, 8, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def asked(model, data, action=ACTION, **settings) -> Extraction:
    """The extraction of a model on data."""
    return extract(model, Search(data, action, **settings))


def published(model, data, action, outputs=None) -> torch.Tensor:
    """The definition, held whole: jacobian by torch.func, then the N C x K matrix."""
    outputs = outputs or (lambda y: y)
    jacobian = torch.func.vmap(torch.func.jacrev(lambda x: outputs(model(x[None]))[0]))(data)
    return action.rows(data, jacobian.detach()).flatten(0, 1)


def assert_same_gram(factor: Factor, rows: torch.Tensor, tolerance: float) -> None:
    gram = factor.triangle.T @ factor.triangle
    truth = rows.T @ rows
    assert float((gram - truth).norm() / truth.norm()) < tolerance


@pytest.mark.parametrize(("n", "outputs"), [(16, 1), (6, 3), (97, 1), (97, 3), (512, 3)])
def test_stream_equals_the_published_matrix(n, outputs):
    model, data = network(outputs), vectors(n)
    found = asked(model, data, ACTION, batch_size=50)
    rows = published(model, data, ACTION)
    assert found.factor.samples == n and found.factor.rows == len(rows)
    assert_same_gram(found.factor, rows, 1e-13)
    variance, _ = found.factor.spectrum()
    # The definition of the variance: mean squared derivative along the unit direction.
    report = ss.learned_symmetries(model, data, action=ACTION)
    for k in (0, 7, 15):
        along = rows @ report.generators[k].flatten()
        assert float((along**2).sum() / n) == pytest.approx(float(variance[k]), rel=1e-9, abs=1e-13)


def test_outputs_modes_are_what_they_say():
    model, data = network(), vectors(60)
    modes = {
        "all": (Outputs(), None),
        "sum": (Outputs("sum"), lambda y: y.sum(1, keepdim=True)),
        "unit": (Outputs("all", True), lambda y: y / y.norm(dim=1, keepdim=True)),
        "paper": (
            Outputs("sum", True),
            lambda y: (y / y.norm(dim=1, keepdim=True)).sum(1, keepdim=True),
        ),
        "callable": (Outputs(lambda y: y[:, :2] ** 2), lambda y: y[:, :2] ** 2),
        "vector": (Outputs(lambda y: y[:, 1]), lambda y: y[:, 1:2]),
    }
    for name, (outputs, definition) in modes.items():
        found = asked(model, data, ACTION, outputs=outputs)
        assert_same_gram(found.factor, published(model, data, ACTION, definition), 1e-12), name


def test_outputs_in_chunks_change_nothing(monkeypatch):
    model, data = network(7), vectors(60)
    whole = asked(model, data, ACTION).factor.spectrum()[0]
    monkeypatch.setattr("symscope.lie.rows.CHUNK_BYTES", 60 * 8 * 8 * 2)
    chunks = list(output_cotangents(model, data, Outputs()))
    assert [chunk.shape[1] for chunk in chunks] == [2, 2, 2, 1]
    torch.testing.assert_close(asked(model, data, ACTION).factor.spectrum()[0], whole)


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 2**31),
    cuts=st.lists(st.integers(0, 60), min_size=1, max_size=6),
    dtype=st.sampled_from([torch.float32, torch.float64]),
)
def test_merge_is_the_factor_of_all_rows_however_they_are_cut(seed, cuts, dtype):
    generator = torch.Generator().manual_seed(seed)
    rows = torch.randn(60, 2, 5, generator=generator, dtype=torch.float64)
    edges = [0, *sorted(cuts), 60]
    parts = []
    for start, stop in zip(edges, edges[1:], strict=False):
        part = Factor(5, dtype)
        part.update(rows[start:stop])
        parts.append(part)
    merged = parts[0]
    for part in parts[1:]:
        merged = merged.merge(part)
    backwards = parts[-1]
    for part in parts[-2::-1]:
        backwards = part.merge(backwards)
    tolerance = {torch.float32: 1e-5, torch.float64: 1e-13}[dtype]
    flat = rows.flatten(0, 1).to(dtype)
    for factor in (merged, backwards):
        assert (factor.samples, factor.rows) == (60, 120)
        assert_same_gram(factor, flat, tolerance)


def test_small_singular_values_survive_the_stream():
    # A Gram matrix in the same precision would lose what lies below sqrt(eps).
    generator = torch.Generator().manual_seed(3)
    left = torch.linalg.qr(torch.randn(4000, 6, generator=generator, dtype=torch.float64)).Q
    right = torch.linalg.qr(torch.randn(6, 6, generator=generator, dtype=torch.float64)).Q
    singular = torch.logspace(0, -10, 6, dtype=torch.float64)
    factor = Factor(6)
    for block in (left * singular @ right.T).split(333):
        factor.update(block[:, None])
    variance, directions = factor.spectrum()
    torch.testing.assert_close((variance * 4000).sqrt(), singular.flip(0), rtol=1e-4, atol=0)
    assert abs(float(directions[0] @ right[:, -1])) == pytest.approx(1, abs=1e-9)


def test_batches_loaders_and_order_change_nothing():
    model, data = network(), vectors(203)
    truth = ss.learned_symmetries(model, data, action=ACTION).variance
    loader = torch.utils.data.DataLoader(
        torch.utils.data.TensorDataset(data, torch.zeros(203)), batch_size=32, shuffle=True
    )
    for given_data in (loader, list(data.split(17)), iter(data.split(203))):
        report = ss.learned_symmetries(model, given_data, action=ACTION)
        torch.testing.assert_close(report.variance, truth, rtol=1e-9, atol=1e-14)


def test_merged_factors_make_a_report():
    model, data = network(), vectors(400)
    parts = [asked(model, half, ACTION).factor for half in data.split(200)]
    merged = ss.Symmetries(parts[0].merge(parts[1]), ACTION)
    whole = ss.learned_symmetries(model, data, action=ACTION)
    torch.testing.assert_close(merged.variance, whole.variance)


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


def test_parameters_keep_their_gradients_and_flags():
    model, data = network(), vectors(40)
    model(data).sum().backward()
    before = [parameter.grad.clone() for parameter in model.parameters()]
    with torch.no_grad():  # a user's no_grad block must not matter either
        ss.learned_symmetries(model, data, action=ACTION)
    for parameter, gradient in zip(model.parameters(), before, strict=True):
        torch.testing.assert_close(parameter.grad, gradient, rtol=0, atol=0)
        assert parameter.requires_grad
    assert not data.requires_grad


def test_convolutions_and_channels_work():
    model = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()
    )
    images = torch.rand(64, 3, 12, 10, generator=torch.Generator().manual_seed(0))
    report = ss.learned_symmetries(model, images, action=ss.PlaneAction("affine"))
    assert report.generators.shape == (6, 3, 3) and report.variance.isfinite().all()
    assert (report.generators[:, 2] == 0).all()


MEMORY = """
import sys, torch, symscope as ss
def resident(key):
    return next(int(l.split()[1]) for l in open("/proc/self/status") if l.startswith(key))
n = int(sys.argv[1])
images = torch.rand(n, 28, 28)
model = ss.networks.mnist_mlp()
action = ss.PlaneAction("gl2")
ss.learned_symmetries(model, images[:2000], action=action)  # first-use allocations
open("/proc/self/clear_refs", "w").write("5")  # resets the peak
before = resident("VmRSS")
ss.learned_symmetries(model, images, action=action)
print(resident("VmHWM") - before)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_peak_memory_does_not_grow_with_the_number_of_images():
    def peak(n: int) -> int:
        command = [sys.executable, "-c", MEMORY, str(n)]
        # The allocator hands every freed block back, so that the peak counts what is held.
        environment = os.environ | {
            "MALLOC_ARENA_MAX": "1",
            "MALLOC_MMAP_THRESHOLD_": "65536",
            "OMP_NUM_THREADS": "1",
        }
        run = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
        return int(run.stdout)

    small, large = peak(12_000), peak(60_000)
    held = 60_000 * 10 * 4 * 8 // 1024  # the N-row matrix of float64, in KiB
    print(f"peak extra memory: {small} KiB for 12,000 images, {large} KiB for 60,000")
    assert large <= 1.1 * small
    assert large - small < held / 2


class Recorder(nn.Module):
    """A network that notes whether it was differentiated forwards."""

    def __init__(self, inner: nn.Module):
        super().__init__()
        self.inner, self.forwards = inner, 0

    def forward(self, x):
        self.forwards += torch._C._functorch.is_functorch_wrapped_tensor(x)
        return self.inner(x)


class NoForwardMode(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x.sin()

    @staticmethod
    def backward(ctx, g):
        return g * ctx.saved_tensors[0].cos()


class WrongForwardMode(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(x):
        return x.sin()

    @staticmethod
    def setup_context(ctx, inputs, output):
        ctx.save_for_backward(*inputs)
        ctx.save_for_forward(*inputs)

    @staticmethod
    def backward(ctx, g):
        return g * ctx.saved_tensors[0].cos()

    @staticmethod
    def jvp(ctx, t):
        return t * ctx.saved_tensors[0].sin()  # should be the cosine


class Applied(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function.apply(x)


def test_many_outputs_are_differentiated_forwards_with_the_same_rows():
    # 20 outputs and 16 directions; 15 outputs and 16.
    data = vectors(120)
    for count, forwards in ((20, True), (15, False)):
        model = Recorder(network(count))
        for outputs in (Outputs(), Outputs("all", unit_norm=True)):
            model.forwards = 0
            found = asked(model, data, ACTION, outputs=outputs, batch_size=50)
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


def test_a_layer_without_forward_mode_is_differentiated_in_reverse_and_the_report_says_so():
    model, data = nn.Sequential(network(20), Applied(NoForwardMode)), vectors(60)
    found = ss.learned_symmetries(model, data, action=ACTION)
    truth = nn.Sequential(network(20), Sine())
    assert_same_gram(found.factor, published(truth, data, ACTION), 1e-12)
    assert found.mode.name == "reverse"
    assert "forward mode cannot run: " in found.mode.reason and found.mode.reason in repr(found)
    with pytest.raises(RuntimeError, match="forward mode cannot run"):
        ss.learned_symmetries(model, data, action=ACTION, mode="forward")


class NegativeFields(ss.LinearAction):
    def fields(self, data, backend="auto"):
        return -super().fields(data, backend)


@pytest.mark.parametrize(
    ("model", "action"),
    [
        (nn.Sequential(network(20), Applied(WrongForwardMode)), ACTION),
        (network(20), NegativeFields(4, copies=2)),
    ],
)
def test_modes_that_disagree_are_an_error_that_names_the_action(model, action):
    with pytest.raises(ValueError, match=r"along LinearAction\(4, .* differ between forward"):
        ss.learned_symmetries(model, vectors(60), action=action)
    assert ss.learned_symmetries(model, vectors(60), action=action, mode="reverse").mode.name == (
        "reverse"
    )


def test_fields_of_another_shape_are_refused():
    class Few(ss.LinearAction):
        def fields(self, data, backend="auto"):
            return super().fields(data, backend)[:-1]

    with pytest.raises(ValueError, match=r"fields of LinearAction.* must be of shape \(16, 2, 8\)"):
        ss.learned_symmetries(network(20), vectors(60), action=Few(4, copies=2))


@pytest.mark.parametrize("outputs", [1, 20])
@pytest.mark.parametrize("mode", ["forward", "reverse"])
def test_a_mode_that_is_asked_for_is_taken(mode, outputs):
    model, data = network(outputs), vectors(60)
    found = ss.learned_symmetries(model, data, action=ACTION, mode=mode)
    assert found.mode == (mode, "asked for")
    assert_same_gram(found.factor, published(model, data, ACTION), 1e-12)


def test_an_unknown_mode_is_refused():
    with pytest.raises(ValueError, match="mode must be one of auto, forward, reverse; got 'back'"):
        ss.learned_symmetries(network(), vectors(60), action=ACTION, mode="back")
    with pytest.raises(ValueError, match=r"needs an action with fields\(\)"):
        ss.learned_symmetries(network(), vectors(60), action=Plain(ACTION), mode="forward")


class Sine(nn.Module):
    def forward(self, x):
        return x.sin()


class Plain:
    """An action with no more than the members it must have."""

    def __init__(self, action):
        self.basis, self.shape = action.basis, action.shape
        self.check, self.rows, self.flow = action.check, action.rows, action.flow


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("outputs", [1, 20])
def test_fields_and_gram_matrices_only_make_it_faster(outputs, dtype):
    model, data = network(outputs).to(dtype), vectors(300).to(dtype)
    fast, plain = (
        ss.learned_symmetries(model, data, action=action) for action in (ACTION, Plain(ACTION))
    )
    tolerance = {torch.float32: 1e-4, torch.float64: 1e-10}[dtype]
    for a, b in ((fast, plain), (fast.shuffled, plain.shuffled)):
        torch.testing.assert_close(a.variance, b.variance, rtol=tolerance, atol=1e-9)
    assert fast.count == plain.count


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


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_float32_factor_knows_what_it_cannot_see(dtype):
    # so(4) is exact here: six variances are zero up to the factor's own rounding.
    def invariant(x):
        return torch.stack([(x**2).sum(1), (x**2).sum(1).sin()], 1)

    data = vectors(600).float()[:, :4]
    found = ss.learned_symmetries(invariant, data, action=ss.LinearAction(4), dtype=dtype)
    floor = {torch.float32: 1.2e-5, torch.float64: 1.5e-10}[dtype]
    assert found.factor.rounding == pytest.approx(floor, rel=0.1)
    assert found.count == 6 and float(found.relative_variance[5]) < floor


@pytest.mark.parametrize("mode", ["auto", "forward", "reverse"])
def test_the_reference_is_the_definition_everywhere(mode, monkeypatch):
    def refuse(*_):
        raise AssertionError("an arrangement was used")

    for name in ("plane_rows", "plane_gram", "plane_fields", "linear_gram", "_differences"):
        monkeypatch.setattr(f"symscope.kernels.cpu.{name}", refuse)
    for action, shape in ((ss.PlaneAction("affine"), (40, 6, 7)), (ACTION, (40, 8))):
        data = torch.randn(shape, generator=torch.Generator().manual_seed(1))
        model = ss.networks.seeded(partial(ss.networks.MLP, (data[0].numel(), 8, 30)), 0)
        found = ss.learned_symmetries(model, data, action=action, backend="reference", mode=mode)
        rows = published(model, data, reference_rows(action))
        assert_same_gram(found.factor, rows.double(), 1e-5)


def reference_rows(action):
    """The same action, whose rows are the definition's whatever is asked for."""
    plain = Plain(action)
    plain.rows = lambda data, cotangents: action.rows(data, cotangents, "reference")
    return plain


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
    model = ss.networks.seeded(lambda: ss.networks.MLP((data[0].numel(), 8, 30)), 0).to(device)
    kernels, definition = (
        ss.learned_symmetries(model, data, action=action, dtype=dtype, backend=backend)
        for backend in ("triton", "reference")
    )
    scale = float(definition.variance.max())
    torch.testing.assert_close(kernels.variance, definition.variance, rtol=1e-4, atol=1e-6 * scale)
    assert float(kernels.angles_to(definition.generators[:1])[0]) < 0.1


def test_factors_that_do_not_fit_are_not_merged():
    with pytest.raises(ValueError, match="must agree: dimension 4 and 5"):
        Factor(4).merge(Factor(5))
    with pytest.raises(ValueError, match="must agree: dtype torch.float64 and torch.float32"):
        Factor(4).merge(Factor(4, torch.float32))
