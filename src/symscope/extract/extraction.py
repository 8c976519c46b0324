"""The one loop: batches of data -> rows -> sums, with what they are compared with beside them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from itertools import chain
from typing import Any, TypedDict

import torch
from torch import Tensor

from .. import _draws as draws
from .._checks import choice
from ..actions.vectors import Action
from ..inputs.samples import Moves, Name, Parts
from ..inputs.stream import ITEMS, Batch, Groups, Stream
from ..kernels import ops
from . import tuned
from .checks import MODES, probe
from .differentiation import Differentiation, Mode
from .evidence import (
    ALIKE,
    COMMON,
    CONTROL,
    MOVED,
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
from .rows import ForwardRows, Moving, ReverseRows, Rows

MEMBERS = ("basis", "check", "rows", "flow")  # that every action has
PAIRINGS = (SHUFFLED, SHUFFLED_AGAIN)
PATIENCE = 2.0  # seconds until the bar appears


class Settings(TypedDict, total=False):
    """Arguments that queries of all kinds share, with the defaults of :class:`Query`.

    What each means is said once, at :func:`symscope.learned_symmetries`.
    """

    moves: Moves | None
    shared: tuple[Name, ...] | None
    mask: Name | None
    mode: str
    batch_size: int
    samples: int | None
    control_samples: int | None
    dtype: torch.dtype
    seed: int
    groups: Groups | None


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
    groups: Groups | None = None

    def __post_init__(self) -> None:
        ops.check_backend(self.backend)
        choice("mode", self.mode, MODES)
        if self.dtype not in FACTOR_DTYPES:
            raise ValueError(f"dtype must be torch.float64 or torch.float32, got {self.dtype!r}")
        check_action(self.action)
        if self.moves is None and (self.shared is not None or self.mask is not None):
            raise ValueError("shared and mask are for data of several tensors: say moves=, too")

    @classmethod
    def of(cls, data: Tensor | Iterable, action: Action, settings: Settings, **own: Any) -> Query:
        """A query with settings of a call's caller; TypeError for what is none of these."""
        if unknown := sorted(settings.keys() - Settings.__annotations__.keys()):
            known = ", ".join(Settings.__annotations__)
            raise TypeError(f"there is no argument {unknown[0]!r}: settings are {known}")
        return cls(data=data, action=action, **settings, **own)

    def combinations(self, samples: int | None) -> int:
        """How many random combinations of the outputs a sample serve as well as all of them."""
        limits = tuned.TUNED
        if samples is None:
            return limits.combinations
        rows = limits.rows_a_direction * len(self.action.basis)
        return min(max(2, math.ceil(rows / samples)), limits.most_combinations)

    def stream(self) -> Stream:
        """The data as checked batches."""
        parts = None if self.moves is None else Parts(self.moves, self.shared, self.mask)
        sizes = self.samples, parts, self.control_samples, self.groups
        return Stream(self.data, self.action, self.batch_size, self.seed, *sizes)


def check_action(action: object, name: str = "action") -> None:
    """Raise TypeError for what is no action, naming the members that are missing."""
    missing = [member for member in MEMBERS if not hasattr(action, member)]
    if missing:
        raise TypeError(
            f"{name} must be an object like LinearAction(5) or PlaneAction('gl2'); "
            f"{action!r} has no {', '.join(missing)}"
        )


class Extraction:
    """What one pass over the data leaves of a group of outputs.

    The ``factor`` of the network polarization matrix, that of the ``shuffled`` control, the
    ``evidence`` on which a decision rests, and ``how`` derivatives were taken.
    """

    def __init__(self, query: Query, how: Differentiation):
        size = len(query.action.basis)
        self.factor, self.shuffled = Factor(size, query.dtype), Factor(size, query.dtype)
        self.evidence, self.how = Evidence(size, query.dtype), how

    def intake(self, batch: Batch, reference: Reference | None) -> Intake:
        """Where the rows of a batch go; one without a reference leaves no evidence."""
        if not reference:
            return Intake(self, batch.start, None, [])
        held = self.evidence
        spans = held.spans(len(batch.inputs), batch.labels, batch.copies)
        intake = Intake(self, batch.start, reference, spans)
        held.eps = max(held.eps, torch.finfo(batch.inputs.dtype).eps, reference.eps)
        held.still += reference.still
        intake.add(MOVED, reference.moved)
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
        if kind == SHUFFLED:
            self._add_to_pieces(CONTROL, rows)
        if self.reference:
            self._add_to_pieces(kind, rows.less(*self._alike) if kind in PAIRINGS else rows)
        if kind == NETWORK:
            rows.add_to(self.extraction.factor)
        elif kind == SHUFFLED:
            rows.add_to(self.extraction.shuffled)

    def _add_to_pieces(self, kind: str, rows: Rows) -> None:
        if not self.reference:
            return
        place, count = rows.start - self.start, len(rows)
        parts = [
            (max(start - place, 0), min(stop - place, count), piece.factors[kind])
            for start, stop, piece in self.spans
            if start - place < count and stop > place
        ]
        weights = self.reference.weights[SHUFFLED if kind == CONTROL else kind]
        rows.add_to_pieces(parts, weights[place : place + count])


