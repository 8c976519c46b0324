"""The symmetries of a network on data in pieces: a factor a piece, on many workers, merged."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Sequence
from functools import reduce
from pathlib import Path
from typing import Any

from torch import Tensor

from ..actions.vectors import Action
from ..inputs.files import load_tensors
from ..runs import workers
from .query import learned_symmetries
from .symmetries import Symmetries

Shard = Tensor | str | Path | Callable[[], Tensor | Iterable]


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
        action: how the algebra moves the data.
        scheduler: address of a running Dask scheduler, as "tcp://host:8786", whose workers have
            this symscope; default None, processes on this machine. A script must then call this
            under ``if __name__ == "__main__":``, since the processes import it.
        options: further arguments of :func:`symscope.learned_symmetries`.

    Returns:
        The report. It can be merged further; ``controls()`` needs data and is not available.

    Raises:
        ValueError: if there are no shards.
        ConnectionError: if the scheduler does not answer within 5 seconds, or is lost.
        Exception: what :func:`symscope.learned_symmetries` or loading raises, with a note that
            says for which shard.

    >>> import symscope as ss, torch
    >>> shards = list(torch.randn(400, 3, generator=torch.Generator().manual_seed(0)).split(200))
    >>> found = ss.symmetries_of_shards(
    ...     lambda x: x.norm(dim=1), shards, action=ss.LinearAction(3)
    ... )
    >>> found.count, found.factor.samples
    (3, 400)
    """
    inspect.signature(learned_symmetries).bind(model, None, action=action, **options)
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
    model, options = question
    return learned_symmetries(model, _loaded(shard), **options)


def _loaded(shard: Shard) -> Tensor | Iterable:
    if isinstance(shard, Tensor):
        return shard
    if callable(shard):
        return shard()
    held = load_tensors(shard)
    if not isinstance(held, Tensor):
        raise ValueError(f"{shard} must hold one tensor, it holds {len(held)}")
    return held
