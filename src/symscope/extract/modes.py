"""Where a model lies, and the state that it runs in, put back afterwards to the last bit."""

from __future__ import annotations

import functools
import inspect
import sys
import types
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

KEEPING = (Tensor, dict, list, tuple, set, deque)  # what a layer may keep something in


@contextmanager
def running(model: object) -> Iterator[None]:
    """Run a network in eval mode, uncompiled, outside inference mode; put everything back after.

    Back come the flags, the weights and buffers, and whatever tensors and containers the layers
    keep as attributes. A function runs as it is; networks that it refers to are put back, too.
    What ``torch.compile`` made of a network frees what a second backward pass would need, and has
    no forward mode: it runs as the network that it was made from.
    """
    memory = _Memory()
    # Nothing can have been compiled where the compiler was not even loaded, which takes a second.
    compiled = "torch._dynamo" in sys.modules
    eager = torch.compiler.set_stance("force_eager") if compiled else nullcontext()
    with torch.inference_mode(False), eager:
        for network in _networks_in(model):
            for name, module in network.named_modules():
                if any(nn.parameter.is_lazy(p) for p in module.parameters(recurse=False)):
                    raise ValueError(
                        f"the layer {name or 'model'} ({type(module).__name__}) has no weights "
                        "yet: run the network once first"
                    )
                memory.keep(module)
        try:
            # A frozen script has no flag; an exported program is what it was exported as.
            if isinstance(model, nn.Module) and any(
                getattr(module, "training", False) for module in model.modules()
            ):
                with suppress(NotImplementedError):
                    model.eval()
            yield
        finally:
            memory.restore()


def _networks_in(model: object) -> Iterator[nn.Module]:
    """The model itself, or the networks that a function holds or names."""
    named: Iterable[object] = ()
    if isinstance(model, nn.Module):
        yield model
    elif isinstance(model, functools.partial):
        for part in (model.func, *model.args, *model.keywords.values()):
            yield from _networks_in(part)
    elif isinstance(model, types.MethodType):
        yield from _networks_in(model.__self__)
    elif isinstance(model, types.FunctionType):
        with suppress(ValueError):  # a name that is not bound yet
            found = inspect.getclosurevars(model)
            named = (*found.nonlocals.values(), *found.globals.values())
    elif hasattr(model, "__dict__"):
        named = vars(model).values()
    yield from (value for value in named if isinstance(value, nn.Module))


class _Memory:
    """What modules hold, and how to put it back: attributes, containers, the values of tensors."""

    def __init__(self) -> None:
        self._known: dict[int, object] = {}  # also keeps them alive, so that no id is used again
        self._back: list[Callable[[], None]] = []

    def keep(self, module: nn.Module) -> None:
        """Remember all that a module holds, but for what its own modules hold."""
        if isinstance(module, torch.jit.ScriptModule):
            training = getattr(module, "training", None)
            if training is not None:
                self._back.append(lambda: setattr(module, "training", training))
            for tensor in (*module.parameters(recurse=False), *module.buffers(recurse=False)):
                self._value(tensor)
            return
        self._value(vars(module))

    def restore(self) -> None:
        """Put back what has changed since."""
        for back in self._back:
            back()

    def _value(self, value: object) -> None:
        if id(value) in self._known or not isinstance(value, KEEPING):
            return
        self._known[id(value)] = value
        if isinstance(value, Tensor):
            self._tensor(value)
            return
        # Its iterator, since a tuple of somebody's own may refuse to tell its length.
        held = list(iter(value.values() if isinstance(value, dict) else value))
        if isinstance(value, (dict, set)):
            held_now = dict(value) if isinstance(value, dict) else set(value)
            self._container(value, held_now, value.update)
        elif isinstance(value, (list, deque)):
            self._container(value, list(value), value.extend)
        for part in held:
            self._value(part)

    def _container(self, value: Any, held: Any, refill: Callable) -> None:
        def parts(of: Any) -> list[int]:
            both = (*of.keys(), *of.values()) if isinstance(of, dict) else of
            return [id(part) for part in both]

        def back() -> None:
            if parts(value) != parts(held):
                value.clear()
                refill(held)

        self._back.append(back)

    def _tensor(self, tensor: Tensor) -> None:
        if tensor.is_meta or tensor.layout != torch.strided:
            return
        needs, data, values = tensor.requires_grad, tensor.data, tensor.detach().clone()

        def back() -> None:
            if tensor.data_ptr() != data.data_ptr() or tensor.shape != data.shape:
                tensor.data = data
            if not torch.equal(data, values):
                data.copy_(values)
            if tensor.is_leaf and tensor.requires_grad != needs:
                tensor.requires_grad_(needs)

        self._back.append(back)


@contextmanager
def plain_attention() -> Iterator[None]:
    """Attention in plain products, the only one that torch can push tangents through."""
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with sdpa_kernel(SDPBackend.MATH):
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)


def device_of(model: object, default: torch.device) -> torch.device:
    """The device of the model's first parameter or buffer, else ``default``."""
    if isinstance(model, nn.Module):
        for tensor in (*model.parameters(), *model.buffers()):
            return tensor.device
    return default


@contextmanager
def forward_mode() -> Iterator[None]:
    """Forward mode without a word of torch's own: its first use loads what torch has deprecated."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "`torch.jit", DeprecationWarning)
        yield
