"""Unfolded networks: T layers of ISTA or FISTA, whose weights are one dictionary of filters.

Source: Theodosis, Helwani and Ba 2023 (`theodosis2023linear`): each layer is a step of a solver
of ``min over z of 1/2 |x - W^T z|^2 + lambda |z|_1``, so the weights stay in data space. W has
one filter a row. The solvers are those of Beck and Teboulle 2009 (equations 1.4 and 4.1 to 4.3).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import nn

from symscope._checks import choice, real, whole
from symscope.kernels import ops

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor

METHODS = ("fista", "ista")
_COLD, _WARM = (
    100,
    2,
)  # rounds of power iteration: on a new vector, and in each training step


class Unfolding(NamedTuple):
    """What an unfolded network makes of a batch.

    codes: (N, m) for patches, (N, m, h, w) for images; m filters.
    output: the reconstruction, of the batch's shape.
    """

    codes: Tensor
    output: Tensor


class Unfolded(nn.Module):
    """What the networks on patches and on images share; use one of those.

    Args:
        dictionary: a module whose call returns filters (..., d): :class:`symscope.CyclicOrbit`,
            :class:`studies.lgn.dictionaries.Dictionary`, or one's own.
        depth: T, the number of layers.
        sparsity: lambda, the weight of the codes' absolute sum, in the units of the data; above 0.
        method: "fista" (default; accelerated) or "ista".
        two_sided: codes of either sign (default), or at least 0.
        step: step of the solver, above 0; default None: 1 / L, with L the largest eigenvalue of
            the dictionary's ``W W^T``, found anew for each batch and not differentiated.
        backend: implementation of the layers, see :mod:`symscope.kernels.ops`.

    Raises:
        ValueError: for an argument out of its range, or filters that do not fit the data.
    """

    dictionary: Any  # a module; its own methods are asked for by name

    def __init__(
        self,
        dictionary: nn.Module,
        depth: int,
        sparsity: float,
        method: str = "fista",
        two_sided: bool = True,
        step: float | None = None,
        backend: str = "auto",
    ):
        super().__init__()
        whole("depth", depth, 1)
        real("sparsity", sparsity, above=0)
        if step is not None:
            real("step", step, above=0)
        choice("method", method, METHODS)
        ops.check_backend(backend)
        self.dictionary, self.depth, self.sparsity = (
            dictionary,
            depth,
            sparsity,
        )
        self.method, self.two_sided, self.step, self.backend = (
            method,
            two_sided,
            step,
            backend,
        )
        self.momenta = momenta(depth) if method == "fista" else [0.0] * depth

    def filters(self) -> Float[Tensor, "m d"]:
        """The dictionary's filters as rows, orbit by orbit."""
        return self.dictionary().flatten(0, -2)

    def analyse(self, inputs: Tensor, filters: Float[Tensor, "m d"]) -> Tensor:
        """W x: the inner products of the data with every filter."""
        raise NotImplementedError

    def synthesise(self, codes: Tensor, filters: Float[Tensor, "m d"]) -> Tensor:
        """W^T z: the filters added up as the codes say."""
        raise NotImplementedError

    def largest_eigenvalue(self, filters: Float[Tensor, "m d"]) -> Float[Tensor, ""]:
        """L, the largest eigenvalue of ``W W^T``."""
        raise NotImplementedError

    def check(self, inputs: Tensor, filters: Float[Tensor, "m d"]) -> None:
        """Refuse data that do not fit the filters."""
        raise NotImplementedError

    def forward(self, inputs: Tensor, filters: Float[Tensor, "m d"] | None = None) -> Unfolding:
        """The codes after T layers, and what they add up to.

        Args:
            inputs: (N, d) patches or (N, ...) images.
            filters: (m, d), to solve with other filters than the dictionary's: the truth, say.
        """
        filters = self.filters() if filters is None else filters
        self.check(inputs, filters)
        step: Tensor | float
        step = 1 / self.largest_eigenvalue(filters.detach()) if self.step is None else self.step
        gradient = -self.analyse(inputs, filters)  # at codes of zero
        point = codes = torch.zeros_like(gradient)
        for layer, momentum in enumerate(self.momenta):
            if layer:
                gradient = self.analyse(self.synthesise(point, filters) - inputs, filters)
            codes, point = ops.proximal_step(
                point, gradient, codes, step, self.sparsity * step, momentum,
                self.two_sided, backend=self.backend,
            )  # fmt: skip
        return Unfolding(codes, self.synthesise(codes, filters))

    def objective(self, inputs: Tensor, found: Unfolding) -> Float[Tensor, ""]:
        """Mean over samples of ``1/2 |x - W^T z|^2 + lambda |z|_1``."""
        return half_square(inputs - found.output) + self.sparsity * (
            found.codes.abs().flatten(1).sum(1).mean()
        )

    def penalty(self) -> Tensor | float:
        """The dictionary's own penalty, 0 if it has none."""
        return self.dictionary.penalty() if hasattr(self.dictionary, "penalty") else 0.0

    @torch.no_grad()
    def usage(self, inputs: Tensor) -> Float[Tensor, " m"]:
        """How often each filter's code is not zero, in [0, 1], over samples and places.

        A filter that these data never use is dead: its usage is 0.
        """
        found = [self(batch).codes != 0 for batch in inputs.split(1000)]
        return torch.cat(found).float().transpose(0, 1).flatten(1).mean(1)


