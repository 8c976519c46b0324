"""Asking a network which symmetries it learned: the public call."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor

from ..actions.vectors import Action
from ..decide.thresholds import CONFIDENCE, TOLERANCE, check_levels
from ..extract.extraction import Query
from ..extract.network import Outputs
from ..inputs.samples import Moves, Name
from .controls import contrast_of
from .symmetries import Symmetries


def learned_symmetries(
    model: Callable[[Tensor], Tensor],
    data: Tensor | Iterable,
    *,
    action: Action,
    moves: Moves | None = None,
    shared: tuple[Name, ...] | None = None,
    mask: Name | None = None,
    outputs: str | int | Callable[[Any], Tensor] = "all",
    unit_norm: bool = False,
    backend: str = "auto",
    mode: str = "auto",
    batch_size: int = 512,
    samples: int | None = None,
    control_samples: int | None = None,
    dtype: torch.dtype = torch.float64,
    seed: int = 0,
    groups: Sequence[int] | Tensor | None = None,
    contrast: Callable[[Tensor], Tensor] | str | None = None,
    tolerance: float = TOLERANCE,
    confidence: float = CONFIDENCE,
) -> Symmetries:
    """Ask a network which directions of a Lie algebra it is invariant along.

    The method is LieGG's (moskalev2022liegg): one row for each output of each sample, the
    derivative of the output along every direction of the action; the right singular vectors
    of the smallest singular values are the generators. The network is run in eval mode and
    put back as it was. Memory does not grow with the number of samples. Where a network has
    more outputs than the action has directions, they are differentiated forwards, together.

    Args:
        model: any torch module or callable from a batch (N, ...) to (N, C, ...) or (N,),
            differentiable by autograd; a module is after the call what it was before.
        data: a tensor (N, ...), or an iterable of batches (tensors, or tuples that begin with
            one, as a DataLoader yields), or a dataset. Batches go to the model's device. The
            shuffled control of an iterable pairs samples within a batch and with 64 kept of all
            before it; that of a tensor over all of it, for 2,048 samples or 32 a direction.
        action: how the algebra moves the data: ``LinearAction``, ``PlaneAction``, or your own.
        moves: for networks that take more than one tensor: which of them the action moves, by name
            (of a mapping's or object's part) or place (in a tuple); the rest stays with its
            sample. Mappings go in as keywords if the network's signature takes them, tuples
            one by one, all else as it is. All the data may be one mapping or tuple; an iterable
            yields batches, or samples whose sizes may differ; torch_geometric's batches, and
            mappings with a vector "batch" that says whose each point is, are taken apart. Or a
            callable from a batch to what moves (N, ...) and a function that restores from it
            what the network is called with. Default None: the data are one tensor.
        outputs: "all" (default) differentiates every output; "sum" their sum, as the paper
            does, which leaves free what softmax ignores; a name or an index picks one of several
            that the model returns; a callable gets what it returns and gives (N, C, ...) or (N,).
        unit_norm: scale each sample's outputs to unit L2 norm first, as the paper does with a
            classifier's logits; default False.
        backend: "auto" (default), Triton kernels on a CUDA device and torch elsewhere;
            "reference", the plain definition; "triton", the kernels or an error. The kernels
            take reverse mode, float32, and for ``LinearAction`` ``dtype=torch.float32``.
        mode: "auto" (default), "forward" or "reverse". "auto" goes forwards where the network
            has more outputs than the action has directions, the backend is "auto" and every
            layer can; the report's ``mode`` says which it was, and why.
        batch_size: samples at a time where the data are one tensor or a dataset; default 512.
        samples: how many are used at most, of an endless stream above all; default None, all.
        dtype: precision of the factor, torch.float64 (default) or torch.float32, which is faster
            and loses variances below 1e-5 of the largest. Rows are computed in the precision of
            the network and its data.
        seed: for the pairing of the shuffled control, and the other random references.
        groups: (N,), which samples belong together, a molecule's frames say; these stand one after
            another. They are the unit of bounds and count as one sample. Default None, each
            sample is its own.
        contrast: a network of as many outputs that did not see what this one may have learned
            from, or "untrained" for a copy with fresh weights; the report's ``over_contrast``
            then says how much less this one changes. Default None.
        tolerance: the largest change of the outputs along a symmetry, relative to an unrelated
            direction that moves the data as far; in (0, 1), default 0.1.
        confidence: of the bounds that a decision rests on, in (0, 1), default 0.95.

    Returns:
        The report, a :class:`Symmetries`.

    Raises:
        ValueError: for data that are empty, not finite or do not fit the action; for a tolerance
            or confidence outside (0, 1); for unknown outputs, backend, mode or dtype; for outputs
            of another shape, or that do not depend on the input; for gradients that are not
            finite; for fewer rows than directions; for derivatives that differ between forward
            and reverse mode.
        TypeError: for data that are no tensors, or integers; for ``moves`` that is none of these.
        RuntimeError: for ``backend="triton"`` where the kernels cannot run, and
            ``mode="forward"`` where a layer cannot.

    >>> import symscope as ss, torch
    >>> points = torch.randn(500, 3, generator=torch.Generator().manual_seed(0))
    >>> found = ss.learned_symmetries(
    ...     lambda x: x.norm(dim=1).sin(), points, action=ss.LinearAction(3)
    ... )
    >>> found.count, found.level  # of nine directions
    (3, 'exact')
    >>> print(ss.name_algebra(found.symmetries))
    so(3) ~ su(2)
    """
    check_levels(tolerance, confidence)
    query = Query(
        data=data,
        action=action,
        outputs=Outputs(outputs, unit_norm),
        backend=backend,
        mode=mode,
        batch_size=batch_size,
        dtype=dtype,
        seed=seed,
        samples=samples,
        control_samples=control_samples,
        moves=moves,
        groups=groups,
        shared=shared,
        mask=mask,
    )
    found = Symmetries.from_query(model, query, tolerance, confidence)
    if contrast is not None:
        found.contrast = Symmetries.from_query(
            contrast_of(model, contrast, query), query, tolerance, confidence
        )
    return found
