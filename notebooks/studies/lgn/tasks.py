"""The tasks of an unfolded network: to reconstruct, to denoise, to classify.

Which group a network learns depends on its task, by Theodosis, Helwani and Ba 2023
(`theodosis2023linear`). A head holds the network and has ``loss(inputs, targets)``, as
:func:`studies.networks.steps.fit_steps` wants it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn

from symscope._checks import whole

from .unfolded import Unfolded, UnfoldedImages, half_square

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor


class Reconstructor(nn.Module):
    """The task of reconstruction: an unfolded network judged by its own objective."""

    def __init__(self, network: Unfolded):
        super().__init__()
        self.network = network

    def forward(self, inputs: Tensor) -> Tensor:
        """The reconstructions."""
        return self.network(inputs).output

    def loss(
        self,
        inputs: Tensor,
        targets: Tensor | None = None,
        *,
        filters: Float[Tensor, "m d"] | None = None,
    ) -> Float[Tensor, ""]:
        """:meth:`Unfolded.objective`; there are no targets.

        Args:
            inputs: what is reconstructed.
            targets: not looked at; every task has them.
            filters: (m, d), judged in place of the network's own; default None, its own.
        """
        return self.network.objective(inputs, self.network(inputs, filters))


class Denoiser(nn.Module):
    """The task of denoising: noisy data in, judged against the clean."""

    def __init__(self, network: Unfolded):
        super().__init__()
        self.network = network

    def forward(self, inputs: Tensor) -> Tensor:
        """The denoised data."""
        return self.network(inputs).output

    def loss(self, inputs: Tensor, targets: Tensor) -> Float[Tensor, ""]:
        """Half the squared distance to the clean data, mean over samples."""
        return half_square(targets - self(inputs))


class Classifier(nn.Module):
    """The task of classification: a linear map on pooled codes.

    Codes of images are pooled by the mean of their sizes over a grid of pool x pool regions; those
    of patches are taken as they are, by their sizes. (Codes of either sign would cancel.)

    Args:
        network: any unfolded network.
        classes: how many; default 10.
        pool: regions a side, for images; default 4.

    Raises:
        ValueError: for classes below 2 or pool below 1.
    """

    def __init__(self, network: Unfolded, classes: int = 10, pool: int = 4):
        super().__init__()
        whole("classes", classes, 2)
        whole("pool", pool, 1)
        self.network, self.pool = network, pool
        with torch.no_grad():
            atoms = len(network.filters())
        features = atoms * pool**2 if isinstance(network, UnfoldedImages) else atoms
        self.linear = nn.Linear(features, classes)

    def forward(self, inputs: Tensor) -> Float[Tensor, "n classes"]:
        """The logits."""
        sizes = self.network(inputs).codes.abs()
        if sizes.ndim == 4:
            sizes = nn.functional.adaptive_avg_pool2d(sizes, self.pool)
        return self.linear(sizes.flatten(1))

    def loss(self, inputs: Tensor, targets: Tensor) -> Float[Tensor, ""]:
        """Cross-entropy."""
        return nn.functional.cross_entropy(self(inputs), targets)
