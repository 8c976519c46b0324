"""The one loop: batches of data -> rows -> sums, with what they are compared with beside them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain

import torch
from torch import Tensor

from .. import _draws as draws
from .._checks import choice
from ..actions.vectors import Action
from ..inputs.samples import Moves, Name, Parts
from ..inputs.stream import Batch, Stream
from ..kernels import ops
from . import tuned
from .checks import MODES, probe
from .differentiation import Differentiation, Mode
from .evidence import (
    ALIKE,
    COMMON,
    CONTROL,
    NETWORK,
    RANDOM,
    SHUFFLED,
    SHUFFLED_AGAIN,
    Evidence,
    Span,
)
from .factor import FACTOR_DTYPES, Factor
from .modes import running
from .network import Network, Outputs
from .references import CommonMotion, Reference, References, combined_gradients
from .rows import ForwardRows, ReverseRows, Rows

MEMBERS = ("basis", "check", "rows", "flow")  # that every action has
PAIRINGS = (SHUFFLED, SHUFFLED_AGAIN)
PATIENCE = 5.0  # seconds until the bar appears


@dataclass(frozen=True, kw_only=True)
class Query:
    """What is extracted of a network, from which data, and how: all settings, checked.

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
    samples: int | None = None
    control_samples: int | None = None
    moves: Moves | None = None
    shared: tuple[Name, ...] | None = None
    mask: Name | None = None
    groups: Sequence[int] | Tensor | None = None

    def __post_init__(self) -> None:
        ops.check_backend(self.backend)
        choice("mode", self.mode, MODES)
        if self.dtype not in FACTOR_DTYPES:
            raise ValueError(f"dtype must be torch.float64 or torch.float32, got {self.dtype!r}")
        check_action(self.action)
        if self.moves is None and (self.shared is not None or self.mask is not None):
            raise ValueError("shared and mask are for data of several tensors: say moves=, too")
        if self.groups is not None:
            _check_groups(self.groups, self.data, self.samples)

    def stream(self) -> Stream:
        """The data as checked batches."""
        parts = None if self.moves is None else Parts(self.moves, self.shared, self.mask)
        return Stream(
            self.data,
            self.action,
            self.batch_size,
            self.seed,
            samples=self.samples,
            parts=parts,
            control_samples=self.control_samples,
        )


