"""The bar: after some seconds only, and not where it is switched off."""

import os
from types import SimpleNamespace

import pytest
import torch
from helpers import run_python

from symscope.lie import progress

BATCHES = [SimpleNamespace(inputs=torch.zeros(4)) for _ in range(3)]
SHORT = """
from types import SimpleNamespace
from symscope.lie import progress
progress.PATIENCE = 0.0
list(progress.shown([SimpleNamespace(inputs=range(4))], 4))
"""


@pytest.mark.parametrize(("patience", "seen"), [(0.0, True), (60.0, False)])
def test_a_bar_appears_late_and_hands_the_batches_on(patience, seen, monkeypatch, capsys):
    monkeypatch.setattr(progress, "PATIENCE", patience)
    assert list(progress.shown(BATCHES, 12)) == BATCHES
    told = capsys.readouterr()
    assert ("0/12" in told.err) == seen
    assert not told.out


@pytest.mark.parametrize("off", ["", "1"])
def test_a_bar_can_be_switched_off(off, monkeypatch):
    monkeypatch.setitem(os.environ, "TQDM_DISABLE", off)
    _, told = run_python(SHORT).communicate()
    assert ("0/4" in told) == (not off)
