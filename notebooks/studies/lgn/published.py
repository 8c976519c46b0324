"""The Linear Group Network as its authors ran it, and its relatives that hold a group or none.

Source: Theodosis, Helwani and Ba 2023 (`theodosis2023linear`) and what their public code does
(repository manosth/learning-groups, commit 091e0e2). It differs from :class:`CyclicOrbit` in an
:class:`UnfoldedImages`: every layer has filters of its own, every colour a generator of its own,
generators and base filters are scaled to norm 1 after every step and the generated atoms are not,
codes are at least 0 with learned thresholds, and nothing asks for A^n = I.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.nn.grad import conv2d_weight

from symscope._checks import choice, whole
from symscope.kernels import ops
from symscope.orbits.orbits import CyclicOrthogonal

from .operations import rotation
from .unfolded import momenta

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor

KINDS = ("learned", "free", "rotations", "cyclic")
STEP = 0.01  # eta
RING = 1  # pixels of zeros around an image, for W and its transpose
_DEGREES = 60  # of the given rotation; that of `theodosis2022cyclic`, where it is not learned


class PublishedOrbits(nn.Module):
    """The filters of one layer: orbits whose elements are as long as the generators make them.

    Args:
        sets: base filters, each with one generator per channel.
        patch: pixels a side of a filter; d is its square.
        kind: what the elements of an orbit are.

            - "learned" (default), the authors': ``A^i w`` with a free A, of Frobenius norm 1 as
              w is, and a free second matrix B, for :meth:`penalty`.
            - "free": no orbit; each of the sets * order filters is free, its channels of norm 1.
            - "rotations": w turned by 0, 60, 120, .. degrees, by bilinear interpolation.
            - "cyclic": ``A^i w`` with an orthogonal A, learned, with A^n = I by construction
              (:class:`symscope.orbits.orbits.CyclicOrthogonal`).

    Attributes:
        base: (sets, channels, d), or (sets, order, channels, d) if free: w, each channel of
            norm 1.
        generators: (sets, channels, d, d), A; None unless learned (:meth:`matrices` has them all).
        inverses: (sets, channels, d, d), B; None unless learned.
    """

    generators: Float[Tensor, "j c d d"] | None
    inverses: Float[Tensor, "j c d d"] | None
    turned: Float[Tensor, "n d d"]

    def __init__(
        self,
        sets: int = 5,
        order: int = 4,
        channels: int = 3,
        patch: int = 6,
        kind: str = "learned",
    ):
        super().__init__()
        self.sets, self.order = whole("sets", sets), whole("order", order)
        self.channels, self.patch = whole("channels", channels), whole("patch", patch)
        choice("kind", kind, KINDS)
        self.kind, self.dim = kind, patch * patch
        each = (sets, order) if kind == "free" else (sets,)
        self.base = nn.Parameter(torch.randn(*each, channels, self.dim))
        self.generators = self.inverses = None
        if kind == "learned":
            self.generators = nn.Parameter(torch.randn(sets, channels, self.dim, self.dim))
            self.inverses = nn.Parameter(torch.randn(sets, channels, self.dim, self.dim))
            with torch.no_grad():
                self.inverses.div_(_norm(self.inverses, 2))
        elif kind == "rotations":
            turned = torch.stack([rotation(patch, _DEGREES * i) for i in range(order)])
            self.register_buffer("turned", turned.float())
        elif kind == "cyclic":
            self.held = _Cyclic(sets * channels, self.dim, order)
        self.project()

    def matrices(self) -> Float[Tensor, "j c d d"]:
        """The generators A, (sets, channels, d, d); of "rotations" the turn by 60."""
        if self.kind == "free":
            raise ValueError("free filters have no generators")
        if self.kind == "rotations":
            return self.turned[1 % self.order].expand(self.sets, self.channels, -1, -1)
        if self.kind == "cyclic":
            return self.held.generators.unflatten(0, (self.sets, self.channels))
        assert self.generators is not None
        return self.generators

    def forward(self) -> Float[Tensor, "j n c d"]:
        """The filters, (sets, order, channels, d), element by element of each orbit."""
        if self.kind == "free":
            return self.base
        if self.kind == "rotations":
            return torch.einsum("nab,jcb->jnca", self.turned, self.base)
        base = self.base.flatten(0, 1)[:, None]  # a set and a channel at a time
        moved = ops.orbits(base, self.matrices().flatten(0, 1), self.order)[:, 0]
        return moved.unflatten(0, (self.sets, self.channels)).transpose(1, 2)

    def penalty(self) -> Float[Tensor, ""]:
        """The sum over sets and channels of the norm ``|A B - I|_F``; 0 unless learned."""
        if self.inverses is None:
            return self.base.new_zeros(())
        eye = torch.eye(self.dim, dtype=self.base.dtype, device=self.base.device)
        return torch.linalg.matrix_norm(self.matrices() @ self.inverses - eye).sum()

    @torch.no_grad()
    def project(self) -> None:
        """Scale base filters and learned generators back to Frobenius norm 1; B stays."""
        self.base.div_(_norm(self.base, 1))
        if self.generators is not None:
            self.generators.div_(_norm(self.generators, 2))


class _Cyclic(nn.Module):
    """Orthogonal generators of order n, as a parameter of their own."""

    generators: Float[Tensor, "j d d"]

    def __init__(self, count: int, dim: int, order: int):
        super().__init__()
        held = CyclicOrthogonal(count, dim, order)
        self.generators = nn.Parameter(held.sample().to(torch.get_default_dtype()))
        held.register(self, "generators")


class PublishedNetwork(nn.Module):
    """Unfolded layers that share nothing: FISTA with learned one-sided thresholds.

    With filters W of its own, each layer takes the codes z and the point y of the last one to::

        u = y - eta W (W^T y - x)       W a convolution, stride 1, with a ring of zeros around x
        z' = relu(u - eta lambda)       lambda one a filter, learned, from 1
        y' = z' + m (z' - z)            m FISTA's momentum

    Codes begin at 0; those of 32 x 32 images are 29 x 29. With ``normalise`` each y' goes through
    a batch norm, and the z that the next layer's momentum compares with does not.
    """

    def __init__(
        self,
        shape: Sequence[int] = (3, 32, 32),
        depth: int = 4,
        *,
        normalise: bool = False,
        sets: int = 5,
        order: int = 4,
        patch: int = 6,
        kind: str = "learned",
    ):
        super().__init__()
        whole("depth", depth)
        if len(shape) != 3 or min(shape) < 1:
            raise ValueError(f"shape must be (channels, H, W), got {tuple(shape)}")
        if whole("patch", patch) > min(shape[1:]):
            raise ValueError(
                f"patch must be at most {min(shape[1:])} for images {tuple(shape)}, got {patch}"
            )
        self.shape = tuple(shape)
        self.momenta = momenta(depth)
        self.orbits = nn.ModuleList(
            PublishedOrbits(sets, order, shape[0], patch, kind) for _ in range(depth)
        )
        self.atoms = sets * order
        self.thresholds = nn.Parameter(torch.ones(depth, self.atoms))
        norms = [nn.BatchNorm2d(self.atoms) for _ in range(depth - 1)] if normalise else []
        self.norms = nn.ModuleList(norms)

    def filters(self, layer: int) -> Float[Tensor, "m c s s"]:
        """The filters of one layer, orbit by orbit."""
        orbits = self.layers[layer]
        return orbits().reshape(self.atoms, self.shape[0], orbits.patch, orbits.patch)

    def forward(self, images: Float[Tensor, "n c h w"]) -> Float[Tensor, "n m a b"]:
        """The codes after the last layer."""
        return self.every_layer(images)[-1]

    def every_layer(self, images: Float[Tensor, "n c h w"]) -> list[Float[Tensor, "n m a b"]]:
        """The codes z' after each layer."""
        if tuple(images.shape[1:]) != self.shape:
            raise ValueError(
                f"images must be (N, {', '.join(map(str, self.shape))}), got {tuple(images.shape)}"
            )
        # The layout of every tensor from here on: a quarter faster on a CPU.
        images = images.contiguous(memory_format=torch.channels_last)
        found: list[Tensor] = []
        point = images
        for layer, momentum in enumerate(self.momenta):
            filters = self.filters(layer)
            # eta W, not eta times what W gives: one pass fewer over the codes.
            kernel = STEP * filters
            threshold = (STEP * self.thresholds[layer])[:, None, None]
            if layer:
                residual = images - _Drawn.apply(point, filters)
                moved = point + _Seen.apply(residual, kernel)
            else:
                moved = _Seen.apply(images, kernel)
            codes = torch.relu(moved - threshold)
            point = torch.lerp(found[-1], codes, 1 + momentum) if layer else codes
            if layer < len(self.norms):
                point = self.norms[layer](point)
            found.append(codes)
        return found

    def penalty(self) -> Float[Tensor, ""]:
        """The sum of the layers' penalties."""
        return torch.stack([orbits.penalty() for orbits in self.layers]).sum()

    def project(self) -> None:
        """Scale what has a norm of 1 back to it: after every step of training."""
        for orbits in self.layers:
            orbits.project()

    @property
    def layers(self) -> list[PublishedOrbits]:
        """The orbits of each layer."""
        return list(self.orbits)  # type: ignore[arg-type]


class PublishedClassifier(nn.Module):
    """Codes, their mean over a grid of regions, one linear layer; judged by cross-entropy.

    The grid has ``pool`` regions a side.
    """

    def __init__(self, network: PublishedNetwork, classes: int = 10, pool: int = 4):
        super().__init__()
        self.network, self.pool = network, pool
        self.linear = nn.Linear(network.atoms * pool**2, classes)

    def forward(self, images: Float[Tensor, "n c h w"]) -> Float[Tensor, "n classes"]:
        """The logits."""
        pooled = nn.functional.adaptive_avg_pool2d(self.network(images), self.pool)
        return self.linear(pooled.flatten(1))

    def loss(self, inputs: Tensor, targets: Tensor) -> Float[Tensor, ""]:
        """Cross-entropy."""
        return nn.functional.cross_entropy(self(inputs), targets)

    def project(self) -> None:
        """That of the network."""
        self.network.project()


class PublishedReconstructor(nn.Module):
    """The images as a free dictionary D makes them of the codes; judged by mean squared error.

    D has as many filters as the network, of the same size, each channel of norm 1.
    """

    def __init__(self, network: PublishedNetwork):
        super().__init__()
        self.network = network
        self.decoder = nn.Parameter(torch.randn_like(network.filters(0)))
        self.project()

    def forward(self, images: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c h w"]:
        """The reconstructions."""
        return _Drawn.apply(self.network(images), self.decoder)

    def loss(self, inputs: Tensor, targets: Tensor | None = None) -> Float[Tensor, ""]:
        """Mean squared error, over samples and pixels; there are no targets."""
        return nn.functional.mse_loss(self(inputs), inputs)

    @torch.no_grad()
    def project(self) -> None:
        """That of the network, and each channel of each filter of D to norm 1."""
        self.network.project()
        self.decoder.div_(_norm(self.decoder, 2))


class _Seen(torch.autograd.Function):
    """W: images (N, c, H, W) and filters (m, c, s, s) to codes, with a fast derivative."""

    @staticmethod
    def forward(ctx, images, filters):
        ctx.save_for_backward(images, filters)
        return nn.functional.conv2d(images, filters, padding=RING)

    @staticmethod
    def backward(ctx, codes):
        images, filters = ctx.saved_tensors
        drawn = _drawn(codes, filters) if ctx.needs_input_grad[0] else None
        return drawn, conv2d_weight(images, filters.shape, codes, padding=RING)


class _Drawn(torch.autograd.Function):
    """The transpose of W: codes and filters to images."""

    @staticmethod
    def forward(ctx, codes, filters):
        ctx.save_for_backward(codes, filters)
        return _drawn(codes, filters)

    @staticmethod
    def backward(ctx, images):
        codes, filters = ctx.saved_tensors
        seen = nn.functional.conv2d(images, filters, padding=RING)
        return seen, conv2d_weight(images, filters.shape, codes, padding=RING)


def _drawn(codes: Tensor, filters: Tensor) -> Tensor:
    """``conv_transpose2d(codes, filters, padding=RING)`` in three fifths of its time.

    Torch's convolutions on a processor fill eight channels at a time, and images have three. So
    two rows of pixels are computed as channels of one, by a filter one row higher.
    """
    count, channels, side = len(codes), filters.shape[1], filters.shape[-1]
    flipped = filters.flip(2, 3).transpose(0, 1)
    rows = [nn.functional.pad(flipped, (0, 0, i, 1 - i)) for i in (0, 1)]
    kernel = torch.stack(rows, 1).flatten(0, 1)
    height = codes.shape[2] + side - 1 - 2 * RING
    edge = side - 1 - RING
    margins = (edge, edge, edge, edge + height % 2)
    padded = nn.functional.pad(codes, margins).contiguous(memory_format=torch.channels_last)
    pairs = nn.functional.conv2d(padded, kernel, stride=(2, 1))
    both = pairs.unflatten(1, (channels, 2)).transpose(2, 3)
    return both.reshape(count, channels, -1, pairs.shape[-1])[:, :, :height]


def _norm(filters: Tensor, last: int) -> Tensor:
    """The norm over so many last axes, kept for division."""
    return torch.linalg.vector_norm(filters, dim=tuple(range(-last, 0)), keepdim=True)
