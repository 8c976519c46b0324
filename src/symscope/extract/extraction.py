"""The one loop: stream of data -> rows -> factors, with what they are compared with beside them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from itertools import chain
from typing import NamedTuple

import torch
from torch import Tensor

from .. import _draws as draws
from .._checks import choice
from ..actions.linear import Action
from ..decide.rule import CONFIDENCE, TOLERANCE, check_levels
from ..inputs.samples import Moves, Restored
from ..inputs.stream import Stream
from ..kernels import ops
from .blocks import Block, Pulled, Pushed
from .evidence import AGAIN, MOVEMENT, OWN, SHUFFLED, Evidence, Piece
from .factor import FACTOR_DTYPES, Factor
from .modes import device_of
from .outputs import Outputs
from .probe import MODES, probe
from .progress import shown
from .references import Reference, References, combined_gradients
from .rows import Differentiation, Mode
from .running import running

MEMBERS = ("basis", "check", "rows", "flow")  # that every action has
ROUNDING = "rounding"  # the kind of rows that say how much of the others is rounding
NUDGED = 64  # samples that suffice for it


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
    tolerance: float = TOLERANCE
    confidence: float = CONFIDENCE
    samples: int | None = None
    moves: Moves | None = None

    def __post_init__(self) -> None:
        ops.check_backend(self.backend)
        choice("mode", self.mode, MODES)
        check_levels(self.tolerance, self.confidence)
        if self.dtype not in FACTOR_DTYPES:
            raise ValueError(f"dtype must be torch.float64 or torch.float32, got {self.dtype!r}")
        check_action(self.action)

    def stream(self) -> Stream:
        """The data as checked batches."""
        return Stream(self.data, self.action, self.batch_size, self.seed, self.samples, self.moves)

    def factor(self) -> Factor:
        """An empty factor for this action."""
        return Factor(len(self.action.basis), self.dtype)

    def differentiation(
        self, function: Callable[[Tensor], Tensor], inputs: Tensor
    ) -> Differentiation:
        """How a function is differentiated, once two samples have shown that it can be."""
        return probe(
            function, self.action, self.outputs, inputs, mode=self.mode, backend=self.backend
        )


def check_action(action: object, name: str = "action") -> None:
    """Refuse what is no action.

    Raises:
        TypeError: naming the members that are missing.
    """
    missing = [member for member in MEMBERS if not hasattr(action, member)]
    if missing:
        raise TypeError(
            f"{name} must be an object like LinearAction(5) or PlaneAction('gl2'); "
            f"{action!r} has no {', '.join(missing)}"
        )


class Pass(NamedTuple):
    """One batch on its way.

    Attributes:
        mode: how it is differentiated.
        inputs: the samples.
        start: the place of the first in the user's data.
        references: what each group of outputs is compared with; none where the batch has no
            partners.
        blocks: its rows of all kinds, each to be used before the next is asked for.
    """

    mode: Mode
    inputs: Tensor
    start: int
    references: list[Reference]
    blocks: Iterator[tuple[str, Block]]


class Extraction:
    """What one pass over the data leaves of a group of outputs.

    Attributes:
        factor: of the network polarization matrix.
        shuffled: of the shuffled control.
        evidence: on which a decision rests.
        mode: how derivatives were taken.
    """

    def __init__(self, search: Search, mode: Mode):
        self.factor, self.shuffled, self.mode = search.factor(), search.factor(), mode
        self.evidence = Evidence(len(search.action.basis), search.dtype)
        self._spans: list[tuple[int, int, Piece]] = []

    def begin(self, batch: Pass, reference: Reference | None) -> None:
        """Make ready for the rows of a batch."""
        self._start, self._reference = batch.start, reference
        if reference:
            self._spans = self.evidence.room(len(batch.inputs))
            eps = torch.finfo(batch.inputs.dtype).eps
            self.evidence.eps = max(self.evidence.eps, eps)
            self.take(MOVEMENT, reference.movement)

    def take(self, kind: str, block: Block) -> None:
        """Take in rows of the batch that was begun."""
        if kind == ROUNDING:
            self.evidence.rounding.update(_without_outliers(block.rows))
            return
        if self._reference:
            place = block.start - self._start
            ends = ((first - place, last - place, piece) for first, last, piece in self._spans)
            parts = [
                (max(first, 0), min(last, len(block)), piece.factors[kind])
                for first, last, piece in ends
                if first < len(block) and last > 0
            ]
            block.share(parts, self._reference.weights[kind][place : place + len(block)])
        if kind in (OWN, SHUFFLED):
            block.into(self.factor if kind == OWN else self.shuffled)


def extract(model: Callable[[Tensor], Tensor], search: Search) -> Extraction:
    """Stream (network, data) into the factor of the network polarization matrix.

    Beside the rows, those of the shuffled control are taken: the same derivatives of the
    network against other samples; and of some batches the evidence for a decision.
    """
    function = model if search.moves is None or not callable(model) else Restored(model)
    found = gather(model, function, search)
    check_rows(found.factor)
    return found


def gather(network: object, function: Callable[[Tensor], Tensor], search: Search) -> Extraction:
    """All rows of a function of a network in one extraction, whatever they are."""
    if not callable(network):
        raise TypeError(f"model must be callable, got {type(network).__name__}")
    found: Extraction | None = None
    with running(network):
        for batch in passes(network, function, search):
            found = found or Extraction(search, batch.mode)
            found.begin(batch, next(iter(batch.references), None))
            for kind, block in batch.blocks:
                found.take(kind, block)
                del block
    assert found is not None  # an empty stream has been refused
    check_enough(found.factor.rows, found.factor.dimension)
    return found


def passes(
    network: object,
    function: Callable[[Tensor], Tensor],
    search: Search,
    sizes: Callable[[], list[int]] | None = None,
) -> Iterator[Pass]:
    """All rows of a function of a network, batch by batch.

    ``network`` says on which device the function computes; the two are mostly one. ``sizes``
    says, once the function was called, how its outputs are grouped; default, all in one.

    Raises:
        ValueError: for data that are empty, or too few for the action.
    """
    stream, differentiation, references = search.stream(), None, []
    draw = draws.stream(search.seed, "random combinations")
    for batch in shown(stream, stream.total):
        device = device_of(network, batch.inputs.device)
        inputs, others, again = (
            part.detach().to(device) for part in (batch.inputs, batch.others, batch.again)
        )
        if isinstance(function, Restored) and batch.samples is not None:
            function.beside(batch.samples, device)
        first = differentiation is None
        if differentiation is None:
            differentiation = search.differentiation(function, inputs)
            if stream.total is not None:
                check_enough(stream.total * differentiation.count, len(search.action.basis))
            groups = sizes() if sizes else [differentiation.count]
            references = [References(search.seed) for _ in groups]
        moved = {OWN: differentiation.moving(inputs)}
        if not len(others):
            blocks = differentiation.blocks(inputs, moved, batch.start)
            yield Pass(differentiation.mode, inputs, batch.start, [], blocks)
            continue
        moved |= {SHUFFLED: differentiation.moving(others), AGAIN: differentiation.moving(again)}
        for samples in moved.values():
            samples.prepare()
        blocks = differentiation.blocks(inputs, moved, batch.start)
        ahead = next(blocks)
        pulled = ahead[1].cotangents if isinstance(ahead[1], Pulled) else None
        if pulled is not None and [len(inputs), *groups] == list(pulled.shape[:2]):
            gradients = iter([pulled])
        else:
            gradients = combined_gradients(differentiation, inputs, groups, draw)
        held = [
            own.of(each, moved, batch.start)
            for own, each in zip(references, gradients, strict=True)
        ]
        more = _rounding(differentiation, inputs, batch.start, draw) if first else ()
        yield Pass(differentiation.mode, inputs, batch.start, held, chain([ahead], blocks, more))
    if differentiation is None:
        raise ValueError("data is empty: the iterable yielded no samples")


def _rounding(
    differentiation: Differentiation, inputs: Tensor, start: int, draw: torch.Generator
) -> Iterator[tuple[str, Block]]:
    """What the smallest changes of a few samples change in their rows."""
    if differentiation.backend == "triton":  # whose kernels may write no rows
        differentiation = replace(differentiation, backend="auto")
    few = inputs if differentiation.whole else inputs[:NUDGED]
    noise = torch.randn(few.shape, generator=draw, dtype=torch.float64, device="cpu").to(few.device)
    nudged = (few.double() * (1 + torch.finfo(few.dtype).eps * noise)).to(few.dtype)
    for (_, at), (_, near) in zip(
        differentiation.blocks(few, {OWN: differentiation.moving(few)}, start),
        differentiation.blocks(nudged, {OWN: differentiation.moving(nudged)}, start),
        strict=True,
    ):
        yield ROUNDING, Pushed(start, at.first, near.rows - at.rows)


def _without_outliers(rows: Tensor) -> Tensor:
    """Rows cut down to three times their median length: a kink between two samples is no noise."""
    lengths = rows.double().norm(dim=2, keepdim=True)
    limit = 3 * lengths.median()
    return rows * torch.where(lengths > limit, limit / lengths, 1.0).to(rows)


def check_rows(factor: Factor, where: str = "every output") -> None:
    """Refuse a factor from which nothing could be concluded.

    Raises:
        ValueError: for fewer rows than directions, or rows that are all zero.
    """
    check_enough(factor.rows, factor.dimension)
    if not factor.is_finite():
        raise ValueError(
            f"the squares of the derivatives of {where} are too large for float64: rescale the "
            "data or the outputs"
        )
    if factor.is_zero():
        raise ValueError(
            f"the derivative of {where} along every direction is exactly zero on these data: "
            "it does not depend on the model's input, or is computed from rounded input, or the "
            "data do not move under the action (blank images, zero vectors)"
        )


def check_enough(rows: int, dimension: int) -> None:
    """Refuse fewer rows than directions.

    Raises:
        ValueError: saying how many there are of both.
    """
    if rows < dimension:
        raise ValueError(
            f"data give {rows} rows (samples x outputs), fewer than the {dimension} directions of "
            "the action: every null direction would look like a symmetry; use more samples"
        )
