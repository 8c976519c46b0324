"""Asking a network which symmetries it learned: of data, of gradients, of data in pieces."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Sequence
from functools import reduce
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..actions.vectors import Action
from ..decide.decision import CONFIDENCE, TOLERANCE, check_levels
from ..extract.extraction import Query, check_rows, extract_gradients
from ..extract.network import Outputs
from ..inputs.files import load_tensors
from ..inputs.samples import Moves, Name
from ..inputs.stream import Groups
from ..runs import workers
from .controls import contrast_of
from .symmetries import Symmetries

Shard = Tensor | str | Path | Callable[[], Tensor | Iterable]


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
    checked: Symmetries | None = None,
    dtype: torch.dtype = torch.float64,
    seed: int = 0,
    groups: Groups | None = None,
    contrast: Callable[[Tensor], Tensor] | str | None = None,
    tolerance: float = TOLERANCE,
    confidence: float = CONFIDENCE,
) -> Symmetries:
    """Ask a network which directions of a Lie algebra it is invariant along.

    The method is LieGG's (moskalev2022liegg): one row for each output of each sample, the
    derivative of the output along every direction of the action. Directions along which it is small
    beside that at unrelated samples are symmetries. Memory does not grow with the number of
    samples. Where a network has many outputs, a few random combinations of them stand for all:
    exact symmetries stay exact.

    Args:
        model: any torch module or callable from a batch (N, ...) to (N, C, ...) or (N,),
            differentiable by autograd; a module is run in eval mode and put back as it was.
        data: a tensor (N, ...), or an iterable of batches (tensors, or tuples that begin with
            one, as a DataLoader yields), or a dataset. Batches go to the model's device. The
            shuffled control of an iterable pairs samples within a batch and with 64 kept of all
            before it; that of a tensor over all of it, for ``control_samples``.
        action: how the algebra moves the data: ``LinearAction``, ``PlaneAction``, or your own.
        moves: for networks that take more than one tensor: which of them the action moves, by name
            (of a mapping's or object's part) or place (in a tuple); the rest stays with its
            sample. Mappings go in as keywords if the network's signature takes them, tuples
            one by one, all else as it is. All the data may be one mapping or tuple; an iterable
            yields batches, or samples whose sizes may differ; torch_geometric's batches, and
            mappings with a vector "batch" that says whose each point is, are taken apart. Or a
            callable from a batch to what moves (N, ...) and a function that restores from it
            what the network is called with. Default None: the data are one tensor.
        shared: names or places of parts that belong to all samples, as ``("cell",)``; every other
            tensor has an entry for each sample. Default None: none, and what the network also
            takes whole is refused until it is said; ``()``, none.
        mask: name or place of the part that says which points are there, if its name does not
            hold "mask". Only samples of one mask are paired.
        outputs: "all" (default) differentiates every output; "sum" their sum, as the paper
            does, which leaves free what softmax ignores; a name or an index picks one of several
            that the model returns; a callable gets what it returns and gives (N, C, ...) or (N,).
        unit_norm: scale each sample's outputs to unit L2 norm first, as the paper does with a
            classifier's logits; default False.
        backend: "auto" (default), Triton kernels on a CUDA device and torch elsewhere;
            "reference", the plain definition; "triton", the kernels or an error. The kernels
            take reverse mode, float32, and for ``LinearAction`` ``dtype=torch.float32``.
        mode: how derivatives are taken. "combined", in reverse, of R combinations of the outputs
            with random signs for each sample, R = min(C, max(2, 32 K / N), 16): rho is then known
            to about 0.5 sqrt(K / (N R)). "exact", of all outputs: forwards where there are more of
            them than directions, the backend is "auto" and every layer can, else in reverse; or
            "forward" or "reverse". Default "auto", combined where there are more outputs than
            directions and than R, else exact. The report's ``mode`` says which it was, and why.
        batch_size: samples at a time where the data are one tensor or a dataset; default 512.
        samples: how many are used at most; default None, all. Of one tensor, one mapping or a
            dataset they are drawn by ``seed``, of an iterable they are the first.
        control_samples: of one tensor, how many samples at least the decision rests on, evenly
            spread; default None, 2,048 or 32 a direction. The report's ``why()`` says how many.
        checked: a report on a network of the same architecture, an ensemble's first member say,
            whose derivatives were compared with differences; this network's are then not.
        dtype: precision of the factor, torch.float64 (default) or torch.float32, which is faster
            and loses variances below 1e-5 of the largest. Rows are computed in the precision of
            the network and its data.
        seed: for the pairing of the shuffled control, and the other random references.
        groups: (N,), a label for each sample of what it belongs to, as a molecule's frames do. A
            group is the unit of bounds and counts as one sample. Default None, each sample is one.
        contrast: a network of as many outputs that did not see what this one may have learned
            from, or "untrained" for a copy with fresh weights; the report's ``over_contrast``
            then says how much less this one changes.
        tolerance: the largest change of the outputs along a symmetry, relative to an unrelated
            direction that moves the data as far; in (0, 1), default 0.1.
        confidence: of the bounds that a decision rests on, in (0, 1), default 0.95.

    Raises:
        ValueError: for data that are empty, not finite or do not fit the action; for settings
            that are unknown or out of range; for outputs of another shape, or that do not depend on
            the input; for gradients that are not finite, or differ between forward and reverse
            mode; for fewer rows than directions.
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
    levels = tolerance, confidence
    check_levels(*levels)
    query = Query(
        data=data, action=action, outputs=Outputs(outputs, unit_norm), backend=backend, mode=mode,
        batch_size=batch_size, dtype=dtype, seed=seed, samples=samples, groups=groups,
        control_samples=control_samples, moves=moves, shared=shared, mask=mask,
    )  # fmt: skip
    found = Symmetries.from_query(model, query, *levels, checked=checked)
    if contrast is not None:
        other, name = contrast_of(model, contrast, query), "contrast"
        found.contrast = Symmetries.from_query(other, query, *levels, checked=found, name=name)
    return found


