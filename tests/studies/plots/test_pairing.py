"""The picture of the shuffled pairing: products of what belongs together, and of what does not."""

import numpy as np
import pytest
import torch

from studies.plots.pairing import COLUMNS, pairing


@pytest.fixture
def parts() -> tuple[torch.Tensor, ...]:
    return tuple(torch.randn(3, 2, 5, 4, generator=torch.Generator().manual_seed(0)))


def drawn(figure) -> np.ndarray:
    """(rows, columns, h, w): every picture of the figure."""
    pictures = [np.asarray(axes.images[0].get_array()) for axes in figure.axes]
    return np.stack(pictures).reshape(2, len(COLUMNS), *pictures[0].shape)


def test_the_wrong_pair_takes_the_velocity_of_the_other_image(parts):
    images, velocities, gradients = parts
    figure = pairing(*parts)
    shown = drawn(figure)
    np.testing.assert_allclose(shown[:, 0], images)
    np.testing.assert_allclose(shown[:, 3], gradients * velocities, rtol=1e-6)
    np.testing.assert_allclose(shown[:, 4], gradients * velocities.flip(0), rtol=1e-6)
    sums = [axes.get_xlabel() for axes in figure.axes]
    own = float((gradients[1] * velocities[1]).sum())
    assert sums[:3] == ["", "", ""] and sums[8] == f"sum {own:.3g}"


def test_products_share_one_scale_of_colours(parts):
    limits = {axes.images[0].get_clim() for axes in np.array(pairing(*parts).axes)[[3, 4, 8, 9]]}
    assert len(limits) == 1


def test_pictures_that_do_not_fit_are_refused(parts):
    images, velocities, gradients = parts
    with pytest.raises(ValueError, match=r"two pictures of one size; got shapes \(1, 5, 4\)"):
        pairing(images[:1], velocities, gradients)
    with pytest.raises(ValueError, match="two pictures of one size"):
        pairing(*(part.repeat(2, 1, 1) for part in parts))
