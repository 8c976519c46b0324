"""The streamed factor: exact, mergeable, independent of how the data are cut, flat in memory."""

import os
import subprocess
import sys
from types import SimpleNamespace

import pytest
import torch
from cases import (
    ACTION,
    asked,
    assert_same_gram,
    network,
    published,
    vectors,
)
from helpers import random, run_python
from torch import nn

import symscope as ss
from symscope.extract import extraction
from symscope.testing import check_action


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
        along = rows @ report.liegg.generators[k].flatten()
        assert float((along**2).sum() / n) == pytest.approx(float(variance[k]), rel=1e-9, abs=1e-13)


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
    assert report.liegg.generators.shape == (6, 3, 3) and report.liegg.variance.isfinite().all()
    assert (report.liegg.generators[:, 2] == 0).all()


@pytest.mark.parametrize("outputs", [3, 20])
def test_a_default_device_changes_nothing(outputs):
    model, data = network(outputs), vectors(90)
    images = torch.rand(40, 6, 7, generator=torch.Generator().manual_seed(0))
    flat = nn.Sequential(nn.Flatten(), nn.Linear(42, outputs))
    settings = {"mode": "exact"}  # combinations are as many as the data call for
    expected = ss.learned_symmetries(model, data, action=ACTION, **settings)
    # A device that holds no values: whatever lands on it by default fails or is lost.
    with torch.device("meta"):
        for given in (data, data.split(30)):
            found = ss.learned_symmetries(
                model, given, action=ss.LinearAction(4, copies=2), **settings
            )
            torch.testing.assert_close(found.liegg.variance, expected.liegg.variance)
            assert found.count == expected.count
            found.controls(data=data)
        plane = ss.PlaneAction("affine")
        ss.learned_symmetries(model, data, action=ACTION)
        assert ss.learned_symmetries(flat, images, action=plane).liegg.variance.isfinite().all()
        assert set(ss.layer_symmetries(model, data, action=ACTION)) == {"layers.1", "layers.2"}
        check_action(ACTION, data[:5])
        found.liegg.angles_to(ss.algebra.so(4)), ss.algebra.sl(3), ss.algebra.scaling(3)


MEMORY = """
import sys, studies, torch, symscope as ss
def resident(key):
    return next(int(l.split()[1]) for l in open("/proc/self/status") if l.startswith(key))
n = int(sys.argv[1])
images = torch.rand(n, 28, 28)
model = studies.networks.mnist_mlp()
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

    # A page that the system counts late is no growth: the least of two runs.
    small, large = (min(peak(n), peak(n)) for n in (12_000, 60_000))
    held = 60_000 * 10 * 4 * 8 // 1024  # the N-row matrix of float64, in KiB
    print(f"peak extra memory: {small} KiB for 12,000 images, {large} KiB for 60,000")
    assert large <= 1.25 * small
    assert large - small < held / 2


# The bar: after some seconds only, and not where it is switched off

BATCHES = [SimpleNamespace(inputs=torch.zeros(4)) for _ in range(3)]
SHORT = """
import torch, symscope as ss
from symscope.extract import extraction
extraction.PATIENCE = {patience}
found = ss.learned_symmetries(
    lambda x: x.norm(dim=1), torch.randn(300, 2), action=ss.LinearAction(2), batch_size=100
)
found.controls(other=lambda x: x.norm(dim=1))
"""


def test_the_batches_are_handed_on(capsys):
    assert list(extraction.Progress(BATCHES, 12)) == BATCHES
    assert not capsys.readouterr().out


# In a process of its own: tqdm reads the variable when it is imported.
@pytest.mark.parametrize(
    ("patience", "off", "seen"), [(0.0, "", True), (60.0, "", False), (0.0, "1", False)]
)
def test_a_bar_appears_late_and_can_be_switched_off(patience, off, seen, monkeypatch):
    monkeypatch.setitem(os.environ, "TQDM_DISABLE", off)
    _, told = run_python(SHORT.format(patience=patience)).communicate()
    assert ("0/300" in told) == seen


def test_the_bar_tells_checks_from_samples_and_a_control_from_the_network(monkeypatch):
    seen = []
    monkeypatch.setattr(extraction.Progress, "say", lambda bar, what: seen.append(bar._name + what))
    monkeypatch.setattr(extraction.Progress, "tick", lambda bar, count=0: seen.append(count))
    x = random(60, 3, dtype=torch.float64)
    found = ss.learned_symmetries(
        lambda x: x.norm(dim=1), x, action=ss.LinearAction(3), batch_size=20
    )
    start = seen.index("derivatives")
    assert seen[0] == "checks" and start > 3 and not any(seen[1:start])  # calls of the checks
    assert [count for count in seen[start + 1 :] if count] == [20, 20, 20]
    found.controls(other=lambda x: x.sum(1))
    assert "other: checks" in seen and "other: derivatives" in seen