def symmetries_of_gradients(
    x: Tensor,
    gradients: Tensor,
    action: Action,
    *,
    backend: str = "auto",
    batch_size: int = 512,
    control_samples: int | None = None,
    dtype: torch.dtype = torch.float64,
    seed: int = 0,
    groups: Groups | None = None,
    tolerance: float = TOLERANCE,
    confidence: float = CONFIDENCE,
) -> Symmetries:
    """The same from gradients that are at hand, of any function, computed anywhere.

    For networks that are no torch modules, or several that share one expensive input. That the
    gradients are those of the outputs is not checked.

    Args:
        x: (N, ...), the inputs.
        gradients: (N, ...), of one output by the inputs, or (N, C, ...) of several outputs or of
            random combinations of them, each by its own sample's input.
        action: how the algebra moves the inputs.
        backend, batch_size, control_samples, dtype, seed, groups, tolerance, confidence: as for
            :func:`learned_symmetries`.

    Returns:
        The report, without :meth:`Symmetries.controls`. "exact" is within the rounding of the
        numbers handed in.

    Raises:
        ValueError: for gradients that fit the inputs in neither shape, are not finite or all zero;
            and as :func:`learned_symmetries`.
        TypeError: if one of the two is no tensor of floating-point numbers.

    >>> import symscope as ss, torch
    >>> points = torch.randn(500, 3, generator=torch.Generator().manual_seed(0)).double()
    >>> found = ss.symmetries_of_gradients(points, 2 * points, ss.LinearAction(3))  # of |x|^2
    >>> found.count, found.level
    (3, 'exact')
    """
    check_levels(tolerance, confidence)
    for name, value in (("x", x), ("gradients", gradients)):
        if not isinstance(value, Tensor) or not value.is_floating_point():
            came = value.dtype if isinstance(value, Tensor) else type(value).__name__
            raise TypeError(f"{name} must be a tensor of floating-point numbers, got {came}")
    if gradients.shape == x.shape:
        gradients = gradients[:, None]
    if gradients.ndim != x.ndim + 1 or gradients.shape[:1] + gradients.shape[2:] != x.shape:
        raise ValueError(
            f"gradients must be of the inputs' shape {tuple(x.shape)}, or of (N, C, ...) for C "
            f"outputs; got {tuple(gradients.shape)}"
        )
    query = Query(
        data=x, action=action, backend=backend, batch_size=batch_size,
        control_samples=control_samples, dtype=dtype, seed=seed, groups=groups,
    )  # fmt: skip
    extraction = extract_gradients(query, gradients.detach())
    check_rows(extraction.factor)
    return Symmetries.from_extraction(extraction, query, tolerance, confidence)


