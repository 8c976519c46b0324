"""What a decision on symmetries rests on: rows of four kinds in pieces of the data, mergeable.

A direction is a symmetry if the outputs change along it much less than along an unrelated
direction that moves the data as far. So beside a network's own rows stand those of the shuffled
pairing (its gradients at other samples), of a second one, and of movement alone (random
gradients of the same length). Each is summed within pieces of the data, from whose spread an
interval follows.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import torch

from .factor import Factor

OWN, SHUFFLED, AGAIN, MOVEMENT = KINDS = ("own", "shuffled", "again", "movement")
# Pieces of the data: enough for an interval. Of many directions fewer, since each piece holds a
# matrix of directions by directions for every kind of rows.
PIECES, FEW_PIECES, MANY_DIRECTIONS = 32, 8, 200


@dataclass
class Piece:
    """Sums over consecutive samples: how many, and a factor for each kind of rows."""

    samples: int
    factors: dict[str, Factor]

    def merge(self, other: Piece) -> Piece:
        """The sums over both."""
        factors = {kind: self.factors[kind].merge(other.factors[kind]) for kind in self.factors}
        return Piece(self.samples + other.samples, factors)


@dataclass
class Evidence:
    """Rows of all kinds in pieces of the data, and what rounding leaves of them.

    Pieces are consecutive in the data, so that samples that belong together (a trajectory's)
    stay together. Where more come than are held, neighbours are merged.

    Args:
        dimension: K, the number of directions.
        dtype: of the factors.

    Attributes:
        pieces: in the order of the data.
        rounding: the factor of what rounding changes in a few of the network's own rows.
        eps: of the coarsest numbers that the rows were computed in.
    """

    dimension: int
    dtype: torch.dtype = torch.float64
    pieces: list[Piece] = field(default_factory=list)
    size: int = 0  # samples of a piece, once the first batch has come
    eps: float = torch.finfo(torch.float64).eps

    def __post_init__(self) -> None:
        self.rounding = Factor(self.dimension, self.dtype)

    @property
    def most(self) -> int:
        """How many pieces suffice; up to twice as many are held."""
        return PIECES if self.dimension <= MANY_DIRECTIONS else FEW_PIECES

    @property
    def samples(self) -> int:
        """Samples that were taken into account."""
        return sum(piece.samples for piece in self.pieces)

    @property
    def rows(self) -> int:
        """The network's own rows among them: samples times outputs."""
        return sum(piece.factors[OWN].rows for piece in self.pieces)

    def room(self, samples: int) -> list[tuple[int, int, Piece]]:
        """Where the next samples go: (start, stop, piece) for each piece that they fall into.

        All their rows must be taken in before room is asked for again.
        """
        self.size = self.size or math.ceil(samples / self.most)
        self._shrink()
        spans, start = [], 0
        while start < samples:
            if not self.pieces or self.pieces[-1].samples >= self.size:
                factors = {kind: Factor(self.dimension, self.dtype) for kind in KINDS}
                self.pieces.append(Piece(0, factors))
            piece = self.pieces[-1]
            stop = min(samples, start + self.size - piece.samples)
            piece.samples += stop - start
            spans.append((start, stop, piece))
            start = stop
        return spans

    def _shrink(self) -> None:
        while len(self.pieces) >= 2 * self.most:
            pairs = [self.pieces[i : i + 2] for i in range(0, len(self.pieces), 2)]
            self.pieces = [p[0].merge(p[1]) if len(p) == 2 else p[0] for p in pairs]
            self.size *= 2

    def merge(self, other: Evidence) -> Evidence:
        """The evidence of both streams; neighbouring pieces are merged where they are many.

        Raises:
            ValueError: if the two are of other dimensions or precisions.
        """
        merged = Evidence(self.dimension, self.dtype)
        merged.rounding = self.rounding.merge(other.rounding)
        merged.pieces = [*self.pieces, *other.pieces]
        merged.size = max(self.size, other.size)
        merged.eps = max(self.eps, other.eps)
        merged._shrink()
        return merged

    def of_shuffled(self) -> Evidence:
        """The same of the shuffled pairing: the second one is its control."""
        turned = Evidence(self.dimension, self.dtype, size=self.size, eps=self.eps)
        turned.rounding = self.rounding
        for piece in self.pieces:
            held = piece.factors
            factors = {OWN: held[SHUFFLED], SHUFFLED: held[AGAIN], MOVEMENT: held[MOVEMENT]}
            turned.pieces.append(Piece(piece.samples, factors))
        return turned
