"""Networks are asked uncompiled, whatever torch.compile made of them, and under autograd."""

import pytest
import torch
from cases import plain
from helpers import random

import symscope as ss

pytestmark = pytest.mark.filterwarnings("ignore")  # the compiler loads what torch has deprecated
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


def test_compiled_networks_are_used_as_they_come(compiled):
    model, data, reports = compiled
    for mode, expected in zip(MODES, reports, strict=True):
        found = ss.learned_symmetries(model, data, action=ACTION, mode=mode)
        torch.testing.assert_close(found.variance, expected.variance, rtol=1e-4, atol=1e-9)
        assert found.count == expected.count and set(found.controls()) == {"shuffled", "untrained"}
    layers = ss.layer_symmetries(model, data, action=ACTION)
    assert len(layers) == 2 and all(report.factor.samples == 64 for report in layers.values())


def test_compiled_functions_are_used_as_they_come():
    function = torch.compile(lambda x: x.square().sum(1), backend="aot_eager")
    assert ss.learned_symmetries(function, random(64, 3), action=ss.LinearAction(3)).count == 3


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
    assert found.variance.equal(expected.variance) and len(layers) == 2
