"""A network as one function of the samples that move: what is called, beside what, what is read."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field, replace
from os import PathLike
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from ..inputs.samples import Samples, Whole, described
from ..inputs.stream import Batch
from . import tuned
from .modes import device_of

if TYPE_CHECKING:
    from jaxtyping import Float

OUTPUTS = ("all", "sum")
PICKS = "<a name, an index or a callable>"
CHOICES = "one of all, sum, a name or an index of what the model returns, or a callable"


class OutputsError(ValueError):
    """A network returned something other than a row for each sample."""


@dataclass(frozen=True)
class Outputs:
    """Which functions of the network are differentiated; see :func:`symscope.learned_symmetries`.

    Attributes:
        mode: "all" or "sum", of a network that returns one tensor; a name or an index, to pick
            one of those that it returns and take all of it; or a callable on what it returns.
        unit_norm: whether each sample's outputs are scaled to unit norm first.
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
            came = tuple(values.shape) if isinstance(values, Tensor) else described(values)
            hint = (
                ". Hand in outputs=<a name, an index or a callable> to pick what to differentiate"
            )
            raise OutputsError(
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
                f"the model's outputs have no {self.mode!r}: got {described(raw)}"
            ) from error


@dataclass(frozen=True)
class Network:
    """A network as a function of the samples that move."""

    model: Any  # as it was handed in: what runs in evaluation mode, and where it lies
    outputs: Outputs  # which functions of it are differentiated
    call: Callable | None = None  # what is called; default, the model
    # All else that goes into a call on the samples of :meth:`at`'s batch.
    inputs: Samples | None = None
    size: int = 0  # the only number of samples that it takes; 0 where it takes any
    copies: bool = False  # whether it changes its input in place, and gets a copy
    name: str = ""  # of a control
    tick: Callable[[], None] | None = None  # what is told of each call
    _by_name: dict[frozenset, bool] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        if not callable(self.model):
            file, weights = isinstance(self.model, (str, PathLike)), isinstance(self.model, Mapping)
            raise TypeError(
                f"model must be callable, got {type(self.model).__name__}"
                + ": load the network from the file first" * file
                + ": build the network, and load its weights with load_state_dict" * weights
            )

    def __call__(self, moved: Float[Tensor, "n ..."]) -> Float[Tensor, "n c"]:
        """The outputs of all samples at hand, or of the first of them, once these have moved."""
        if self.tick is not None:
            self.tick()
        try:
            return self.outputs(self.raw(moved.clone() if self.copies else moved), len(moved))
        except Exception as error:
            if self.size in (0, len(moved)):
                raise
            raise ValueError(
                f"the network runs on batches of {self.size} samples alone, and this one has "
                f"{len(moved)}: hand in a number of samples that {self.size} divides with "
                f"batch_size={self.size}, or a loader with drop_last=True"
            ) from error

    def raw(self, moved: Float[Tensor, "n ..."]) -> Any:
        """What is called returns, all of it."""
        samples = self.inputs
        if samples is None:
            try:
                return self._called(moved)
            except TypeError as error:
                if "missing" not in str(error):
                    raise
                raise TypeError(
                    f"{error}: the network takes more than the data; hand in a function of what "
                    "moves alone, lambda x: f(t, x), or all of its inputs, and moves= says which"
                ) from error
        if len(moved) < len(samples.moved):
            samples = samples.take(slice(len(moved)))
        given = samples.restore(moved)
        try:
            if isinstance(given, (tuple, list)):
                return self._called(*given)
            if isinstance(given, Mapping) and self._takes(frozenset(given)):
                return self._called(**given)
            return self._called(given)
        except (TypeError, AttributeError, LookupError) as error:
            if not hasattr(error, "__notes__"):
                error.add_note(
                    f"the network was called with the data as they came, {described(given)}: leave "
                    "out what it does not take (labels), or hand in a function around it"
                )
            raise

    @property
    def _called(self) -> Callable:
        return self.model if self.call is None else self.call

    def _takes(self, names: frozenset) -> bool:
        """Whether these names are taken as keywords."""
        if names not in self._by_name:
            inner = getattr(self._called, "_orig_mod", self._called)
            try:
                inspect.signature(getattr(inner, "forward", inner)).bind(**dict.fromkeys(names))
                self._by_name[names] = True
            except (TypeError, ValueError):
                self._by_name[names] = False
        return self._by_name[names]

    def values(self, moved: Float[Tensor, "n ..."]) -> Float[Tensor, "n c"]:
        """Values alone; with autograd at hand, which some networks use inside."""
        with torch.enable_grad():
            return self(moved.clone()).detach()

    def gradient(
        self, inputs: Float[Tensor, "n ..."]
    ) -> tuple[Float[Tensor, "n c"], Float[Tensor, "n ..."] | None, bool]:
        """Values; the derivative of their weighted sum by the inputs; whether it changes these.

        The derivative is None where the outputs do not depend on the inputs.
        """
        leaf = inputs.detach().clone().requires_grad_()
        with torch.enable_grad():
            given, found = leaf.clone(), None
            version = given._version
            values = self(given)
            total = (values @ weights_of(values)).sum()
            if total.requires_grad:
                found = torch.autograd.grad(total, leaf, allow_unused=True)[0]
        same = given._version == version and torch.equal(given.nan_to_num(), leaf.nan_to_num())
        return values.detach(), found, not same

    @property
    def architecture(self) -> Hashable:
        """What two networks of the same layers share; None of what is no torch module."""
        if not isinstance(self.model, nn.Module):
            return None
        layers = tuple((name, type(layer)) for name, layer in self.model.named_modules())
        held = (*self.model.named_parameters(), *self.model.named_buffers())
        return layers, tuple((name, tuple(t.shape), t.dtype) for name, t in held)

    def device(self, default: torch.device) -> torch.device:
        """Where it computes."""
        return device_of(self.model, default)

    def at(self, batch: Batch) -> Network:
        """The network of a batch, beside all that goes in with these samples."""
        if batch.samples is None:
            return self
        device = self.device(batch.inputs.device)
        return replace(self, inputs=batch.samples.ready(device))

    def part(self, places: slice) -> Network:
        """The same network beside some of its batch's samples."""
        return self if self.inputs is None else replace(self, inputs=self.inputs.take(places))

    @property
    def divisible(self) -> bool:
        """Whether it runs on some of the samples without the others."""
        return not self.size and not isinstance(self.inputs, Whole)

    def in_double(self) -> Network | None:
        """The network in float64, if it is not too large; it stays what it is."""
        model = getattr(self.model, "_orig_mod", self.model)  # not compiled a second time for it
        if not isinstance(model, nn.Module) or self.call is not None:
            return self
        held = {**dict(model.named_parameters()), **dict(model.named_buffers())}
        if sum(tensor.nbytes for tensor in held.values()) > tuned.TUNED.doubled_bytes:
            return None
        doubled = {n: t.detach().double() if t.is_floating_point() else t for n, t in held.items()}

        @functools.wraps(model.forward)
        def call(*given: Any, **by_name: Any) -> Any:
            return torch.func.functional_call(model, doubled, given, by_name)

        return replace(self, call=call)


def weights_of(values: Float[Tensor, "n c"]) -> Float[Tensor, " c"]:
    """A weight on each output, so that no two cancel and one backward pass looks at all."""
    return torch.linspace(1, 2, values.shape[1], device="cpu").to(values)
