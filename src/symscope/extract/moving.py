"""Samples that an action moves: their tangent fields, and rows from any derivatives by them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ..actions.linear import Action

if TYPE_CHECKING:
    from jaxtyping import Float

# Cotangents or tangents held at once: taken in chunks of at most this many bytes.
CHUNK_BYTES = 2**25
FEW_DIRECTIONS = 64  # whose rows are no larger than the data


@dataclass(frozen=True)
class Moving:
    """Samples that an action moves."""

    samples: Float[Tensor, "n ..."]
    action: Action
    backend: str

    def __len__(self) -> int:
        """The number of samples."""
        return len(self.samples)

    @cached_property
    def fields(self) -> Float[Tensor, "k n ..."]:
        """The tangent fields at the samples."""
        return fields_of(self.action, self.samples, self.backend)

    def rows(self, cotangents: Float[Tensor, "n c ..."]) -> Float[Tensor, "n c k"]:
        """Rows from any derivatives by the samples; from their fields, where these are known."""
        if "fields" in self.__dict__:
            return torch.einsum("ncu,knu->nck", cotangents.flatten(2), self.fields.flatten(2))
        return self.action.rows(self.samples, cotangents, self.backend)

    def prepare(self) -> None:
        """Compute first what rows share that are asked for several times."""
        directions = len(self.action.basis)
        if (
            self.samples.device.type == "cpu"  # elsewhere a kernel writes rows without fields
            and hasattr(self.action, "fields")
            and directions <= self.samples[0].numel()
            and directions * self.samples.nbytes <= CHUNK_BYTES
        ):
            self.fields  # noqa: B018

    @property
    def writes_rows(self) -> bool:
        """Whether rows are no larger than the data and no kernel makes their Gram matrix."""
        return self.backend != "triton" and len(self.action.basis) <= FEW_DIRECTIONS

    def without_kernel(self) -> Moving:
        """These samples, where a kernel was asked for that need not write rows."""
        return Moving(self.samples, self.action, "auto") if self.backend == "triton" else self

    def split(self, chunk: int) -> list[Moving]:
        """As many of the samples at a time."""
        if chunk >= len(self):
            return [self]
        return [Moving(part, self.action, self.backend) for part in self.samples.split(chunk)]


def fields_of(
    action: Action, data: Float[Tensor, "n ..."], backend: str
) -> Float[Tensor, "k n ..."]:
    """The action's tangent fields at the data.

    Raises:
        ValueError: if they are not one tensor like the data for each direction.
    """
    moving: Any = action  # an action need not have fields; this one has
    # An action of the user's own may take the data alone.
    fields = moving.fields(data) if backend == "auto" else moving.fields(data, backend)
    shape = (len(action.basis), *data.shape)
    if tuple(fields.shape) != shape:
        raise ValueError(
            f"fields of {action!r} must be of shape {shape}, one like the data for each "
            f"direction; got {tuple(fields.shape)}"
        )
    return fields
