"""The one loop: stream of data -> rows -> factors, with the shuffled control's beside them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor

from .._checks import choice
from ..kernels import ops
from ..networks.modes import device_of, evaluation_mode
from .actions import Action
from .factor import FACTOR_DTYPES, Factor
from .probe import MODES, probe
from .rows import Block, Mode, Outputs
from .stream import Stream

MEMBERS = ("basis", "check", "rows", "flow")  # that every action has


@dataclass(frozen=True)
class Search:
    """The question that a report answers: all its settings, checked, so that they travel as one.

    See :func:`symscope.learned_symmetries` for what each means and what is raised.
    """

    data: Tensor | Iterable
    action: Action
    outputs: Outputs = field(default_factory=Outputs)
    backend: str = "auto"
    mode: str = "auto"
    batch_size: int = 512
    dtype: torch.dtype = torch.float64
    seed: int = 0

    def __post_init__(self) -> None:
        ops.check_backend(self.backend)
        choice("mode", self.mode, MODES)
        if self.dtype not in FACTOR_DTYPES:
            raise ValueError(f"dtype must be torch.float64 or torch.float32, got {self.dtype!r}")
        missing = [name for name in MEMBERS if not hasattr(self.action, name)]
        if missing:
            raise TypeError(
                "action must be an object like LinearAction(5) or PlaneAction('gl2'); "
                f"{self.action!r} has no {', '.join(missing)}"
            )

    def stream(self) -> Stream:
        """The data as checked batches."""
        return Stream(self.data, self.action, self.batch_size, self.seed)

    def factor(self) -> Factor:
        """An empty factor for this action."""
        return Factor(len(self.action.basis), self.dtype)


class Extraction(NamedTuple):
    """What one pass over the data leaves: the factor, the shuffled control's, and the mode."""

    factor: Factor
    shuffled: Factor
    mode: Mode


def extract(model: Callable[[Tensor], Tensor], search: Search) -> Extraction:
    """Stream (network, data) into the factor of the network polarization matrix.

    Beside the rows, those of the shuffled control are taken: the same derivatives of the
    network against other samples.
    """
    if not callable(model):
        raise TypeError(f"model must be callable, got {type(model).__name__}")
    factor, shuffled, modes = search.factor(), search.factor(), set()
    with evaluation_mode(model):
        for mode, control, block in blocks(model, model, search):
            block.into(shuffled if control else factor)
            modes.add(mode)
    check_rows(factor)
    return Extraction(factor, shuffled, modes.pop())


def blocks(
    network: object, function: Callable[[Tensor], Tensor], search: Search
) -> Iterator[tuple[Mode, bool, Block]]:
    """All rows of a function of a network: the mode, whether of the control, and the block.

    ``network`` says on which device the function computes; the two are mostly one.

    Raises:
        ValueError: for data that are empty, or too few for the action.
    """
    stream, differentiation = search.stream(), None
    for batch in stream:
        device = device_of(network, batch.inputs.device)
        inputs, others = batch.inputs.detach().to(device), batch.others.detach().to(device)
        if differentiation is None:
            differentiation = probe(
                function,
                search.action,
                search.outputs,
                inputs,
                mode=search.mode,
                backend=search.backend,
            )
            if stream.total is not None:
                _enough(stream.total * differentiation.count, len(search.action.basis))
        for control, block in differentiation.blocks(inputs, others, batch.start):
            yield differentiation.mode, control, block
    if differentiation is None:
        raise ValueError("data is empty: the iterable yielded no samples")


def check_rows(factor: Factor, where: str = "every output") -> None:
    """Refuse a factor from which nothing could be concluded.

    Raises:
        ValueError: for fewer rows than directions, or rows that are all zero.
    """
    _enough(factor.rows, factor.dimension)
    if factor.is_zero():
        raise ValueError(
            f"the derivative of {where} along every direction is exactly zero on these data: "
            "it does not depend on the model's input, or the data do not move under the "
            "action (blank images, zero vectors)"
        )


def _enough(rows: int, dimension: int) -> None:
    if rows < dimension:
        raise ValueError(
            f"data give {rows} rows (samples x outputs), fewer than the {dimension} directions of "
            "the action: every null direction would look like a symmetry; use more samples"
        )