@dataclass(frozen=True)
class Step:
    """Some samples of a batch, ready to be taken in."""

    batch: Batch  # the samples, on the network's device
    how: Differentiation  # the derivatives are taken
    # What each group of outputs is compared with; none where the batch has no partners.
    references: list[Reference]
    rows: Iterator[tuple[str, Rows]]  # of all kinds, computed as they are iterated
    rounding: Iterator[Rows]  # what rounding changes in a few of the network's rows


Plan = Callable[[Differentiation], Differentiation]


def extract(
    network: Network,
    query: Query,
    stream: Stream | None = None,
    plan: Plan | None = None,
    checked: Differentiation | None = None,
) -> Extraction:
    """Stream (network, data) into the factor of the network polarization matrix.

    Beside the rows, those of the shuffled control are taken: the same derivatives of the
    network against other samples; and of some batches the evidence for a decision. The ``stream``
    of the query's data is handed in where some were read before; ``plan`` makes other rows of the
    network's derivatives; ``checked`` is how a network of its architecture was differentiated.
    """
    with running(network.model):
        stream = stream or query.stream()
        return _collected(query, steps(network, query, stream, plan, checked=checked))


def extract_gradients(query: Query, gradients: Tensor) -> Extraction:
    """The same of gradients (N, C, ...) that are at hand, at the query's data, one tensor.

    Of rounding no more is known than that of the numbers handed in.
    """
    mode = Mode("gradients", "handed in")
    how = Differentiation(query.action, query.backend, mode, gradients.shape[1], whole=True)
    return _collected(query, _steps_of_gradients(query, gradients, how))


def _collected(query: Query, some: Iterable[Step]) -> Extraction:
    """The sums over all steps."""
    found: Extraction | None = None
    for step in some:
        found = found or Extraction(query, step.how)
        intake = found.intake(step.batch, next(iter(step.references), None))
        for kind, rows in step.rows:
            intake.add(kind, rows)
        for rows in step.rounding:
            found.evidence.add_rounding(rows.rows)
    assert found is not None  # an empty stream has been refused
    check_enough(found.factor.rows, found.factor.dimension)
    return found


def _steps_of_gradients(query: Query, gradients: Tensor, how: Differentiation) -> Iterator[Step]:
    stream, references, common = query.stream(), References(query.seed), CommonMotion()
    draw = draws.stream(query.seed, "rounding of gradients")
    bar = Progress(stream, stream.total)
    for batch in bar:
        own = gradients[batch.start : batch.start + len(batch.inputs)].to(batch.inputs.device)
        moved = _moved(how, batch, common)
        rows = [(kind, ReverseRows(batch.start, 0, x, own)) for kind, x in moved.items()]
        compared, rounding = [], []
        if len(batch.others):
            compared = [references.of(own, moved, batch.start)]
            if not batch.start:
                at = rows[0][1].head(tuned.TUNED.nudged)
                slopes = _nudged(own[: len(at)], draw)
                near = how.moving(_nudged(batch.inputs[: len(at)], draw)).rows(slopes)
                rounding = [ForwardRows(0, 0, near - at.rows)]
        yield Step(batch, how, compared, iter(rows), iter(rounding))
        bar.tick(len(batch.inputs))


def steps(
    network: Network,
    query: Query,
    stream: Stream,
    plan: Plan | None = None,
    sizes: Callable[[], list[int]] | None = None,
    checked: Differentiation | None = None,
) -> Iterator[Step]:
    """All rows of a network, some samples after another; the first show how it is differentiated.

    ``sizes`` says, once the network was called, how its outputs are grouped; default, all in one.
    """
    how, references, common = None, [], CommonMotion()
    draw = draws.stream(query.seed, "random combinations")
    bar = Progress(stream, stream.total, network.name)
    network = replace(network, tick=bar.tick)
    for whole in bar:
        batch, network = whole.to(network.device(whole.inputs.device)), network.at(whole)
        rounding = how is None
        if how is None:
            bar.say("checks")
            several = 0 if plan or sizes else query.combinations(stream.total)
            asked = query.mode, query.backend, several, query.seed, checked
            try:
                network, how = probe(network, query.action, batch.inputs, *asked)
            except RuntimeError as fault:
                if not isinstance(query.data, (list, tuple)):
                    raise
                raise RuntimeError(f"{fault}; {ITEMS}") from fault
            if how.combinations:
                number = (stream.total or 1) * how.combinations
                error = f"{0.5 * (len(query.action.basis) / number) ** 0.5:.2g}"
                known = f"about {error}" if stream.total else f"{error} / sqrt(samples)"
                reason = f"{how.mode.reason}: rho is known to {known}"
                how = replace(how, mode=how.mode._replace(reason=reason))
            how = plan(how) if plan else how
            if stream.total is not None:
                check_enough(stream.total * how.number, len(query.action.basis))
            groups = sizes() if sizes else [how.count]
            references = [References(query.seed) for _ in groups]
            bar.say("derivatives")
        for part, own in how.divided(batch, network):
            moved = _moved(how, part, common)
            rows = how.rows(own, part.inputs, moved, part.start)
            if not len(part.others):
                yield Step(part, how, [], rows, iter(()))
                bar.tick(len(part.inputs))
                continue
            kind, ahead = next(rows)
            if isinstance(ahead, ReverseRows) and len(groups) == 1 and ahead.outputs == how.number:
                gradients = iter([ahead.cotangents])
            else:
                gradients = combined_gradients(own, how, part.inputs, groups, draw)
            compared = [
                each.of(slopes, moved, part.start)
                for each, slopes in zip(references, gradients, strict=True)
            ]
            nudged = _rounding(own, how, part, ahead, draw) if rounding else iter(())
            rounding = False
            yield Step(part, how, compared, chain([(kind, ahead)], rows), nudged)
            bar.tick(len(part.inputs))
    if how is None:
        raise ValueError("data is empty: the iterable yielded no samples")


