"""What a decision on symmetries rests on: rows of several kinds in pieces of the data, mergeable.

A direction is a symmetry if the outputs change along it much less than along an unrelated one that
moves the data as far. So beside a network's own rows stand those of the shuffled pairing (its
gradients at other samples), of a second one, and of movement alone (random gradients of the same
length). Where all samples move alike, as in a shift, every pairing is the network's own: so the
common motion is taken out of these, and stands against random gradients by itself.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from . import tuned
from .factor import Factor

if TYPE_CHECKING:
    from jaxtyping import Float

KINDS = NETWORK, SHUFFLED, SHUFFLED_AGAIN, RANDOM, COMMON, MOVED, CONTROL = (
    "network",
    "shuffled",  # without the common motion, as the next two
    "shuffled_again",
    "random",
    "common",  # random gradients along it
    "moved",  # random gradients with the common motion: zero where the data do not move
    "control",  # the shuffled pairing with it, which the shuffled report is of
)
ALIKE = "alike"  # the network's gradients along the common motion, which are taken from others


@dataclass
class Piece:
    """Sums over consecutive samples: how many, and a factor for each kind of rows."""

    samples: int
    factors: dict[str, Factor]
    units: int = 0  # samples that do not depend on each other: one of each group

    def merge(self, other: Piece) -> Piece:
        """The sums over both."""
        factors = {kind: own.merge(other.factors[kind]) for kind, own in self.factors.items()}
        return Piece(self.samples + other.samples, factors, self.units + other.units)


class Span(NamedTuple):
    """Samples of a batch, from ``start`` to ``stop``, and the piece that they belong to."""

    start: int
    stop: int
    piece: Piece


@dataclass
class Evidence:
    """Rows of all kinds in pieces of the data, and what rounding leaves of them.

    Pieces are consecutive in the data, so that samples that depend on each other (a trajectory's)
    stay together; those of one group do so in whichever order they come. Where more come than are
    held, neighbours are merged.
    """

    dimension: int  # K, the number of directions
    dtype: torch.dtype = torch.float64  # of the factors
    pieces: list[Piece] = field(default_factory=list)  # in the order of the data
    size: int = 0  # units of a piece, once the first batch has come
    copies: int = 0  # of samples that had come before
    eps: float = torch.finfo(torch.float64).eps  # of the coarsest numbers that rows came in
    still: int = 0  # samples at which no output changes, which tell no direction from another

    def __post_init__(self) -> None:
        # Of what rounding changes in a few of the network's own rows.
        self.rounding = Factor(self.dimension, self.dtype)
        self._where: dict[int, int] = {}  # the place of each group's piece
        limits = tuned.TUNED
        few = self.dimension > limits.many_directions
        # So many pieces suffice; up to twice as many are held.
        self.most = limits.few_pieces if few else limits.pieces

    @property
    def samples(self) -> int:
        """Samples that were taken into account."""
        return sum(piece.samples for piece in self.pieces)

    @property
    def units(self) -> int:
        """Samples that do not depend on each other: one of a group or alike, and none too still."""
        return min(sum(piece.units for piece in self.pieces), self.samples - self.still)

    @property
    def rows(self) -> int:
        """The network's own rows among them: samples times outputs."""
        return sum(piece.factors[NETWORK].rows for piece in self.pieces)

    def spans(self, samples: int, labels: Tensor | None = None, copies: int = 0) -> list[Span]:
        """Where the rows of the next samples go: which of them to which piece.

        ``labels`` say which samples belong together, and stay in one piece; ``copies`` are those
        of samples that had come before.
        """
        self.copies += copies
        runs: list[tuple[int | None, int]] = [(None, samples)]
        if labels is not None:
            names, counts = torch.unique_consecutive(labels, return_counts=True)
            runs = list(zip(names.tolist(), counts.tolist(), strict=True))
        units = samples if labels is None else len(labels.unique())
        self.size = self.size or math.ceil(units / self.most)
        self._shrink()
        spans: list[Span] = []
        start = 0
        for label, count in runs:
            last = start + count
            while start < last:
                stop, piece = last, self._piece(label)
                if label is None:
                    stop = min(last, start + self.size - piece.units)
                    piece.units += stop - start
                piece.samples += stop - start
                if spans and spans[-1].piece is piece:
                    spans[-1] = spans[-1]._replace(stop=stop)
                else:
                    spans.append(Span(start, stop, piece))
                start = stop
        return spans

    def _piece(self, label: int | None) -> Piece:
        """The piece that the next samples go to: their group's, or the last if it is not full."""
        if label in self._where:
            return self.pieces[self._where[label]]
        if not self.pieces or self.pieces[-1].units >= self.size:
            factors = {kind: Factor(self.dimension, self.dtype) for kind in KINDS}
            self.pieces.append(Piece(0, factors))
        if label is not None:
            self._where[label] = len(self.pieces) - 1
            self.pieces[-1].units += 1
        return self.pieces[-1]

    def add_rounding(self, rows: Float[Tensor, "n c k"]) -> None:
        """Add what rounding changes in some rows; a kink between two samples is no noise."""
        lengths = rows.double().norm(dim=2, keepdim=True)
        alive = lengths[lengths > 0]
        limit = 3 * alive.median() if len(alive) else 0.0  # to which longer ones are cut down
        self.rounding.update(rows * torch.where(lengths > limit, limit / lengths, 1.0).to(rows))

    def _shrink(self) -> None:
        while len(self.pieces) >= 2 * self.most:
            pairs = [self.pieces[i : i + 2] for i in range(0, len(self.pieces), 2)]
            self.pieces = [p[0].merge(p[1]) if len(p) == 2 else p[0] for p in pairs]
            self._where = {label: place // 2 for label, place in self._where.items()}
            self.size *= 2

    def merge(self, other: Evidence) -> Evidence:
        """The evidence of both streams; neighbouring pieces are merged where they are many."""
        merged = Evidence(self.dimension, self.dtype)
        merged.rounding = self.rounding.merge(other.rounding)
        merged.pieces = [*self.pieces, *other.pieces]
        merged.size = max(self.size, other.size)
        merged.copies, merged.still = self.copies + other.copies, self.still + other.still
        merged.eps = max(self.eps, other.eps)
        merged._shrink()
        return merged

    def of_shuffled(self) -> Evidence:
        """The same of the shuffled pairing: the second one is its control."""
        counted = self.size, self.copies, self.eps, self.still
        turned = Evidence(self.dimension, self.dtype, [], *counted)
        turned.rounding = self.rounding
        for piece in self.pieces:
            factors = {kind: piece.factors[kind] for kind in (RANDOM, COMMON, MOVED)}
            factors[NETWORK] = piece.factors[CONTROL]
            factors[SHUFFLED] = piece.factors[SHUFFLED_AGAIN]
            turned.pieces.append(Piece(piece.samples, factors, piece.units))
        return turned
