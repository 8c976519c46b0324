"""Arrows on the pixel grid."""

import numpy as np
from matplotlib.quiver import Quiver

from studies.plots import fields


def test_arrows_point_as_the_field_does():
    field = np.stack([np.full((28, 28), 2.0), np.full((28, 28), -1.0)])
    figure = fields.arrows([field, 0 * field], ["a", "b"], [field[0], field[0]])
    quiver = next(part for part in figure.axes[0].collections if isinstance(part, Quiver))
    assert len(quiver.U) == 14 * 14
    assert set(quiver.U.tolist()) == {2.0} and set(quiver.V.tolist()) == {-1.0}
