"""Dispatch: which implementation of a kernel serves a call, and its derivatives.

``backend`` is "reference" (the definition in plain torch), "triton" (the GPU kernels, or an error
that says why not) or "auto": Triton for float32 tensors on a CUDA device, else the arrangement for
a CPU where there is one, else the definition.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from torch import Tensor

from .._checks import choice
from . import cpu, reference
from .reference import Plane

BACKENDS = ("auto", "reference", "triton")
# The largest filters that the kernel of orbits holds.
ORBIT_DIMENSION = 64
PRECISIONS = ("float64", "float32")

linear_rows = reference.linear_rows


def check_backend(backend: str) -> None:
    """Refuse a backend that is unknown (ValueError), or "triton" where no kernel can ever run."""
    choice("backend", backend, BACKENDS)
    if backend == "triton":  # else Triton is not even looked for
        resolve(backend)


def resolve(backend: str, *tensors: Tensor, limit: str | None = None) -> str:
    """The implementation that serves these tensors: "reference", "cpu" or "triton".

    Without tensors the installation alone is asked about; ``limit`` is what else keeps a kernel
    from running. ValueError for an unknown backend; RuntimeError if "triton" was asked for and
    cannot run: it is never replaced.
    """
    choice("backend", backend, BACKENDS)
    if backend == "reference":
        return "reference"
    if backend == "auto" and not any(t.is_cuda for t in tensors):
        return "cpu" if all(t.device.type == "cpu" for t in tensors) else "reference"
    obstacle = _obstacle(tensors) or limit
    if obstacle is None:
        return "triton"
    if backend == "triton":
        raise RuntimeError(
            f"backend='triton' was asked for, but {obstacle}; use backend='auto' or 'reference'"
        )
    return "reference"


def _obstacle(tensors: tuple[Tensor, ...]) -> str | None:
    """Why Triton cannot run on these tensors, or None."""
    if not _installed():
        return "Triton is not installed (pip install 'symscope[gpu]')"
    interpreted = _interpreted()
    if not tensors and not interpreted and not torch.cuda.is_available():
        return "there is no CUDA device, and Triton's interpreter (TRITON_INTERPRET=1) is off"
    for tensor in tensors:
        if not (tensor.is_cuda or (interpreted and tensor.device.type == "cpu")):
            return f"a tensor is on {tensor.device} and not on a CUDA device" + (
                "" if interpreted else ", and Triton's interpreter (TRITON_INTERPRET=1) is off"
            )
        if tensor.dtype != torch.float32:
            return f"a tensor is {tensor.dtype} and the kernels take torch.float32"
    return None


@cache
def _installed() -> bool:
    return importlib.util.find_spec("triton") is not None


def _interpreted() -> bool:
    import triton

    return bool(triton.knobs.runtime.interpret)


@cache
def _kernel(name: str) -> type[torch.autograd.Function]:
    """The Triton kernel of that name, differentiable."""
    from . import triton

    kernel = getattr(triton, name)

    def launch(*arguments):
        # Triton launches on the current device, which need not be the tensors'.
        with torch.cuda.device_of(arguments[0]):
            return kernel(*arguments)

    return differentiable(launch, getattr(reference, name), _ADJOINTS.get(name))


@cache
def _arranged(name: str) -> type[torch.autograd.Function]:
    """The arrangement for a CPU of that name, differentiable."""
    return differentiable(getattr(cpu, name), getattr(reference, name))


def _pull_orbits(cotangents: tuple, arguments: list, results: list, needed: tuple) -> tuple:
    _, generators, _ = arguments
    return (*_kernel("orbits_adjoint").apply(cotangents[0], generators, results[0]), None)


def _pull_proximal_step(cotangents: tuple, arguments: list, results: list, needed: tuple) -> tuple:
    _, gradient, _, step, _, momentum, _ = arguments
    codes = results[0]
    by_point, *rest = _kernel("proximal_adjoint").apply(*cotangents, codes, step, momentum)
    by_step = -(by_point * gradient).sum() if needed[3] else None
    by_threshold = -(by_point * codes.sign()).sum() if needed[4] else None
    return by_point, *rest, by_step, by_threshold, None, None


_ADJOINTS = {"orbits": _pull_orbits, "proximal_step": _pull_proximal_step}


def _serve(name: str, backend: str, *arguments: object, limit: str | None = None) -> Any:
    """Call the implementation that ``backend`` and the tensors ask for."""
    where = resolve(backend, *(a for a in arguments if isinstance(a, Tensor)), limit=limit)
    if where == "triton":
        return _kernel(name).apply(*arguments)
    if where == "cpu" and hasattr(cpu, name):
        return _arranged(name).apply(*arguments)
    return getattr(reference, name)(*arguments)


# Shapes are those of the definitions.


def plane_fields(images: Tensor, plane: Plane, backend: str = "auto") -> Tensor:
    """Tangent fields on the image plane, without a kernel; see :func:`.reference.plane_fields`."""
    return _serve("plane_fields", backend, images, plane, limit="no kernel writes tangent fields")


def plane_rows(images: Tensor, cotangents: Tensor, plane: Plane, backend: str = "auto") -> Tensor:
    """Rows for an action on the image plane; see :func:`.reference.plane_rows`."""
    return _serve("plane_rows", backend, images, cotangents, plane)


def plane_gram(images: Tensor, cotangents: Tensor, plane: Plane, backend: str = "auto") -> Tensor:
    """Their Gram matrix in float64; see :func:`.reference.plane_gram`."""
    return _serve("plane_gram", backend, images, cotangents, plane)


def linear_gram(
    vectors: Tensor, cotangents: Tensor, precision: str = "float64", backend: str = "auto"
) -> Tensor:
    """The Gram matrix of :func:`linear_rows` in float64; see :func:`.reference.linear_gram`.

    ``precision`` is that of the products, "float64" (default) or "float32", which alone the
    kernel takes; ValueError for another.
    """
    choice("precision", precision, PRECISIONS)
    limit = "the kernel multiplies in float32 and float64 was asked for"
    limited = limit if precision == "float64" else None
    dtype = getattr(torch, precision)
    return _serve("linear_gram", backend, vectors, cotangents, dtype, limit=limited)


def orbits(filters: Tensor, generators: Tensor, order: int, backend: str = "auto") -> Tensor:
    """Orbits of filters under their generators; see :func:`.reference.orbits`."""
    d, limit = filters.shape[-1], None
    if d > ORBIT_DIMENSION:
        limit = f"d = {d} and the kernel holds d up to {ORBIT_DIMENSION}"
    return _serve("orbits", backend, filters, generators, order, limit=limit)


def proximal_step(
    point: Tensor,
    gradient: Tensor,
    previous: Tensor,
    step: Tensor | float,
    threshold: Tensor | float,
    momentum: float,
    two_sided: bool,
    backend: str = "auto",
) -> tuple[Tensor, Tensor]:
    """One proximal gradient step on codes; see :func:`.reference.proximal_step`."""
    step, threshold = (v if isinstance(v, Tensor) else float(v) for v in (step, threshold))
    arguments = (point, gradient, previous, step, threshold, float(momentum), two_sided)
    return _serve("proximal_step", backend, *arguments)


# --- A fast implementation with the derivatives of its definition, for every transform of torch ---
#
# Networks are differentiated by their inputs under `vmap` and `jvp`, and trained in reverse, so
# every kernel in one must pass all of them; no torch decorator gives that (one made with
# `torch.library.custom_op` fails under `torch.func.grad` and returns wrong tangents).


def differentiable(
    implementation: Callable, definition: Callable, adjoint: Callable | None = None
) -> type[torch.autograd.Function]:
    """An autograd Function that computes by one callable and differentiates by another.

    Tensors that carry derivatives stand first among the arguments. A reverse pass calls
    ``adjoint(cotangents, arguments, results, needed)`` if given, which returns a gradient for each
    of the arguments, and takes the definition's derivative otherwise, as a forward pass always
    does. Under ``vmap`` the implementation runs once for each entry.
    """

    class Op(torch.autograd.Function):
        @staticmethod
        def forward(*arguments):
            return implementation(*arguments)

        @staticmethod
        def setup_context(ctx, inputs, output):
            results = output if isinstance(output, tuple) else (output,)
            tensors = [a for a in inputs if isinstance(a, Tensor)]
            ctx.others = [None if isinstance(a, Tensor) else a for a in inputs]
            ctx.single = not isinstance(output, tuple)
            ctx.save_for_backward(*tensors, *(results if adjoint else ()))
            ctx.save_for_forward(*tensors)

        @staticmethod
        def backward(ctx, *cotangents):
            arguments, tensors, results = _arguments(ctx)
            if adjoint:
                return adjoint(cotangents, arguments, results, ctx.needs_input_grad)
            _, pull, *_ = torch.func.vjp(_of_tensors(definition, arguments), *tensors)
            gradients = iter(pull(cotangents[0] if ctx.single else cotangents))
            return tuple(next(gradients) if isinstance(a, Tensor) else None for a in arguments)

        @staticmethod
        def jvp(ctx, *tangents):
            arguments, tensors, _ = _arguments(ctx)
            directions = [
                torch.zeros_like(a) if tangent is None else tangent
                for a, tangent in zip(arguments, tangents, strict=True)
                if isinstance(a, Tensor)
            ]
            # From two reverse passes: these may stand inside a forward one.
            results, pull, *_ = torch.func.vjp(_of_tensors(definition, arguments), *tensors)
            zeros = [torch.zeros_like(r) for r in ((results,) if ctx.single else results)]
            _, push, *_ = torch.func.vjp(pull, zeros[0] if ctx.single else tuple(zeros))
            return push(tuple(directions))[0]

        @staticmethod
        def vmap(info, in_dims, *arguments):
            entries = []
            for i in range(info.batch_size):
                pairs = zip(arguments, in_dims, strict=True)
                entries.append(Op.apply(*(a if d is None else a.select(d, i) for a, d in pairs)))
            if not isinstance(entries[0], tuple):
                return torch.stack(entries), 0
            stacked = tuple(map(torch.stack, zip(*entries, strict=True)))
            return stacked, (0,) * len(stacked)

    return Op


def _arguments(ctx: Any) -> tuple[list, list[Tensor], list[Tensor]]:
    """The arguments of a saved call, those that are tensors, and its results if they were kept."""
    saved = iter(ctx.saved_tensors)
    arguments = [next(saved) if other is None else other for other in ctx.others]
    return arguments, [a for a in arguments if isinstance(a, Tensor)], list(saved)


def _of_tensors(definition: Callable, arguments: list) -> Callable:
    """The definition as a function of its tensors alone."""

    def function(*tensors):
        given = iter(tensors)
        return definition(*(next(given) if isinstance(a, Tensor) else a for a in arguments))

    return function