class UnfoldedPatches(Unfolded):
    """An unfolded network on patches (N, d), or any vectors.

    Args are those of :class:`Unfolded`, with depth 15 and sparsity 0.5 as defaults. L is exact,
    from the eigenvalues of the smaller of ``W W^T`` and ``W^T W``, which share them.
    """

    def __init__(
        self,
        dictionary: nn.Module,
        depth: int = 15,
        sparsity: float = 0.5,
        **options,
    ):
        super().__init__(dictionary, depth, sparsity, **options)

    def analyse(self, inputs: Tensor, filters: Float[Tensor, "m d"]) -> Float[Tensor, "n m"]:
        """``W x``, (N, m)."""
        return inputs @ filters.mT

    def synthesise(self, codes: Tensor, filters: Float[Tensor, "m d"]) -> Float[Tensor, "n d"]:
        """``W^T z``, (N, d)."""
        return codes @ filters

    @torch.no_grad()
    def largest_eigenvalue(self, filters: Float[Tensor, "m d"]) -> Float[Tensor, ""]:
        """The largest eigenvalue of ``W W^T``, to rounding."""
        m, d = filters.shape
        gram = filters @ filters.mT if m < d else filters.mT @ filters
        return torch.linalg.eigvalsh(gram)[-1]

    def check(self, inputs: Tensor, filters: Float[Tensor, "m d"]) -> None:
        """Refuse patches that are not (N, d).

        Raises:
            ValueError: if they do not fit the filters.
        """
        if inputs.ndim != 2 or inputs.shape[1] != filters.shape[1]:
            raise ValueError(
                f"patches must be (N, {filters.shape[1]}) to fit the filters, "
                f"got {tuple(inputs.shape)}"
            )


