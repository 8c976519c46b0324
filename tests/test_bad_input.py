"""Bad input: one clear error each, naming the argument, what was expected and what came, early."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

import studies
import symscope as ss
from studies.data.splits import Split, Splits
from symscope.extract.network import OutputsError
from symscope.kernels import ops

VECTORS = ss.LinearAction(3, copies=2)  # nine directions
PLANE = ss.PlaneAction("gl2")
SAMPLES = 40


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
DATA = random(SAMPLES, 6)
IMAGES = random(SAMPLES, 5, 5)


def network(inputs: int = 6, outputs: int = 2) -> nn.Module:
    return studies.networks.seeded(lambda: studies.networks.MLP((inputs, 8, outputs)), 0).eval()


class Counting:
    """A model that counts how often it is run."""

    def __init__(self, model: Callable):
        self.model, self.calls = model, 0

    def __call__(self, inputs: Tensor) -> object:
        self.calls += 1
        return self.model(inputs)


def refused(
    error: type[Exception],
    *says: str,
    model: Callable | None = None,
    data: object = DATA,
    action: object = VECTORS,
    runs: bool = False,
    **options,
) -> None:
    """The call raises exactly this error and says all of this, before the network runs or not."""
    counting = Counting(network() if model is None else model)
    with pytest.raises(error) as caught:
        ss.learned_symmetries(counting, data, action=action, **{"batch_size": 8} | options)
    assert caught.type is error
    for words in says:
        assert words in str(caught.value)
    assert runs or not counting.calls


def test_good_input_is_answered():
    found = ss.learned_symmetries(network(), DATA, action=VECTORS, batch_size=8)
    assert found.factor.samples == SAMPLES


def poisoned(*places: int, value: float = float("nan")) -> Tensor:
    """Data in which some samples are not finite."""
    data = DATA.clone()
    data[list(places), 4] = value
    return data


def with_zeros_at(*places: int, to: float = 0.0) -> Tensor:
    data = DATA.clone()
    data[list(places), 2] = to
    return data


@torch.no_grad()
def without_gradients(inputs: Tensor) -> Tensor:
    return inputs * 2


@torch.inference_mode()
def in_inference_mode(inputs: Tensor) -> Tensor:
    return inputs * 2


class OnlyBias(nn.Module):
    """Depends on its weights, so its output carries gradients, and not on its input."""

    def __init__(self):
        super().__init__()
        self.bias = nn.Parameter(torch.ones(3))

    def forward(self, inputs: Tensor) -> Tensor:
        return self.bias.expand(len(inputs), 3)


def root_model(inputs: Tensor) -> Tensor:
    """Fine everywhere except at zero, where the slope of a square root is infinite."""
    return inputs.abs().sqrt()


# Only a module can be put in eval mode; behind a function it mixes samples, or draws.
NORMED = nn.Sequential(nn.Linear(6, 4), nn.BatchNorm1d(4))
DROPPED = nn.Sequential(nn.Linear(6, 40), nn.Dropout(0.5))

SPARSE = "data must be a dense tensor", "got torch.sparse_coo", "data.to_dense()"
FINITE = "data must be finite"
RANK = "images (N, H, W) or (N, channels, H, W)", "PlaneAction('gl2'"
FITTING = "data must be of shape (N, 2, 3) or (N, 6)", "LinearAction(3, copies=2)"
TENSOR = "data must be a torch tensor (N, ...) or an iterable of such batches"
BATCH = "data must be", "tuples that begin with one"
EMPTY = "data is empty", "at least one sample"
YIELDED = "data is empty", "the iterable yielded no samples"
FEW = "8 rows (samples x outputs)", "fewer than the 9 directions"
STILL = "zero", "data do not move"
UNSEEN = "output does not depend on its input", "constant", "detached", "outside of torch"
SHAPED = "model's outputs must be a tensor of shape (N,) or (N, C, ...)", "N = 8", "outputs="
MIXED = "model mixes the samples of a batch", "neighbours"
BACKEND = "backend must be one of auto, reference, triton"
OUTPUTS = "outputs must be one of all, sum, a name or an index"
ACTION = "action must be an object like LinearAction(5)"
TYPES = [torch.uint8, torch.int64, torch.bool, torch.complex64]

# What is handed in, and what is said of it; `runs` where the network must run to find out.
REFUSED: list[tuple[type[Exception], tuple[str, ...], dict]] = [
    # Of the data: values
    (TypeError, SPARSE, {"data": DATA.to_sparse()}),
    (TypeError, SPARSE, {"data": [DATA.to_sparse()]}),
    *(
        (ValueError, (FINITE, "sample 13 "), {"data": poisoned(13, value=value)})
        for value in (float("nan"), float("inf"), -float("inf"))
    ),
    (ValueError, ("sample 17 ", "2 more"), {"data": poisoned(17, 20, 23, 39)}),
    (ValueError, (FINITE, "sample 13 "), {"data": [*poisoned(13).split(10)], "runs": True}),
    (ValueError, ("sample 3 ",), {"data": [DATA[:0], poisoned(3)]}),
    # Shapes and types
    *(
        (ValueError, (*RANK, f"got {shape}"), {"data": data, "action": PLANE})
        for shape in ((40,), (40, 25), (40, 1, 1, 5, 5))
        for data in (random(*shape), [random(*shape)])
    ),
    *(
        (ValueError, ("at least 3 x 3", f"got {shape}"), {"data": random(*shape), "action": PLANE})
        for shape in ((40, 2, 5), (40, 1, 5, 2))
    ),
    *(
        (ValueError, (*FITTING, f"got {shape}"), {"data": data})
        for shape in ((40,), (40, 5), (40, 7), (40, 3, 2), (40, 2, 3, 1))
        for data in (random(*shape), [random(*shape)])
    ),
    (ValueError, ("(N, 6)", "got (10, 7)"), {"data": [DATA, random(10, 7)], "runs": True}),
    *(
        (TypeError, ("data must be floating point", f"got {dtype}"), {"data": d, "action": PLANE})
        for dtype in TYPES
        for d in (torch.ones(40, 5, 5).to(dtype), [torch.ones(40, 5, 5).to(dtype)])
    ),
    *(
        (TypeError, (TENSOR, f"got {type(data).__name__}"), {"data": data})
        for data in (DATA.numpy(), "digits.pt", b"digits", {"images": DATA}, None, 40)
    ),
    (TypeError, ("torch.from_numpy",), {"data": DATA.numpy()}),
    *(
        (TypeError, (*BATCH, f"got {type(batch).__name__}"), {"data": data, "runs": runs})
        for batch in (1.5, "text", {"images": DATA}, DATA.numpy(), ())
        for data, runs in (([batch], False), ([DATA, batch], True))
    ),
    (TypeError, ("data must be", "ndarray"), {"data": [(DATA.numpy(), torch.zeros(40))]}),
    # Too little
    *((ValueError, EMPTY, {"data": torch.empty(shape)}) for shape in ((0, 6), (0, 2, 3))),
    (ValueError, ("data ", "(N, 6)", "got ()"), {"data": torch.tensor(1.0)}),
    (ValueError, (FITTING[0], "got ()"), {"data": [DATA, torch.tensor(1.0)], "runs": True}),
    *((ValueError, YIELDED, {"data": data}) for data in ([], [DATA[:0]], iter(()))),
    (ValueError, (*FEW, "use more samples"), {"data": DATA[:8], "outputs": "sum", "runs": True}),
    (ValueError, FEW, {"data": DATA[:4], "runs": True}),
    (ValueError, FEW, {"data": DATA[:4].split(2), "runs": True}),
    # The network depends on its input; blank images have no gradient, zero vectors stay at zero.
    (
        ValueError,
        STILL,
        {"model": network(25), "data": torch.ones(40, 5, 5), "action": PLANE, "runs": True},
    ),
    (ValueError, STILL, {"data": torch.zeros(40, 6), "runs": True}),
    # Of the network: what autograd does not see
    *(
        (ValueError, UNSEEN, {"model": model, "runs": True})
        for model in (
            lambda x: torch.ones(len(x), 3),
            OnlyBias(),
            lambda x: x.detach() * 2,
            without_gradients,
            in_inference_mode,
            lambda x: torch.from_numpy(np.tanh(x.detach().numpy())),
        )
    ),
    (
        ValueError,
        ("derivative of every output along every direction is exactly zero", "does not depend"),
        {"model": lambda x: (x * 0).sum(1), "runs": True},
    ),
    (
        ValueError,
        ("autograd does not see the function", "rounded"),
        {"model": lambda x: x.round(), "runs": True},
    ),
    # Its outputs
    *(
        (OutputsError, (*SHAPED, came), {"model": model, "runs": True})
        for model, came in (
            (lambda x: x.sum(), "got ()"),
            (lambda x: {"logits": x}, "got dict with 'logits'"),
            (lambda x: (x, x), "got tuple of 2"),
            (lambda x: None, "got NoneType"),
            (lambda x: x[:1], "got (1, 6)"),
            (lambda x: x.T, "got (6, 8)"),
            (lambda x: x.flatten(), "got (48,)"),
            (lambda x: x[:, :0], "got (8, 0)"),
        )
    ),
    *(
        (
            ValueError,
            ("outputs must be real floating-point numbers", f"got {dtype}"),
            {"model": lambda x, dtype=dtype: x.to(dtype), "runs": True},
        )
        for dtype in TYPES[1:]
    ),
    # Gradients that are not finite name the user's sample, and count the rest
    *(
        (
            ValueError,
            (f"gradients of sample {place} ", "NaN or infinite", "0 more"),
            {"model": root_model, "data": with_zeros_at(place), "runs": True} | how,
        )
        for place in (0, 1, 7, 39)
        for how in ({"seed": 0}, {"seed": 2}, {"data": with_zeros_at(place).split(10)})
    ),
    *(
        (
            ValueError,
            ("gradients of sample 11 ", "2 more"),
            {"model": root_model, "data": with_zeros_at(23, 11, 38), "batch_size": 64}
            | {"seed": seed, "runs": True},
        )
        for seed in range(4)
    ),
    # No biases: all logits are zero, and have no direction
    (
        ValueError,
        ("gradients of sample 21 ",),
        {"data": DATA * (torch.arange(SAMPLES) != 21)[:, None], "unit_norm": True, "runs": True},
    ),
    # Samples that do not stand alone
    *(
        (ValueError, MIXED, {"model": model, "runs": True})
        for model in (
            lambda x: x - x.mean(0),
            nn.BatchNorm1d(6, affine=False, track_running_stats=False),
            lambda x: torch.softmax(x @ x.T, 1) @ x,
            lambda x: NORMED(x),
        )
    ),
    (ValueError, ("random", "dropout", "eval()"), {"model": lambda x: DROPPED(x), "runs": True}),
    # Of the options
    *(
        (TypeError, (ACTION, repr(action)), {"action": action})
        for action in ("gl2", None, 5, ss.LinearAction)
    ),
    *(
        (ValueError, (BACKEND, f"got {backend!r}"), {"backend": backend})
        for backend in ("cuda", "", None, 3)
    ),
    *(
        (ValueError, (OUTPUTS, f"got {outputs!r}"), {"outputs": outputs, "runs": True})
        for outputs in ("softmax", "", None, 0, 1.0, True, ["all"])
    ),
    *(
        (
            ValueError,
            ("dtype must be torch.float64 or torch.float32", f"got {dtype!r}"),
            {"dtype": dtype},
        )
        for dtype in (torch.float16, torch.int64, "float64", None, float)
    ),
    *(
        (
            ValueError,
            ("batch_size must be a whole number of at least 2", f"got {size!r}"),
            {"batch_size": size},
        )
        for size in (1, 0, -8, 2.5, "512", None, True)
    ),
]


@pytest.mark.parametrize(("error", "says", "given"), REFUSED)
def test_what_is_refused(error, says, given):
    refused(error, *says, **given)


def test_images_that_are_not_finite_name_the_sample():
    images = IMAGES.clone()
    images[29, 0, 3] = float("nan")
    refused(ValueError, FINITE, "sample 29 ", data=images, action=PLANE)


def test_an_iterator_that_is_used_up_before_is_empty():
    batches = iter(DATA.split(10))
    ss.learned_symmetries(network(), batches, action=VECTORS)
    refused(ValueError, "data is empty", "yielded no samples", data=batches)


def test_as_many_rows_as_directions_are_enough():
    model = network(outputs=1)
    refused(ValueError, *FEW, model=model, data=DATA[:8], batch_size=2, runs=True)
    ss.learned_symmetries(model, DATA[:9], action=VECTORS)


def test_what_an_outputs_callable_returns_is_not_blamed_on_the_model():
    with pytest.raises(ValueError, match=r"outputs(?!.*Hand in outputs).* got \(3, 2\)") as caught:
        ss.learned_symmetries(network(), DATA, action=VECTORS, outputs=lambda y: y[:3])
    assert "model's outputs" not in str(caught.value)


def test_an_output_per_sample_is_known_whatever_the_batch():
    # squeeze() of one sample is a scalar: a quirk of the model that a full batch never meets.
    found = ss.learned_symmetries(lambda x: (x @ DATA[:6, :1]).squeeze(), DATA, action=VECTORS)
    assert found.factor.rows == SAMPLES


@pytest.mark.parametrize(
    ("model", "way"),
    [
        ("mlp.pt", "load the network"),
        (network().state_dict(), "load_state_dict"),
        (None, ""),
        (DATA, ""),
    ],
)
def test_a_model_that_cannot_be_called(model, way):
    said = f"model must be callable, got {type(model).__name__}.*{way}"
    with pytest.raises(TypeError, match=said):
        ss.learned_symmetries(model, DATA, action=VECTORS)


def test_a_network_that_takes_a_part_of_what_it_is_handed_is_told():
    data = [{"x": DATA[:8], "name": list("abcdefgh")}]
    with pytest.raises(AttributeError) as caught:
        ss.learned_symmetries(lambda x: x.norm(dim=1), data, action=VECTORS, moves="x")
    assert "leave out what it does not take" in caught.value.__notes__[0]


# A network left in training mode


def mixed_mode_network() -> nn.Module:
    """Batch norm and dropout in training mode, with one block frozen in eval mode."""

    def build() -> nn.Module:
        return nn.Sequential(
            nn.Linear(6, 8),
            nn.BatchNorm1d(8),
            nn.SiLU(),
            nn.Sequential(nn.Linear(8, 8), nn.BatchNorm1d(8)),
            nn.Dropout(0.5),
            nn.Linear(8, 2),
        )

    model = studies.networks.seeded(build, 0)
    model(DATA * 3 + 1)  # running statistics that are not the initial ones
    model[3].eval()
    return model


def flags(model: nn.Module) -> list[bool]:
    return [module.training for module in model.modules()]


def test_a_network_in_training_mode_is_asked_in_eval_mode_and_put_back():
    model = mixed_mode_network()
    before, state = flags(model), {k: v.clone() for k, v in model.state_dict().items()}
    assert True in before and False in before
    found = ss.learned_symmetries(model, DATA, action=VECTORS)
    assert flags(model) == before
    for name, value in model.state_dict().items():
        assert torch.equal(value, state[name]), name
    assert all(weight.grad is None for weight in model.parameters())
    expected = ss.learned_symmetries(model.eval(), DATA, action=VECTORS)
    assert torch.equal(found.liegg.variance, expected.liegg.variance)
    assert torch.equal(found.liegg.generators, expected.liegg.generators)


class Breaks(nn.Module):
    """A network that fails once it has been run a number of times."""

    def __init__(self, inner: nn.Module, after: int):
        super().__init__()
        self.inner, self.left = inner, after

    def forward(self, inputs: Tensor) -> Tensor:
        self.left -= 1
        if self.left < 0:
            raise RuntimeError("out of order")
        return self.inner(inputs)


@pytest.mark.parametrize("after", [0, 1, 6, 8])
def test_a_network_that_fails_is_put_back_too(after):
    model = Breaks(mixed_mode_network(), after)
    before, state = flags(model), {k: v.clone() for k, v in model.state_dict().items()}
    with pytest.raises(RuntimeError, match="out of order"):
        ss.learned_symmetries(model, DATA, action=VECTORS, batch_size=8)
    assert flags(model) == before
    for name, value in model.state_dict().items():
        assert torch.equal(value, state[name]), name


def test_a_network_is_put_back_after_bad_data_in_a_later_batch():
    model = mixed_mode_network()
    before = flags(model)
    with pytest.raises(ValueError, match="sample 33"):
        ss.learned_symmetries(model, poisoned(33).split(10), action=VECTORS)
    assert flags(model) == before


def test_the_callers_data_and_gradient_mode_are_left_alone():
    data = DATA.clone()
    expected = ss.learned_symmetries(network(), data, action=VECTORS)
    with torch.no_grad():
        found = ss.learned_symmetries(network(), [data], action=VECTORS, seed=0)
        assert not torch.is_grad_enabled()
    assert not data.requires_grad and data.grad is None
    assert torch.equal(data, DATA)
    torch.testing.assert_close(found.liegg.variance, expected.liegg.variance)


# Options


def test_an_action_that_lacks_members_names_them():
    class Half:
        basis = VECTORS.basis
        check = VECTORS.check

        def __repr__(self) -> str:
            return "Half()"

    refused(TypeError, "action must be an object like", "Half() has no rows, flow", action=Half())


NO_TRITON = "backend='triton' was asked for", "use backend='auto' or 'reference'"


@pytest.mark.skipif(torch.cuda.is_available(), reason="the kernels run here")
def test_triton_is_refused_without_a_device_and_never_replaced(monkeypatch):
    monkeypatch.setattr("symscope.kernels.ops._interpreted", lambda: False)
    says = "there is no CUDA device", "Triton's interpreter (TRITON_INTERPRET=1) is off"
    refused(RuntimeError, *NO_TRITON, *says, backend="triton")
    for action, data in ((VECTORS, DATA), (PLANE, IMAGES)):
        with pytest.raises(RuntimeError, match="a tensor is on cpu and not on a CUDA device"):
            action.gram(data, data[:, None], "triton", torch.float32)


def test_triton_is_refused_where_it_is_not_installed(monkeypatch):
    monkeypatch.setattr("symscope.kernels.ops._installed", lambda: False)
    refused(RuntimeError, *NO_TRITON, "Triton is not installed", "symscope[gpu]", backend="triton")


def test_triton_is_refused_for_what_no_kernel_takes():
    images = IMAGES.to(DEVICE)
    with pytest.raises(RuntimeError, match="a tensor is torch.float64 and the kernels take"):
        PLANE.rows(images.double(), images.double()[:, None], "triton")
    vectors = DATA.to(DEVICE)
    with pytest.raises(RuntimeError, match="the kernel multiplies in float32 and float64 was"):
        VECTORS.gram(vectors, vectors[:, None], "triton", torch.float64)
    with pytest.raises(RuntimeError, match="gives no rows, only gram()"):
        VECTORS.rows(vectors, vectors[:, None], "triton")
    filters, generators = (
        torch.zeros(1, 1, 65, device=DEVICE),
        torch.zeros(1, 65, 65, device=DEVICE),
    )
    with pytest.raises(RuntimeError, match="d = 65 and the kernel holds d up to 64"):
        ops.orbits(filters, generators, 3, "triton")


def test_precisions_that_are_not_there():
    vectors = torch.zeros(4, 1, 3)
    with pytest.raises(ValueError, match="precision must be one of float64, float32; got"):
        ops.linear_gram(vectors, vectors[:, None], "float16")


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"group": "so3"}, "group must be one of gl2, affine; got 'so3'"),
        ({"group": None}, "group must be one of gl2, affine; got None"),
        ({"differences": "backward"}, "differences must be one of central, forward; got"),
        ({"origin": "corner"}, "origin must be one of center, paper; got 'corner'"),
    ],
)
def test_unknown_options_of_the_plane_action(options, expected):
    with pytest.raises(ValueError, match=re.escape(expected)):
        ss.PlaneAction(**options)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ((0,), "n must be a whole number of at least 1, got 0"),
        ((-3,), "n must be a whole number of at least 1, got -3"),
        ((2.5,), "n must be a whole number of at least 1, got 2.5"),
        (("5",), "n must be a whole number of at least 1, got '5'"),
        ((5, 0), "copies must be a whole number of at least 1, got 0"),
        ((5, 1.0), "copies must be a whole number of at least 1, got 1.0"),
    ],
)
def test_bad_sizes_of_the_linear_action(arguments, expected):
    with pytest.raises(ValueError, match=re.escape(expected)):
        ss.LinearAction(*arguments)


# The report


@pytest.fixture(scope="module")
def found() -> ss.Symmetries:
    return ss.learned_symmetries(network(), DATA, action=VECTORS)


@pytest.mark.parametrize(
    "basis", [ss.algebra.so(5), ss.algebra.so(3)[0], ss.algebra.affine(3)], ids=["5", "flat", "4"]
)
def test_an_algebra_whose_matrices_are_not_of_the_generators_shape(found, basis):
    came = re.escape(str(tuple(basis.shape)))
    for compared in (found.angles_to, found.liegg.bias_to):
        with pytest.raises(ValueError, match=rf"basis .*\(3, 3\).* got {came}"):
            compared(basis)


# Stored networks


@pytest.fixture
def stored(tmp_path) -> Path:
    path = tmp_path / "network.safetensors"
    studies.networks.save(network(), path)
    return path


def test_weights_that_are_not_there(tmp_path):
    path = tmp_path / "none.safetensors"
    with pytest.raises(FileNotFoundError, match=f"no weights at {re.escape(str(path))}"):
        studies.networks.load(path)


@pytest.mark.parametrize("kept", [0, 4, 100, -100, -1])
def test_weights_that_are_truncated(stored, kept):
    whole = stored.read_bytes()
    stored.write_bytes(whole[:kept])
    assert 0 <= stored.stat().st_size < len(whole)
    says = f"{re.escape(str(stored))} is damaged or no safetensors file"
    with pytest.raises(ValueError, match=says) as caught:
        studies.networks.load(stored)
    assert caught.type is ValueError


def test_weights_in_another_format(stored):
    torch.save(network().state_dict(), stored)
    with pytest.raises(ValueError, match="is damaged or no safetensors file"):
        studies.networks.load(stored)


def described(widths: object = (6, 8, 2), **more: object) -> dict[str, str]:
    return {"mlp": json.dumps({"widths": widths, "activation": "swish", "bias": False} | more)}


@pytest.mark.parametrize(
    "metadata",
    [
        None,
        {"format": "pt"},
        {"mlp": json.dumps({"depth": 3})},
        {"mlp": "3"},
        {"mlp": "{"},
        described((6, 9, 2)),
        described(None),
        described(dropout=0.5),
    ],
)
def test_safetensors_of_another_network(stored, metadata):
    save_file(network().state_dict(), stored, metadata=metadata)
    says = f"{re.escape(str(stored))} does not hold an MLP saved by studies.networks.models.save"
    with pytest.raises(ValueError, match=says) as caught:
        studies.networks.load(stored)
    assert caught.type is ValueError
    save_file({"weight": torch.ones(3)}, stored, metadata=described())
    with pytest.raises(ValueError, match="does not hold an MLP saved"):
        studies.networks.load(stored)


# Training


def splits(targets: Callable[[Tensor], Tensor], size: int = 12) -> Splits:
    parts = [random(size, 6, seed=seed) for seed in range(3)]
    return Splits("bad", *(Split(inputs, targets(inputs)) for inputs in parts))


def first_two(inputs: Tensor) -> Tensor:
    return inputs[:, :2].clone()


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"schedule": "linear"}, "schedule must be one of constant, cosine; got 'linear'"),
        ({"schedule": None}, "schedule must be one of constant, cosine; got None"),
        ({"epochs": 0}, "epochs must be a whole number of at least 1, got 0"),
        ({"epochs": -2}, "epochs must be a whole number of at least 1, got -2"),
        ({"batch_size": 0}, "batch_size must be a whole number of at least 1, got 0"),
        ({"batch_size": -1}, "batch_size must be a whole number of at least 1, got -1"),
    ],
)
def test_fit_refuses_bad_options_before_it_runs_the_network(options, expected):
    model = network()
    before = [weight.clone() for weight in model.parameters()]
    runs = []
    model.register_forward_hook(lambda *_: runs.append(1))
    with pytest.raises(ValueError, match=re.escape(expected)):
        studies.networks.fit(model, splits(first_two), **{"epochs": 1} | options)
    assert not runs
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), before, strict=True))


def test_a_learning_rate_that_is_far_too_high():
    with pytest.raises(ValueError, match=r"not finite in epoch \d+: lower lr"):
        studies.networks.fit(network(), splits(first_two), epochs=20, lr=1e18)


def test_validation_data_that_are_not_finite_are_no_choice_of_the_first_epoch():
    data = splits(first_two)
    data.validation.inputs[3, 2] = float("nan")
    with pytest.raises(ValueError, match=r"validation loss is not finite in epoch 1"):
        studies.networks.fit(network(), data, epochs=3)
