"""Eval mode for a while, and the device of a model."""

import copy
import functools
import io
import warnings

import pytest
import torch
from cases import plain
from helpers import random
from torch import nn
from torch.nn.utils import prune

import symscope as ss
from symscope.extract.modes import device_of, plain_attention, running


def test_every_flag_comes_back_even_after_an_error():
    model = nn.Sequential(nn.Linear(2, 2), nn.Dropout(), nn.Sequential(nn.BatchNorm1d(2)))
    model.train()
    model[2].eval()
    flags = [module.training for module in model.modules()]
    with running(model):
        assert not any(module.training for module in model.modules())
    assert [module.training for module in model.modules()] == flags
    with pytest.raises(KeyError), running(model):
        raise KeyError
    assert [module.training for module in model.modules()] == flags


def test_what_is_no_module_runs_as_it_is():
    with running(torch.tanh):
        assert torch.tanh(torch.zeros(1)) == 0


def test_the_device_is_that_of_the_first_parameter_or_buffer():
    meta, cpu = torch.device("meta"), torch.device("cpu")
    assert device_of(nn.Linear(2, 2, device="meta"), cpu) == meta
    assert device_of(nn.BatchNorm1d(2, affine=False, device="meta"), cpu) == meta
    assert device_of(nn.Tanh(), cpu) == cpu
    assert device_of(torch.tanh, meta) == meta


# What a network holds