class UnfoldedImages(Unfolded):
    """An unfolded network on whole images: every filter at every place, ``stride`` pixels apart.

    ``W`` is a strided convolution without padding and ``W^T`` its transpose. L comes from power
    iteration on an image that is kept in a buffer: 100 rounds when the network is built and
    whenever it is in eval mode, 2 in each training step, from where the last step left it.

    Args:
        dictionary, depth, sparsity, options: as for :class:`Unfolded`; depth defaults to 5 and
            sparsity to 0.5.
        shape: of an image, (H, W) or (channels, H, W); default (28, 28).
        stride: pixels between neighbouring places; default 2.

    Raises:
        ValueError: as :class:`Unfolded`, and for a dimension of the filters that is not channels
            times a square, or filters larger than the image.
    """

    vector: Tensor

    def __init__(
        self,
        dictionary: nn.Module,
        depth: int = 5,
        sparsity: float = 0.5,
        *,
        shape: Sequence[int] = (28, 28),
        stride: int = 2,
        **options,
    ):
        super().__init__(dictionary, depth, sparsity, **options)
        whole("stride", stride, 1)
        if len(shape) not in (2, 3) or min(shape) < 1:
            raise ValueError(f"shape must be (H, W) or (channels, H, W), got {tuple(shape)}")
        self.shape, self.stride = tuple(shape), stride
        channels, height, width = (1, *shape)[-3:]
        with torch.no_grad():
            filters = self.filters()
        dim = filters.shape[-1]
        size = round((dim / channels) ** 0.5)
        if channels * size * size != dim or size > min(height, width):
            raise ValueError(
                f"filters of {dim} numbers do not fit images {self.shape}: {channels} channel(s) "
                f"of s x s pixels are needed, with s at most {min(height, width)}"
            )
        self.kernel = channels, size, size
        self.spare = [(length - size) % stride for length in (height, width)]
        start = torch.randn(1, channels, height, width, dtype=filters.dtype)
        self.register_buffer("vector", start.to(filters.device))
        self._power_iteration(filters, _COLD, keep=True)

    def analyse(self, inputs: Tensor, filters: Float[Tensor, "m d"]) -> Float[Tensor, "n m h w"]:
        """``W x``, (N, m, h, w)."""
        images = inputs.reshape(len(inputs), self.kernel[0], *self.shape[-2:])
        return nn.functional.conv2d(images, filters.reshape(-1, *self.kernel), stride=self.stride)

    def synthesise(self, codes: Tensor, filters: Float[Tensor, "m d"]) -> Tensor:
        """``W^T z``, (N, H, W) or (N, channels, H, W), as ``shape`` says."""
        kernel = filters.reshape(-1, *self.kernel)
        images = nn.functional.conv_transpose2d(
            codes, kernel, stride=self.stride, output_padding=self.spare
        )
        return images.reshape(len(codes), *self.shape)

    def largest_eigenvalue(self, filters: Float[Tensor, "m d"]) -> Float[Tensor, ""]:
        """The largest eigenvalue of ``W W^T``, a little low: power iteration nears it from below.

        A step of 1 / L is then a little long; FISTA bears an L that is a quarter too low.
        """
        return self._power_iteration(filters, _WARM if self.training else _COLD, self.training)

    @torch.no_grad()
    def _power_iteration(
        self, filters: Float[Tensor, "m d"], rounds: int, keep: bool
    ) -> Float[Tensor, ""]:
        vector = self.vector
        for _ in range(rounds):
            moved = self.synthesise(self.analyse(vector, filters), filters).reshape_as(vector)
            value = moved.norm()
            vector = moved / value
        if keep:
            self.vector.copy_(vector)
        return value

    def check(self, inputs: Tensor, filters: Float[Tensor, "m d"]) -> None:
        """Refuse images of another shape.

        Raises:
            ValueError: if they do not fit.
        """
        if tuple(inputs.shape[1:]) != self.shape:
            raise ValueError(
                f"images must be (N, {', '.join(map(str, self.shape))}), got {tuple(inputs.shape)}"
            )


def momenta(depth: int) -> list[float]:
    """FISTA's momentum in each of so many layers: 0, then rising to 1 (equations 4.2 and 4.3)."""
    t = [1.0]
    for _ in range(depth):
        t.append((1 + (1 + 4 * t[-1] ** 2) ** 0.5) / 2)
    return [(t[k] - 1) / t[k + 1] for k in range(depth)]


def half_square(residual: Tensor) -> Float[Tensor, ""]:
    """Half the squared norm, mean over samples."""
    return residual.flatten(1).square().sum(1).mean() / 2