def _moved(how: Differentiation, batch: Batch, common: CommonMotion) -> dict[str, Moving]:
    """A batch's samples, how they move alike, and others in their place, by the kind of rows."""
    moved = {NETWORK: how.moving(batch.inputs)}
    if len(batch.others):
        moved[NETWORK].prepared()
        moved[ALIKE] = common.of(moved[NETWORK], batch.samples and batch.samples.kind).prepared()
        moved[SHUFFLED] = how.moving(batch.others).prepared()
        moved[SHUFFLED_AGAIN] = how.moving(batch.again).prepared()
    return moved


def _rounding(
    network: Network, how: Differentiation, batch: Batch, ahead: Rows, draw: torch.Generator
) -> Iterator[Rows]:
    """What the smallest changes of a few samples change in their rows."""
    known = how.backend == "auto" and ahead.outputs == how.number
    if how.backend == "triton":  # whose kernels may write no rows
        how = replace(how, backend="auto")
    limits = tuned.TUNED
    number = limits.nudged_if_slow if how.held > limits.slow_bytes else limits.nudged
    few = batch.inputs if how.whole else batch.inputs[:number]
    first = (
        iter([ahead.head(len(few))])
        if known and len(ahead) >= len(few)
        else (rows for _, rows in how.rows(network, few, {NETWORK: how.moving(few)}, batch.start))
    )
    near = _nudged(few, draw)
    for at, (kind, moved) in zip(
        first, how.rows(network, near, {NETWORK: how.moving(near)}, batch.start), strict=True
    ):
        assert kind == NETWORK
        yield ForwardRows(batch.start, at.first, moved.rows - at.rows)


def _nudged(values: Tensor, draw: torch.Generator) -> Tensor:
    """Numbers changed by as much as they are rounded."""
    noise = torch.randn(values.shape, generator=draw, dtype=torch.float64, device="cpu")
    noise = 1 + torch.finfo(values.dtype).eps * noise.to(values.device)
    return (values.double() * noise).to(values.dtype)


class Progress:
    """Batches, with a bar on stderr if they take more than 2 seconds: checks, then samples.

    The variable TQDM_DISABLE=1 switches it off, as any bar of tqdm.
    """

    def __init__(self, batches: Iterable[Batch], total: int | None, name: str = ""):
        from tqdm import tqdm

        self._batches, self._name = batches, f"{name}: " if name else ""
        settings = {"unit": " samples", "delay": PATIENCE, "leave": False, "miniters": 0}
        self._bar = tqdm(total=total, **settings)

    def __iter__(self) -> Iterator[Batch]:
        with self._bar:
            yield from self._batches

    def say(self, what: str) -> None:
        """What is being done."""
        self._bar.set_description_str(self._name + what, refresh=False)

    def tick(self, samples: int = 0) -> None:
        """So many more are done; of none, that time has passed."""
        self._bar.update(samples)


def check_rows(factor: Factor, where: str = "every output") -> None:
    """Raise ValueError for a factor from which nothing could be concluded."""
    check_enough(factor.rows, factor.dimension)
    largest = factor.largest()
    if not math.isfinite(largest):
        raise ValueError(
            f"the squares of the derivatives of {where} are too large for float64: rescale the "
            "data or the outputs"
        )
    if not largest:
        raise ValueError(
            f"the derivative of {where} along every direction is exactly zero on these data: "
            "it does not depend on the model's input, or is computed from rounded input, or the "
            "data do not move under the action (blank images, zero vectors)"
        )


def check_enough(rows: int, dimension: int) -> None:
    """Raise ValueError for fewer rows than directions."""
    if rows < dimension:
        raise ValueError(
            f"data give {rows} rows (samples x outputs), fewer than the {dimension} directions of "
            "the action: every null direction would look like a symmetry; use more samples"
        )