def symmetries_of_shards(
    model: Callable[[Tensor], Tensor],
    shards: Sequence[Shard],
    *,
    action: Action,
    scheduler: str | None = None,
    **options: Any,
) -> Symmetries:
    """:func:`symscope.learned_symmetries` of data in pieces, each piece on a worker of its own.

    The report is that of all samples on one machine, to rounding; but for the shuffled control,
    which pairs samples within a shard. The order of samples should therefore be random, and each
    shard needs as many rows (samples x outputs) as the action has directions.

    Args:
        model: a torch module or callable; sent with every shard.
        shards: each a file of one tensor (".pt", ".npy" or ".safetensors") that the workers can
            read, a function that returns a tensor or an iterable of batches, or a tensor, which
            is sent.
        action, options: of :func:`symscope.learned_symmetries`.
        scheduler: address of a running Dask scheduler, as "tcp://host:8786", whose workers have
            this symscope; default None, processes on this machine. A script must then call this
            under ``if __name__ == "__main__":``, since the processes import it.

    Returns:
        The report. It can be merged further; ``controls()`` needs data and is not available.

    Raises:
        ValueError: if there are no shards.
        ConnectionError: if the scheduler does not answer within 5 seconds, or is lost.
        Exception: as of :func:`symscope.learned_symmetries` and loading, with a note on the shard.

    >>> import symscope as ss, torch
    >>> shards = list(torch.randn(400, 3, generator=torch.Generator().manual_seed(0)).split(200))
    >>> found = ss.symmetries_of_shards(
    ...     lambda x: x.norm(dim=1), shards, action=ss.LinearAction(3)
    ... )
    >>> found.count, found.factor.samples
    (3, 400)
    """
    inspect.signature(learned_symmetries).bind(model, None, action=action, **options)
    if options.get("groups") is not None:
        raise ValueError(
            "groups are of all samples, of which a shard has some: hand in one iterable of the "
            "shards to learned_symmetries"
        )
    shards = list(shards)
    if not shards:
        raise ValueError("there are no shards: at least one is needed")
    reports: dict[int, Symmetries] = {}

    def finished(place: int, outcome: Any) -> None:
        if isinstance(outcome, BaseException):
            outcome.add_note(f"in shard {place}: {shards[place]!r:.200}")
            raise outcome
        reports[place] = outcome

    common = workers.packed((model, {"action": action, **options}))
    workers.each(_report, common, [(shard,) for shard in shards], finished, scheduler=scheduler)
    # Merged in the order of the shards, so that the report does not depend on who was first.
    return reduce(Symmetries.merge, (reports[place] for place in range(len(shards))))


def _report(question: tuple[Callable, dict[str, Any]], shard: Shard) -> Symmetries:
    """One shard's report, on a worker."""
    held: Any = shard
    if not isinstance(shard, Tensor):
        held = shard() if callable(shard) else load_tensors(shard)
        if not callable(shard) and not isinstance(held, Tensor):
            raise ValueError(f"{shard} must hold one tensor, it holds {len(held)}")
    return learned_symmetries(question[0], held, **question[1])
