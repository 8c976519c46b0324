"""Pictures of reports: what is drawn is what the report says."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch

import symscope as ss
from symscope.reports import plots

POINTS = torch.randn(300, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


@pytest.fixture(scope="module")
def found():
    return ss.learned_symmetries(lambda x: x.norm(dim=1), POINTS, action=ss.LinearAction(3))


def drawn(axes):
    return [line.get_ydata() for line in axes.get_lines() if line.get_marker() in ("o", "s")]


def test_a_report_is_drawn_beside_its_control_and_outside_of_pyplot(found):
    settings = dict(plt.rcParams)
    figure = found.plot()
    assert plt.get_fignums() == [] and dict(plt.rcParams) == settings
    changes, *generators = figure.axes
    own, shuffled = drawn(changes)
    np.testing.assert_allclose(own, found.relative.clamp(min=plots.LEAST))
    np.testing.assert_allclose(shuffled, found.shuffled.relative)
    assert changes.get_title() == "symmetries: 3 (exact)" and len(generators) == 3
    np.testing.assert_allclose(generators[2].images[0].get_array(), found.generators[2])


def test_without_evidence_liegg_is_drawn(found):
    figure = ss.Symmetries(found.factor, found.action).plot()
    np.testing.assert_allclose(drawn(figure.axes[0])[0], found.liegg.variance)
    assert figure.axes[0].get_title() == "symmetries: unknown (no evidence)"


def test_what_has_no_matrix_is_drawn_by_its_changes():
    turn = ss.FieldAction([lambda x: torch.stack([-x[:, 1], x[:, 0]], 1), lambda x: x])
    found = ss.learned_symmetries(lambda x: x.norm(dim=1), POINTS[:, :2], action=turn)
    assert len(found.plot().axes) == 1
