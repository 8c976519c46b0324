"""Rows of pairs (A, B): how far a map is from carrying motions of inputs to motions of outputs.

For one output c of one sample the row is <grad f_c, A x> - (B f(x))_c in the coordinates of
(A, B), so that a null direction is a pair with Df(x) A x = B f(x). Of a system x' = f(x) the
outputs are velocities, which a motion of the states along a field X carries by its derivative:
the row is <grad f_c, X(x)> - (DX(x) f(x))_c, that of the Lie bracket.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Protocol

import torch
from torch import Tensor

from ..actions.vectors import Action
from ..extract.differentiation import Differentiation
from ..extract.evidence import COMMON, NETWORK
from ..extract.modes import forward_mode
from ..extract.network import Network
from ..extract.rows import ForwardRows, Moving, Rows, fields_of

if TYPE_CHECKING:
    from jaxtyping import Float


class Pairing(Protocol):
    """Which pairs (A, B) are searched, in K coordinates."""

    @property
    def inputs(self) -> Action:
        """How A moves the inputs."""

    @property
    def to_inputs(self) -> Float[Tensor, "ka k"]:
        """From the coordinates to the coefficients of A on its action's basis."""

    def motion(
        self, inputs: Float[Tensor, "n ..."], values: Float[Tensor, "n c"], first: int, stop: int
    ) -> Float[Tensor, "n _ k"]:
        """How each coordinate moves the outputs from first to stop, whose values are known."""


@dataclass(frozen=True)
class Free:
    """Pairs whose A and B are free of each other: coordinates of A, then those of B."""

    inputs: Action  # how A moves the inputs
    outputs: Action  # how B moves the outputs
    shape: tuple[int, ...]  # of one sample's outputs, as the outputs' action takes them

    @cached_property
    def to_inputs(self) -> Float[Tensor, "ka k"]:
        """The first of the coordinates."""
        ka, kb = len(self.inputs.basis), len(self.outputs.basis)
        return torch.eye(ka, ka + kb, dtype=torch.float64)

    def matrices(
        self, coordinates: Float[Tensor, "d k"]
    ) -> tuple[Float[Tensor, "d ..."], Float[Tensor, "d ..."]]:
        """A and B of each pair."""
        a, b = coordinates.tensor_split([len(self.inputs.basis)], 1)
        return _combined(a, self.inputs), _combined(b, self.outputs)

    def motion(
        self, inputs: Float[Tensor, "n ..."], values: Float[Tensor, "n c"], first: int, stop: int
    ) -> Float[Tensor, "n _ k"]:
        """(B_k f(x))_c; A moves no outputs."""
        unit = torch.eye(values.shape[1], dtype=values.dtype, device=values.device)[first:stop]
        unit = unit.expand(len(values), -1, -1).reshape(len(values), -1, *self.shape)
        rows = self.outputs.rows(values.reshape(len(values), *self.shape), unit)
        return torch.nn.functional.pad(rows, (len(self.inputs.basis), 0))


@dataclass(frozen=True)
class Carried:
    """Motions of the states of x' = f(x), each with what its flow makes of velocities."""

    inputs: Action  # how states move
    time: bool  # whether one more coordinate, tau, lets a motion stretch time

    @cached_property
    def to_inputs(self) -> Float[Tensor, "ka k"]:
        """All coordinates but tau."""
        ka = len(self.inputs.basis)
        return torch.eye(ka, ka + self.time, dtype=torch.float64)

    def motion(
        self, inputs: Float[Tensor, "n ..."], values: Float[Tensor, "n c"], first: int, stop: int
    ) -> Float[Tensor, "n _ k"]:
        """(DX_k(x) f(x))_c, and -f(x)_c for tau.

        Raises:
            TypeError: if torch cannot differentiate the action's fields.
        """
        velocities = values.reshape(inputs.shape).to(inputs)

        def moved(x: Tensor) -> Tensor:
            if hasattr(self.inputs, "fields"):
                return fields_of(self.inputs, x, "auto").flatten(2)[..., first:stop].movedim(0, 2)
            unit = torch.eye(values.shape[1], dtype=x.dtype, device=x.device)[first:stop]
            unit = unit.expand(len(x), -1, -1).reshape(len(x), -1, *x.shape[1:])
            return self.inputs.rows(x, unit)

        try:
            with forward_mode():
                found = torch.func.jvp(moved, (inputs,), (velocities,))[1]
        except (RuntimeError, NotImplementedError) as error:
            raise TypeError(
                f"velocities are carried by the derivative of the fields of {self.inputs!r}, which "
                f"torch cannot take ({str(error).splitlines()[0]}): write them in torch"
            ) from error
        return torch.cat([found, -values[:, first:stop, None]], 2) if self.time else found


def _combined(weights: Float[Tensor, "d k"], action: Action) -> Float[Tensor, "d ..."]:
    return torch.tensordot(weights, action.basis.cpu().to(weights), 1)


class OnInputs:
    """The action on the inputs in the coordinates of a pairing."""

    def __init__(self, pairing: Pairing):
        self._inner, self._to = pairing.inputs, pairing.to_inputs
        self.check, self.flow, self.shape = self._inner.check, self._inner.flow, self._inner.shape
        self.basis = _combined(self._to.T, self._inner)
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
        """As of one network; beside its own rows, the outputs' motion, which counts in full."""
        with torch.no_grad():
            values = network(inputs)
        for kind, rows in super().rows(network, inputs, moved, start):
            if kind != NETWORK:
                yield kind, rows
                continue
            place, first = rows.start - start, rows.first
            here = slice(place, place + len(rows))
            stop = first + rows.rows.shape[1]
            motion = self.pairing.motion(inputs[here], values[here], first, stop)
            yield NETWORK, ForwardRows(rows.start, first, rows.rows - motion)
            if len(moved) > 1:  # there are others to compare with
                yield COMMON, ForwardRows(rows.start, first, motion)