class Keeping(nn.Module):
    """A network that keeps features, counts its calls and changes buffers and weights."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(3, 40)
        self.register_buffer("mean", torch.zeros(40))
        self.calls, self.last, self.features, self.held = 0, None, [], {"by": {"name": []}}

    def forward(self, x):
        with torch.no_grad():
            self.mean += 1
            self.layer.weight.data = self.layer.weight.data.clamp(max=0.1)
            self.layer.bias.data.clamp_(max=0.1)
        y = self.layer(x)
        self.calls += 1
        self.last = y
        self.features.append(y)
        self.held["by"]["name"].append(y)
        self.held[self.calls] = y
        self.extra = self.mean * 2
        return y


def old_weight_norm(layer: nn.Module) -> nn.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        return nn.utils.weight_norm(layer)


KEEPING = {
    "features": Keeping,
    "weight norm": lambda: old_weight_norm(nn.Linear(3, 40)),
    "spectral norm": lambda: nn.utils.spectral_norm(nn.Linear(3, 40)),
    "pruning": lambda: prune.l1_unstructured(nn.Linear(3, 40), "weight", 0.3),
    "parametrized": lambda: nn.utils.parametrizations.weight_norm(nn.Linear(3, 40)),
    "orthogonal": lambda: nn.utils.parametrizations.orthogonal(nn.Linear(3, 40)),
    "spectral": lambda: nn.utils.parametrizations.spectral_norm(nn.Linear(3, 40)),
    "batch norm": lambda: nn.Sequential(nn.Linear(3, 40), nn.BatchNorm1d(40)),
}


def contents(value: object) -> object:
    """All that a module holds, as values that can be compared."""
    if isinstance(value, nn.Module):
        return {name: contents(part) for name, part in vars(value).items()}
    if isinstance(value, torch.Tensor):
        return id(value), value.data_ptr(), value.requires_grad, value.tolist()
    if isinstance(value, dict):
        return {key: contents(part) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [contents(part) for part in value]
    return id(value)


def copies(model: nn.Module) -> list[bool]:
    """Whether torch can save and copy it: some of these it never can."""
    can = []
    for make in (lambda: torch.save(model, io.BytesIO()), lambda: copy.deepcopy(model)):
        try:
            make()
            can.append(True)
        except RuntimeError:
            can.append(False)
    return can


@pytest.mark.parametrize("name", KEEPING)
@pytest.mark.parametrize("mode", ["exact", "reverse"])
@pytest.mark.parametrize("wrapped", [False, True])
def test_a_network_is_after_the_call_what_it_was_before(name, mode, wrapped):
    model, data = nn.Sequential(KEEPING[name](), nn.Tanh()), torch.randn(60, 3)
    model.train(not wrapped)
    before, copied = contents(model), copies(model)
    function = (lambda x: model(x)) if wrapped else model
    found = ss.learned_symmetries(function, data, action=ss.LinearAction(3), mode=mode)
    assert contents(model) == before
    assert found.mode.name == ("reverse" if mode == "reverse" or name == "features" else "forward")
    with pytest.raises(ValueError, match="neither known"), running(model):
        model(data)
        raise ValueError("neither known")
    assert contents(model) == before
    assert copies(model) == copied and any(copied)


class Holder:
    def __init__(self, net):
        self.net = net

    def __call__(self, x):
        return self.net(x)


def test_networks_are_found_in_whatever_function_holds_them():
    model, data = Keeping(), torch.randn(60, 3)
    before = contents(model)
    functions = [
        Holder(model),
        Holder(model).__call__,
        functools.partial(lambda net, x: net(x), model),
        model.forward,
        lambda x: model(x),
    ]
    for function in functions:
        with running(function):
            function(data)
            assert model.calls == 1
        assert contents(model) == before


def test_lazy_layers_that_never_ran_are_refused_by_name():
    with pytest.raises(ValueError, match=r"layer 0 \(LazyLinear\) .* run the network once first"):
        ss.learned_symmetries(
            nn.Sequential(nn.LazyLinear(2)), torch.randn(60, 3), action=ss.LinearAction(3)
        )


def test_exported_scripted_and_frozen_networks_are_asked():
    layers, data = nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, 2)), torch.randn(60, 3)
    expected = ss.learned_symmetries(layers, data, action=ss.LinearAction(3))
    free = {0: torch.export.Dim("n")}
    exported = torch.export.export(layers.eval(), (data,), dynamic_shapes=(free,)).module()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        scripted = torch.jit.script(layers.train())
        frozen = torch.jit.freeze(torch.jit.script(layers.eval()))
    for model in (exported, scripted, frozen):
        found = ss.learned_symmetries(model, data, action=ss.LinearAction(3))
        torch.testing.assert_close(
            found.liegg.variance, expected.liegg.variance, rtol=1e-4, atol=1e-9
        )
    assert all(module.training for module in scripted.modules())


# Attention


def transformer() -> nn.Module:
    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
    head = nn.Sequential(nn.Flatten(), nn.Linear(24, 30))
    return nn.Sequential(nn.Unflatten(1, (3, 1)), nn.Linear(1, 8), layer, head)


def test_attention_is_pushed_forwards_and_the_switches_are_put_back():
    model, data = transformer().double(), torch.randn(40, 3, dtype=torch.float64)
    flags = (
        torch.backends.mha.get_fastpath_enabled,
        torch.backends.cuda.flash_sdp_enabled,
        torch.backends.cuda.mem_efficient_sdp_enabled,
        torch.backends.cuda.math_sdp_enabled,
    )
    before = [flag() for flag in flags]
    forwards, reverse = (
        ss.learned_symmetries(model, data, action=ss.LinearAction(3), mode=mode)
        for mode in ("exact", "reverse")
    )
    assert forwards.mode == ("forward", "30 outputs, 9 directions")
    torch.testing.assert_close(
        forwards.liegg.variance, reverse.liegg.variance, rtol=1e-9, atol=1e-15
    )
    assert [flag() for flag in flags] == before
    with pytest.raises(KeyError), plain_attention():
        assert not torch.backends.mha.get_fastpath_enabled()
        assert not torch.backends.cuda.flash_sdp_enabled()
        raise KeyError
    assert [flag() for flag in flags] == before
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with plain_attention():
            pass
        assert not torch.backends.mha.get_fastpath_enabled()
    finally:
        torch.backends.mha.set_fastpath_enabled(before[0])


def test_a_tuple_that_refuses_to_tell_its_length_is_no_hindrance():
    class Kinds(tuple):  # as the representations of e3nn
        def __len__(self):
            raise NotImplementedError

    model = nn.Linear(2, 2)
    model.kinds = Kinds((torch.zeros(2), 3))
    with running(model):
        next(iter(model.kinds)).fill_(1.0)
    assert next(iter(model.kinds)).equal(torch.zeros(2))


# Compiled networks

# The compiler loads what torch has deprecated.
quiet = pytest.mark.filterwarnings("ignore")
ACTION = ss.LinearAction(3, copies=4)
MODES = ("reverse", "forward")


@pytest.fixture(params=["never ran", "ran", "trained", "in place"])
def compiled(request):
    model, data = plain(12, 20, 3), random(64, 12)
    reports = [ss.learned_symmetries(model, data, action=ACTION, mode=m) for m in MODES]
    torch._dynamo.reset()
    # Its graphs free what a second backward pass needs, as those of the default backend do,
    # which would want a compiler on this machine.
    if request.param == "in place":
        model.compile(backend="aot_eager")
        return model, data, reports
    fast = torch.compile(model, backend="aot_eager")
    if request.param == "ran":
        with torch.no_grad():
            fast(data)
    elif request.param == "trained":
        fast(data).sum().backward()
    return fast, data, reports


@quiet
def test_compiled_networks_are_used_as_they_come(compiled):
    model, data, reports = compiled
    for mode, expected in zip(MODES, reports, strict=True):
        found = ss.learned_symmetries(model, data, action=ACTION, mode=mode)
        torch.testing.assert_close(
            found.liegg.variance, expected.liegg.variance, rtol=1e-4, atol=1e-9
        )
        assert found.count == expected.count and set(found.controls()) == {"shuffled", "untrained"}
    layers = ss.layer_symmetries(model, data, action=ACTION)
    assert len(layers) == 2 and all(report.factor.samples == 64 for report in layers.values())


@quiet
def test_compiled_functions_are_used_as_they_come():
    function = torch.compile(lambda x: x.square().sum(1), backend="aot_eager")
    assert ss.learned_symmetries(function, random(64, 3), action=ss.LinearAction(3)).count == 3


@quiet
def test_afterwards_the_compiled_network_runs_compiled():
    calls = []

    def counting(graph, inputs):
        calls.append(len(inputs))
        return graph.forward

    model = torch.compile(plain(12, 20, 3), backend=counting)
    ss.learned_symmetries(model, random(64, 12), action=ACTION)
    assert not calls
    model(random(8, 12))
    assert calls


def test_a_call_under_inference_mode_is_a_call():
    model, data = plain(12, 20, 3), random(64, 12)
    expected = ss.learned_symmetries(model, data, action=ACTION)
    with torch.inference_mode():
        found = ss.learned_symmetries(model, data, action=ACTION)
        assert set(found.controls()) == {"shuffled", "untrained"}
        layers = ss.layer_symmetries(model, data, action=ACTION)
    assert found.liegg.variance.equal(expected.liegg.variance) and len(layers) == 2
