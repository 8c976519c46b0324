"""Rows of pairs (A, B): how far a map is from carrying motions of inputs to motions of outputs.

For one output c of one sample x the row is <grad f_c, A x> - (B f(x))_c in the coordinates of
(A, B), so that a null direction is a pair with Df(x) A x = B f(x). Where A and B are tied to each
other, the coordinates are those of the tie.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ..actions.vectors import Action
from ..decide.rule import KAPPA
from ..extract.differentiation import Differentiation
from ..extract.evidence import NETWORK, RANDOM
from ..extract.network import Network
from ..extract.rows import ForwardRows, Moving, Rows, fields_of

if TYPE_CHECKING:
    from jaxtyping import Float


@dataclass(frozen=True)
class Pairing:
    """Which pairs (A, B) are searched: A and B as linear functions of K coordinates.

    Attributes:
        inputs: how A moves the inputs.
        outputs: how B moves the outputs.
        shape: of one sample's outputs, as the outputs' action takes them.
        to_inputs: (Ka, K), the coefficients of A on its action's basis.
        to_outputs: (Kb, K), those of B.
    """

    inputs: Action
    outputs: Action
    shape: tuple[int, ...]
    to_inputs: Float[Tensor, "ka k"]
    to_outputs: Float[Tensor, "kb k"]

    def matrices(
        self, coordinates: Float[Tensor, "d k"]
    ) -> tuple[Float[Tensor, "d ..."], Float[Tensor, "d ..."]]:
        """A and B of each pair."""
        a, b = (
            torch.tensordot(coordinates @ to.T, action.basis.cpu().to(coordinates), 1)
            for to, action in ((self.to_inputs, self.inputs), (self.to_outputs, self.outputs))
        )
        return a, b

    def rows_of_outputs(
        self, values: Float[Tensor, "n c"], first: int, stop: int
    ) -> Float[Tensor, "n _ k"]:
        """(B_k f(x))_c for the outputs c from first to stop."""
        count = values.shape[1]
        unit = torch.eye(count, dtype=values.dtype, device=values.device)[first:stop]
        unit = unit.expand(len(values), -1, -1).reshape(len(values), -1, *self.shape)
        rows = self.outputs.rows(values.reshape(len(values), *self.shape), unit)
        return rows @ self.to_outputs.to(rows)


def free(inputs: Action, outputs: Action, shape: tuple[int, ...]) -> Pairing:
    """Pairs whose A and B are free of each other."""
    ka, kb = len(inputs.basis), len(outputs.basis)
    both = torch.eye(ka + kb, dtype=torch.float64)
    return Pairing(inputs, outputs, shape, both[:ka], both[ka:])


def tied(action: Action, shape: tuple[int, ...], time_scaling: bool) -> Pairing:
    """Pairs (A, A) of states and velocities, or with one more coordinate tau (A, A - tau)."""
    size = len(action.basis)
    if not time_scaling:
        same = torch.eye(size, dtype=torch.float64)
        return Pairing(action, action, shape, same, same)
    slower = torch.eye(size + 1, dtype=torch.float64)
    slower[-1] *= -1
    return Pairing(action, WithScaling(action), shape, slower[:size], slower)


class WithScaling:
    """An action, and beside its own directions the scaling of the data."""

    def __init__(self, action: Action):
        self.check, self.flow, self.shape = action.check, action.flow, action.shape
        one = torch.eye(action.basis.shape[-1], dtype=torch.float64)[None]
        self.basis = torch.cat([action.basis.cpu().double(), one])
        self._inner = action

    def rows(self, data: Tensor, cotangents: Tensor, backend: str = "auto") -> Tensor:
        """The inner action's rows, and <g, x>."""
        scaled = (cotangents * data[:, None]).flatten(2).sum(2, keepdim=True)
        return torch.cat([self._inner.rows(data, cotangents), scaled], 2)


class Tied:
    """The action on the inputs in the coordinates of a pairing."""

    def __init__(self, pairing: Pairing):
        self._inner, self._to = pairing.inputs, pairing.to_inputs
        self.check, self.flow, self.shape = self._inner.check, self._inner.flow, self._inner.shape
        self.basis = torch.tensordot(self._to.T, self._inner.basis.cpu().to(self._to), 1)
        if hasattr(self._inner, "fields"):
            self.fields = self._fields

    def __repr__(self) -> str:
        return repr(self._inner)

    def rows(self, data: Tensor, cotangents: Tensor, backend: str = "auto") -> Tensor:
        """The inner action's rows in the coordinates of the pairing."""
        asked = () if backend == "auto" else (backend,)  # an action of the user's own has none
        rows = self._inner.rows(data, cotangents, *asked)
        return rows @ self._to.to(rows)

    def _fields(self, data: Tensor, backend: str = "auto") -> Tensor:
        fields = fields_of(self._inner, data, backend)
        return torch.tensordot(self._to.T.to(fields), fields, 1)


@dataclass(frozen=True)
class PairDifferentiation(Differentiation):
    """Rows of pairs, and the outputs' own motion as a part of what they are compared with."""

    pairing: Pairing = field(kw_only=True)

    def rows(
        self,
        network: Network,
        inputs: Float[Tensor, "n ..."],
        moved: Mapping[str, Moving],
        start: int,
    ) -> Iterator[tuple[str, Rows]]:
        """As of one network; beside its own rows, the outputs' motion as rows of movement.

        These are divided by kappa, with which the reference takes movement: it holds E |B f|^2.
        """
        with torch.no_grad():
            values = network(inputs)
        for kind, rows in super().rows(network, inputs, moved, start):
            if kind != NETWORK:
                yield kind, rows
                continue
            place, first = rows.start - start, rows.first
            motion = self.pairing.rows_of_outputs(
                values[place : place + len(rows)], first, first + rows.rows.shape[1]
            )
            yield NETWORK, ForwardRows(rows.start, first, rows.rows - motion)
            if len(moved) > 1:  # there are others to compare with
                yield RANDOM, ForwardRows(rows.start, first, motion / KAPPA)
