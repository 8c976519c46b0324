"""The plots of movements: what stands on them."""

import numpy as np
import torch
from matplotlib.quiver import Quiver

from studies.plots import fields


class Found:
    q, bound = torch.tensor([0.0, 1.0, 2.0]), torch.tensor([0.1, 1.2, torch.inf])
    reference = torch.linspace(0.8, 1.2, 50)
    count, answer, levels = 1, "exact", (0.1, 1 / 3)
    directions = torch.eye(2)[None].repeat(3, 1, 1)

    def named(self):
        return {"rotation": 0.0, "scaling": 1.1}


def test_moves_shows_directions_and_names():
    figure = fields.moves(Found())
    left, right = figure.axes
    assert left.get_title() == "symmetries: 1 (exact)"
    assert [label.get_text() for label in right.get_xticklabels()] == ["rotation", "scaling"]
    assert right.get_lines()[0].get_ydata().tolist() == [1e-3, 1.1]  # zero is drawn at the foot


def test_arrows_point_as_the_field_does():
    field = np.stack([np.full((28, 28), 2.0), np.full((28, 28), -1.0)])
    figure = fields.arrows([field, 0 * field], ["a", "b"], [field[0], field[0]])
    quiver = next(part for part in figure.axes[0].collections if isinstance(part, Quiver))
    assert len(quiver.U) == 14 * 14
    assert set(quiver.U.tolist()) == {2.0} and set(quiver.V.tolist()) == {-1.0}
