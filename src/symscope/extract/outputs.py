"""Which functions of a network are differentiated: all outputs, their sum, or some of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from torch import Tensor

if TYPE_CHECKING:
    from jaxtyping import Float

OUTPUTS = ("all", "sum")
CHOICES = "one of all, sum, a name or an index of what the model returns, or a callable"
PICKS = "<a name, an index or a callable>"


@dataclass(frozen=True)
class Outputs:
    """Which functions of the network are differentiated; see :func:`symscope.learned_symmetries`.

    Attributes:
        mode: "all" or "sum", of a network that returns one tensor; a name or an index, to pick
            one of those that it returns and take all of it; or a callable on what it returns.
        unit_norm: whether each sample's outputs are scaled to unit norm first.

    Raises:
        ValueError: for a mode that is none of these.
    """

    mode: str | int | Callable[[Any], Tensor] = "all"
    unit_norm: bool = False

    def __post_init__(self) -> None:
        if isinstance(self.mode, bool) or not (
            callable(self.mode) or isinstance(self.mode, (str, int))
        ):
            raise ValueError(f"outputs must be {CHOICES}; got {self.mode!r}")

    def __call__(self, raw: Any, samples: int) -> Float[Tensor, "n c"]:
        """The functions' values (N, C), from what the model returned for N samples.

        Further axes, as of feature maps (N, C, H, W) or tokens (N, T, C), are outputs as well.
        """
        if callable(self.mode):
            values, whose = self.mode(raw), "what the callable outputs returns"
        elif self.mode in OUTPUTS:
            values, whose = raw, "the model's outputs"
        else:
            values, whose = self._picked(raw), f"the model's output {self.mode!r}"
        if not (
            isinstance(values, Tensor) and values.ndim and len(values) == samples and values.numel()
        ):
            came = tuple(values.shape) if isinstance(values, Tensor) else _described(values)
            hint = f". Hand in outputs={PICKS} to pick what to differentiate"
            raise ValueError(
                f"{whose} must be a tensor of shape (N,) or (N, C, ...) with N = {samples}; got "
                f"{came}{'' if callable(self.mode) else hint}"
            )
        if not values.is_floating_point():
            raise ValueError(f"{whose} must be real floating-point numbers, got {values.dtype}")
        values = values.reshape(samples, -1)
        if self.unit_norm:
            values = values / values.norm(dim=1, keepdim=True)
        return values.sum(1, keepdim=True) if self.mode == "sum" else values

    def _picked(self, raw: Any) -> Any:
        """The one of several outputs that was named."""
        if isinstance(raw, Tensor):
            raise ValueError(
                f"outputs must be {CHOICES}; got {self.mode!r}, and the model returns one tensor"
            )
        try:
            if isinstance(self.mode, int):
                return (list(raw.values()) if isinstance(raw, Mapping) else raw)[self.mode]
            return raw[self.mode] if isinstance(raw, Mapping) else getattr(raw, str(self.mode))
        except (LookupError, AttributeError, TypeError) as error:
            raise ValueError(
                f"the model's outputs have no {self.mode!r}: got {_described(raw)}"
            ) from error


def _described(value: Any) -> str:
    """What a model returned, in words that name what can be picked."""
    kind = type(value).__name__
    if isinstance(value, Mapping):
        return f"{kind} with {', '.join(map(repr, value))}"
    if isinstance(value, (tuple, list)):
        return f"{kind} of {len(value)}"
    return kind