def _check_groups(groups: Sequence[int] | Tensor, data: object, samples: int | None) -> None:
    labels = torch.as_tensor(groups)
    if samples is not None:
        raise ValueError("groups are of all samples: leave samples out, or choose them yourself")
    if labels.ndim != 1 or (isinstance(data, Tensor) and len(labels) != len(data)):
        count = f" ({len(data)},)" if isinstance(data, Tensor) else ""
        raise ValueError(
            f"groups must say of every sample where it belongs,{count}; got {tuple(labels.shape)}"
        )
    runs = int((labels[1:] != labels[:-1]).sum()) + 1
    if runs != len(labels.unique()):
        raise ValueError(
            "samples of one group must stand one after another: sort the data by their groups"
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


class Extraction:
    """What one pass over the data leaves of a group of outputs.

    Attributes:
        factor: of the network polarization matrix.
        shuffled: of the shuffled control.
        evidence: on which a decision rests.
        mode: how derivatives were taken.
    """

    def __init__(self, query: Query, mode: Mode):
        size, self._groups = len(query.action.basis), query.groups
        self.factor, self.shuffled = Factor(size, query.dtype), Factor(size, query.dtype)
        self.evidence, self.mode = Evidence(size, query.dtype), mode

    def intake(self, batch: Batch, reference: Reference | None) -> Intake:
        """Where the rows of a batch go; one without a reference leaves no evidence."""
        labels = None
        if self._groups is not None:
            labels = torch.as_tensor(self._groups[batch.start : batch.start + len(batch.inputs)])
            if len(labels) < len(batch.inputs):
                raise ValueError(
                    f"groups must say of every sample where it belongs: there are "
                    f"{len(self._groups)}, and at least {batch.start + len(batch.inputs)} samples"
                )
        spans = self.evidence.spans(len(batch.inputs), labels) if reference else []
        intake = Intake(self, batch.start, reference, spans)
        if reference:
            self.evidence.eps = max(self.evidence.eps, torch.finfo(batch.inputs.dtype).eps)
            intake.add(RANDOM, reference.random)
            intake.add(COMMON, reference.common)
        return intake


@dataclass(frozen=True)
class Intake:
    """The sums that the rows of one batch are added to."""

    extraction: Extraction
    start: int
    reference: Reference | None
    spans: list[Span]
    _alike: list[Rows] = field(default_factory=list)  # those of the common motion, the last

    def add(self, kind: str, rows: Rows) -> None:
        """Add rows of some of the batch's samples; those of the common motion come first."""
        if kind == ALIKE:
            self._alike[:] = [rows]
            return
        if self.reference and kind == SHUFFLED:
            self._add_to_pieces(CONTROL, rows)
        self._add_to_pieces(kind, rows.less(*self._alike) if kind in PAIRINGS else rows)
        if kind == NETWORK:
            rows.add_to(self.extraction.factor)
        elif kind == SHUFFLED:
            rows.add_to(self.extraction.shuffled)

    def _add_to_pieces(self, kind: str, rows: Rows) -> None:
        if self.reference:
            place = rows.start - self.start
            parts = [
                (max(span.start - place, 0), min(span.stop - place, len(rows)), span.piece)
                for span in self.spans
                if span.start - place < len(rows) and span.stop > place
            ]
            weights = self.reference.weights[SHUFFLED if kind == CONTROL else kind]
            weights = weights[place : place + len(rows)]
            rows.add_to_pieces(
                [(first, last, piece.factors[kind]) for first, last, piece in parts], weights
            )


@dataclass(frozen=True)
class Step:
    """One batch, ready to be taken in.

    Attributes:
        batch: the samples, on the network's device.
        mode: how the network is differentiated.
        references: what each group of outputs is compared with; none where the batch has no
            partners.
        rows: of all kinds, computed as they are iterated.
        rounding: what rounding changes in a few of the network's rows.
    """

    batch: Batch
    mode: Mode
    references: list[Reference]
    rows: Iterator[tuple[str, Rows]]
    rounding: Iterator[Rows]


Plan = Callable[[Differentiation], Differentiation]


def extract(
    network: Network, query: Query, stream: Stream | None = None, plan: Plan | None = None
) -> Extraction:
    """Stream (network, data) into the factor of the network polarization matrix.

    Beside the rows, those of the shuffled control are taken: the same derivatives of the
    network against other samples; and of some batches the evidence for a decision.

    Args:
        network: what is differentiated.
        query: along which action, on which data, how.
        stream: the query's data, where some were read before.
        plan: makes other rows of the network's derivatives; default, their own.

    Raises:
        ValueError: as :func:`symscope.learned_symmetries`.
    """
    found: Extraction | None = None
    with running(network.model):
        for step in steps(network, query, stream or query.stream(), plan):
            found = found or Extraction(query, step.mode)
            intake = found.intake(step.batch, next(iter(step.references), None))
            for kind, rows in step.rows:
                intake.add(kind, rows)
            for rows in step.rounding:
                found.evidence.add_rounding(rows.rows)
    assert found is not None  # an empty stream has been refused
    check_enough(found.factor.rows, found.factor.dimension)
    return found


def steps(
    network: Network,
    query: Query,
    stream: Stream,
    plan: Plan | None = None,
    sizes: Callable[[], list[int]] | None = None,
) -> Iterator[Step]:
    """All rows of a network, batch by batch; the first shows how it can be differentiated.

    ``sizes`` says, once the network was called, how its outputs are grouped; default, all in one.

    Raises:
        ValueError: for data that are empty, or too few for the action.
    """
    how, references, common = None, [], CommonMotion()
    draw = draws.stream(query.seed, "random combinations")
    for batch in with_progress(stream, stream.total):
        device = network.device(batch.inputs.device)
        inputs, others, again = (
            part.detach().to(device) for part in (batch.inputs, batch.others, batch.again)
        )
        batch, network = batch._replace(inputs=inputs), network.at(batch)
        first = how is None
        if how is None:
            network, how = probe(
                network, query.action, inputs, mode=query.mode, backend=query.backend
            )
            how = plan(how) if plan else how
            if stream.total is not None:
                check_enough(stream.total * how.count, len(query.action.basis))
            groups = sizes() if sizes else [how.count]
            references = [References(query.seed) for _ in groups]
        moved = {NETWORK: how.moving(inputs)}
        if not len(others):
            rows = how.rows(network, inputs, moved, batch.start)
            yield Step(batch, how.mode, [], rows, iter(()))
            continue
        moved |= {SHUFFLED: how.moving(others), SHUFFLED_AGAIN: how.moving(again)}
        moved = {kind: samples.prepared() for kind, samples in moved.items()}
        alike = common.of(moved[NETWORK]).prepared()
        moved = {NETWORK: moved.pop(NETWORK), ALIKE: alike, **moved}
        rows = how.rows(network, inputs, moved, batch.start)
        ahead = next(rows)
        pulled = ahead[1].cotangents if isinstance(ahead[1], ReverseRows) else None
        if pulled is not None and [len(inputs), *groups] == list(pulled.shape[:2]):
            gradients = iter([pulled])
        else:
            gradients = combined_gradients(network, how, inputs, groups, draw)
        compared = [
            own.of(each, moved, batch.start)
            for own, each in zip(references, gradients, strict=True)
        ]
        rounding = _rounding(network, how, inputs, batch.start, draw) if first else iter(())
        yield Step(batch, how.mode, compared, chain([ahead], rows), rounding)
    if how is None:
        raise ValueError("data is empty: the iterable yielded no samples")


def _rounding(
    network: Network, how: Differentiation, inputs: Tensor, start: int, draw: torch.Generator
) -> Iterator[Rows]:
    """What the smallest changes of a few samples change in their rows."""
    if how.backend == "triton":  # whose kernels may write no rows
        how = replace(how, backend="auto")
    few = inputs if how.whole else inputs[: tuned.TUNED.nudged]
    noise = torch.randn(few.shape, generator=draw, dtype=torch.float64, device="cpu").to(few.device)
    nudged = (few.double() * (1 + torch.finfo(few.dtype).eps * noise)).to(few.dtype)
    for (_, at), (_, near) in zip(
        how.rows(network, few, {NETWORK: how.moving(few)}, start),
        how.rows(network, nudged, {NETWORK: how.moving(nudged)}, start),
        strict=True,
    ):
        yield ForwardRows(start, at.first, near.rows - at.rows)


def with_progress(batches: Iterable[Batch], total: int | None) -> Iterator[Batch]:
    """The same batches, with a bar of their samples on stderr if they take more than 5 seconds.

    The variable TQDM_DISABLE=1 switches it off, as any bar of tqdm.
    """
    from tqdm import tqdm

    with tqdm(total=total, unit=" samples", delay=PATIENCE, leave=False) as bar:
        for batch in batches:
            yield batch
            bar.update(len(batch.inputs))


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
