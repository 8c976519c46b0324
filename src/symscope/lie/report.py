"""The factor into a report: variances, generators, how many, which algebra, which controls."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import cached_property
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from . import algebra
from .actions import Action
from .controls import Asked, untrained_copy
from .extract import Extraction, Search, extract
from .factor import Factor
from .rows import Mode, Outputs

if TYPE_CHECKING:
    from jaxtyping import Float
    from matplotlib.figure import Figure

LEAST_GAP = 3.0


class Symmetries:
    """What a network's derivatives say about its symmetries under one action.

    Directions are ordered by variance, most symmetric first. All tensors are float64 on the
    CPU. Built by :func:`learned_symmetries`, or from a merged
    :class:`~symscope.lie.factor.Factor` and its action.

    Attributes:
        variance: (K,), ascending, the mean squared derivative along each direction, summed over
            outputs, in squared output units per unit of the generator.
        generators: (K, n, n), each of the action's shape, orthonormal under the Frobenius inner
            product.
        shuffled: the same report with every gradient paired with another sample's input, or None.
        action: the action that was searched.
        factor: the factor of the polarization matrix, to be merged with others.
        mode: how derivatives were taken, ``mode.name`` "forward" or "reverse", and
            ``mode.reason`` why; None for a report built from a factor.
    """

    def __init__(
        self,
        factor: Factor,
        action: Action,
        shuffled: Symmetries | None = None,
        mode: Mode | None = None,
    ):
        self.factor, self.action, self.shuffled, self.mode = factor, action, shuffled, mode
        self._asked: Asked | None = None
        self.variance: Float[Tensor, " k"]
        self.variance, directions = factor.spectrum()
        self.generators: Float[Tensor, "k n n"] = torch.einsum(
            "ak,kij->aij", directions, action.basis.to(directions)
        )

    def __repr__(self) -> str:
        smallest = ", ".join(f"{v:.2g}" for v in self.relative_variance[: max(self.count, 1) + 1])
        return (
            f"<Symmetries: {self.count} of {len(self.variance)} directions of {self.action!r}; "
            f"{self.factor.samples} samples; relative variances {smallest}, ..."
            f"{f'; {self.mode.name} mode: {self.mode.reason}' if self.mode else ''}>"
        )

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_asked": None}  # a copy has no data of its own to ask again

    @cached_property
    def relative_variance(self) -> Float[Tensor, " k"]:
        """Variance divided by the mean over all directions, which makes it scale-free."""
        return self.variance / self.variance.mean()

    @cached_property
    def gaps(self) -> Float[Tensor, " k-1"]:
        """How much less symmetric the next direction is, variance[k+1] / variance[k].

        Variances below the rounding floor count as that floor: ratios of rounding errors are 1.
        The floor is (100 eps)^2 of the largest, eps that of the coarsest numbers that went in;
        1e-5 of the largest with ``dtype=torch.float32``.
        """
        floored = self.variance.clamp(min=self._rounding())
        return floored[1:] / floored[:-1]

    def _rounding(self) -> float:
        """The variance that rounding alone can leave of a direction."""
        return float(self.variance.max()) * self.factor.rounding

    @cached_property
    def count(self) -> int:
        """The number of directions that are symmetries, those below the largest qualifying gap.

        A gap qualifies if it is at least 3, and if the variance below it is smaller than every
        variance of the shuffled control. The control pairs the same gradients with the inputs
        of other samples, so the two are in the same units. Without a qualifying gap, or without
        a control, the count is 0. A direction along which no pairing changes the outputs (part
        of the input is ignored, or the data do not span the space) is as small in the control
        and is not counted; ``variance`` shows it.
        """
        if self.shuffled is None:
            return 0
        rounding = max(self._rounding(), self.shuffled._rounding())
        control = self.shuffled.variance.min().clamp(min=rounding)
        below = self.variance[:-1].clamp(min=rounding) < control
        qualifying = torch.where(below & (self.gaps >= LEAST_GAP), self.gaps, 0.0)
        return int(qualifying.argmax()) + 1 if qualifying.any() else 0

    def _known(self, basis: Float[Tensor, "d n n"]) -> Float[Tensor, "d n n"]:
        shape = tuple(self.generators.shape[1:])
        if tuple(basis.shape[1:]) != shape:
            raise ValueError(
                f"basis must hold matrices of the generators' shape {shape}; "
                f"got {tuple(basis.shape)}"
            )
        return algebra.orthonormal(basis)

    def angles_to(self, basis: Float[Tensor, "d n n"]) -> Float[Tensor, " d"]:
        """Principal angles to a known algebra, in degrees, ascending.

        Compared are as many of the most symmetric directions as the algebra has dimensions,
        whatever :attr:`count` says, so that networks without a symmetry can be asked too.

        Raises:
            ValueError: if the algebra's matrices do not have the shape of the generators.
        """
        dimension = len(self._known(basis))
        return algebra.principal_angles(self.generators[:dimension], basis)

    def bias_to(self, basis: Float[Tensor, "d n n"]) -> Float[Tensor, " k"]:
        """Symmetry bias: the distance of each unit-norm generator from a known algebra.

        For so(n) it is || H - (H - H^T)/2 ||_F, the paper's (moskalev2022liegg). 0 is inside,
        1 is orthogonal.

        Raises:
            ValueError: if the algebra's matrices do not have the shape of the generators.
        """
        inside = self._known(basis).flatten(1)
        flat = self.generators.flatten(1)
        return (flat - flat @ inside.T @ inside).norm(dim=1)

    def closure(self, count: int | None = None) -> float:
        """Closure residual (0: a Lie algebra) of the first ``count`` generators.

        Default: :attr:`count`. See :func:`symscope.lie.algebra.closure_residual`.
        """
        return algebra.closure_residual(self.generators[: self.count if count is None else count])

    def variance_along(self, generator: Float[Tensor, "n n"]) -> float:
        """The mean squared derivative along a generator of any length, scaled to unit norm.

        Raises:
            ValueError: if the generator is not of the report's shape, zero, or outside the
                algebra.
        """
        basis = self.action.basis
        if generator.shape != basis.shape[1:]:
            raise ValueError(
                f"generator must be of the action's shape {tuple(basis.shape[1:])}; "
                f"got {tuple(generator.shape)}"
            )
        generator = generator.to(basis)
        direction = torch.einsum("kij,ij->k", basis, generator)
        length = float(direction.norm())
        if not length > 0 or float(generator.norm()) > length * (1 + 1e-6):
            raise ValueError("generator must be in the algebra that was searched, and not zero")
        pushed = self.factor.triangle.cpu() @ (direction / length)
        return float(pushed.square().sum()) / self.factor.samples

    def against_shuffled(self, generator: Float[Tensor, "n n"]) -> float:
        """The variance along a generator over the shuffled pairing's along the same one.

        0 is invariant; 1 is no more than when each derivative is paired with another sample. It
        does not change with the scale of the features. NaN where both variances are zero.

        Raises:
            ValueError: if the report has no shuffled control, and as :meth:`variance_along`.
        """
        if self.shuffled is None:
            raise ValueError("the report has no shuffled control to compare with")
        own, control = self.variance_along(generator), self.shuffled.variance_along(generator)
        if not control:
            return float("inf") if own else float("nan")
        return own / control

    def controls(
        self,
        seed: int = 0,
        *,
        data: Tensor | Iterable | None = None,
        model: nn.Module | None = None,
        **networks: Callable[[Tensor], Tensor],
    ) -> dict[str, Symmetries | None]:
        """The same report for what should have no symmetry.

        A report does not keep the data and the network alive. Where nobody else does, hand
        them in again.

        Args:
            seed: for the untrained copy's weights.
            data: what the report was made from; default, those data if they still exist.
            model: the network, likewise.
            networks: any further networks, by the name their reports get, asked about the
                same data in the same way; ``untrained=...`` stands in for the fresh copy.

        Returns:
            dict: reports by name. "shuffled" (the same gradients, each paired with the input of
            another sample), "untrained" (a copy of the network with fresh weights; left out
            where the model is a plain function), and one a network handed in.

        Raises:
            RuntimeError: if the data were an iterator that is used up, or the data or the
                network exist no more, or the report was built from a factor alone.
            TypeError: if a layer of the network has weights and no ``reset_parameters``.
        """
        if self._asked is None:
            raise RuntimeError("this report was built from a factor: it has no data to ask again")
        search = self._asked.search(data)
        if "untrained" not in networks:
            trained = self._asked.model() if model is None else model
            if isinstance(trained, nn.Module):
                networks = {"untrained": untrained_copy(trained, seed), **networks}
        reports = {name: report(network, search) for name, network in networks.items()}
        return {"shuffled": self.shuffled, **reports}

    def plot(self) -> Figure:
        """The spectrum beside the shuffled control, and the most symmetric generators."""
        from ..study import figures

        return figures.report(self)


def report(model: Callable[[Tensor], Tensor], search: Search) -> Symmetries:
    """Ask a network a question; see :func:`learned_symmetries`."""
    found = report_of(extract(model, search), search.action)
    found._asked = Asked(model, search)
    return found


def report_of(extraction: Extraction, action: Action) -> Symmetries:
    """What an extraction says, beside its shuffled control if there is one."""
    factor, shuffled, mode = extraction
    control = Symmetries(shuffled, action, mode=mode) if shuffled.samples else None
    return Symmetries(factor, action, control, mode)


def learned_symmetries(
    model: Callable[[Tensor], Tensor],
    data: Tensor | Iterable,
    *,
    action: Action,
    outputs: str | Callable[[Tensor], Tensor] = "all",
    unit_norm: bool = False,
    backend: str = "auto",
    mode: str = "auto",
    batch_size: int = 512,
    dtype: torch.dtype = torch.float64,
    seed: int = 0,
) -> Symmetries:
    """Ask a network which directions of a Lie algebra it is invariant along.

    The method is LieGG's (moskalev2022liegg): one row for each output of each sample, the
    derivative of the output along every direction of the action; the right singular vectors
    of the smallest singular values are the generators. The network is run in eval mode and
    put back as it was. Memory does not grow with the number of samples. Where a network has
    more outputs than the action has directions, they are differentiated forwards, together.

    Args:
        model: any torch module or callable from a batch (N, ...) to (N, C) or (N,),
            differentiable by autograd.
        data: a tensor (N, ...), or an iterable of batches (tensors, or tuples that begin with
            one, as a DataLoader yields). Batches go to the model's device. The order of an
            iterable should be random: its shuffled control pairs samples within a batch. That
            of a tensor pairs over all of it, for 2,048 samples or 32 a direction at most.
        action: how the algebra moves the data: ``LinearAction``, ``PlaneAction``, or your own.
        outputs: "all" (default) differentiates every output; "sum" their sum, as the paper
            does, which leaves free what softmax ignores; a callable gets the model's outputs
            and returns (N, C) or (N,).
        unit_norm: scale each sample's outputs to unit L2 norm first, as the paper does with a
            classifier's logits; default False.
        backend: "auto" (default), Triton kernels on a CUDA device and torch elsewhere;
            "reference", the plain definition; "triton", the kernels or an error. The kernels
            take reverse mode, float32, and for ``LinearAction`` ``dtype=torch.float32``.
        mode: "auto" (default), "forward" or "reverse". "auto" goes forwards where the network
            has more outputs than the action has directions, the backend is "auto" and every
            layer can; the report's ``mode`` says which it was, and why.
        batch_size: samples at a time where the data are one tensor; default 512.
        dtype: precision of the factor, torch.float64 (default) or torch.float32, which is faster
            and loses variances below 1e-5 of the largest. Rows are computed in the precision of
            the network and its data.
        seed: for the pairing of the shuffled control.

    Returns:
        The report, a :class:`Symmetries`.

    Raises:
        ValueError: for data that are empty, not finite or do not fit the action; for unknown
            outputs, backend, mode or dtype; for outputs of another shape, or that do not depend
            on the input; for gradients that are not finite; for fewer rows than directions; for
            derivatives that differ between forward and reverse mode.
        TypeError: for data that are no tensors, or integers.
        RuntimeError: for ``backend="triton"`` where the kernels cannot run, and
            ``mode="forward"`` where a layer cannot.
    """
    search = Search(
        data, action, Outputs(outputs, unit_norm), backend, mode, batch_size, dtype, seed
    )
    return report(model, search)
