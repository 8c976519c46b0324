"""The bar: after some seconds only, and not where it is switched off."""

import os
from types import SimpleNamespace

import pytest
import torch
from helpers import run_python

from symscope.extract import progress

BATCHES = [SimpleNamespace(inputs=torch.zeros(4)) for _ in range(3)]
SHORT = """
from types import SimpleNamespace
from symscope.lie import progress
progress.PATIENCE = {patience}
list(progress.shown([SimpleNamespace(inputs=range(4))], 4))
"""


def test_the_batches_are_handed_on(capsys):
    assert list(progress.shown(BATCHES, 12)) == BATCHES
    assert not capsys.readouterr().out


# In a process of its own: tqdm reads the variable when it is imported.
@pytest.mark.parametrize(
    ("patience", "off", "seen"), [(0.0, "", True), (60.0, "", False), (0.0, "1", False)]
)
def test_a_bar_appears_late_and_can_be_switched_off(patience, off, seen, monkeypatch):
    monkeypatch.setitem(os.environ, "TQDM_DISABLE", off)
    _, told = run_python(SHORT.format(patience=patience)).communicate()
    assert ("0/4" in told) == seen
