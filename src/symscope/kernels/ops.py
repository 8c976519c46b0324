"""Dispatch: which implementation of a kernel serves a call, and the derivatives of those it chose.

Nothing else in the package knows Triton. ``backend`` is "reference" (the definition in plain
torch), "triton" (the GPU kernels, or an error that says why not) or "auto": Triton for float32
tensors on a CUDA device, else the arrangement for a CPU where there is one, else the definition.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from .._checks import choice
from . import cpu, reference
from .reference import Plane

if TYPE_CHECKING:
    from jaxtyping import Float

BACKENDS = ("auto", "reference", "triton")
# The largest filters that the kernel of orbits holds.
ORBIT_DIMENSION = 64
PRECISIONS = ("float64", "float32", "tf32x3", "tf32")

linear_rows = reference.linear_rows


def check_backend(backend: str) -> None:
    """Refuse a backend that is unknown, or "triton" where no kernel can ever run.

    Raises:
        ValueError: if ``backend`` is not one of BACKENDS.
        RuntimeError: if "triton" was asked for and is not installed or has no device.
    """
    choice("backend", backend, BACKENDS)
    if backend == "triton":  # else Triton is not even looked for
        resolve(backend)


def resolve(backend: str, *tensors: Tensor, limit: str | None = None) -> str:
    """The implementation that serves these tensors: "reference", "cpu" or "triton".

    "cpu" is the arrangement for a processor's caches, where a kernel has one.

    Args:
        backend: one of BACKENDS.
        tensors: what the kernel would read; none, to ask about the installation alone.
        limit: what else keeps a kernel from running, as half a sentence, or None.

    Raises:
        ValueError: if ``backend`` is not one of BACKENDS.
        RuntimeError: if "triton" was asked for and cannot run; it is never replaced.
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


def _serve(name: str, backend: str, tensors: tuple[Tensor, ...], *others: object) -> Tensor:
    """Call the implementation that ``backend`` and the tensors ask for."""
    where = resolve(backend, *tensors)
    if where == "triton":
        return _kernel(name).apply(*tensors, *others)
    if where == "cpu":
        return _arranged(name).apply(*tensors, *others)
    return getattr(reference, name)(*tensors, *others)


def plane_fields(
    images: Float[Tensor, "n *channels h w"], plane: Plane, backend: str = "auto"
) -> Float[Tensor, "k n *channels h w"]:
    """Tangent fields on the image plane; see :func:`.reference.plane_fields`.

    There is no Triton kernel of them: "auto" takes the definition on a GPU, "triton" is refused.
    """
    if resolve(backend, images, limit="no kernel writes tangent fields") == "cpu":
        return _arranged("plane_fields").apply(images, plane)
    return reference.plane_fields(images, plane)


def plane_rows(
    images: Float[Tensor, "n *channels h w"],
    cotangents: Float[Tensor, "n c *channels h w"],
    plane: Plane,
    backend: str = "auto",
) -> Float[Tensor, "n c k"]:
    """Rows for an action on the image plane; see :func:`.reference.plane_rows`."""
    return _serve("plane_rows", backend, (images, cotangents), plane)


def plane_gram(
    images: Float[Tensor, "n *channels h w"],
    cotangents: Float[Tensor, "n c *channels h w"],
    plane: Plane,
    backend: str = "auto",
) -> Float[Tensor, "k k"]:
    """Their Gram matrix in float64; see :func:`.reference.plane_gram`."""
    return _serve("plane_gram", backend, (images, cotangents), plane)


def linear_gram(
    vectors: Float[Tensor, "n m d"],
    cotangents: Float[Tensor, "n c m d"],
    precision: str = "float64",
    backend: str = "auto",
) -> Float[Tensor, "d*d d*d"]:
    """The Gram matrix of :func:`linear_rows`, returned in float64.

    Args:
        vectors: the data.
        cotangents: the derivatives of c outputs by them.
        precision: of the products. "float64" (default) or "float32" in torch; the kernel takes
            "float32", "tf32x3" (tensor cores, nearly float32) and "tf32".
        backend: as everywhere; "auto" takes the kernel for every precision but "float64".

    Raises:
        ValueError: for an unknown precision, or one that only the kernel has where it cannot run.
        RuntimeError: if "triton" was asked for and cannot run.
    """
    choice("precision", precision, PRECISIONS)
    limit = None
    if precision == "float64":
        limit = "the kernel multiplies in float32 and float64 was asked for"
    where = resolve(backend, vectors, cotangents, limit=limit)
    if where == "triton":
        mode = "ieee" if precision == "float32" else precision
        return _kernel("linear_gram").apply(vectors, cotangents, mode)
    if precision.startswith("tf32"):
        raise ValueError(f"precision {precision!r} is the GPU kernel's, which is not in use here")
    dtype = getattr(torch, precision)
    if where == "cpu":
        return _arranged("linear_gram").apply(vectors, cotangents, dtype)
    return reference.linear_gram(vectors, cotangents, dtype)


def orbits(
    filters: Float[Tensor, "j k d"],
    generators: Float[Tensor, "j d d"],
    order: int,
    backend: str = "auto",
) -> Float[Tensor, "j k n d"]:
    """Orbits of filters under their generators; see :func:`.reference.orbits`."""
    d, limit = filters.shape[-1], None
    if d > ORBIT_DIMENSION:
        limit = f"d = {d} and the kernel holds d up to {ORBIT_DIMENSION}"
    if resolve(backend, filters, generators, limit=limit) == "triton":
        return _kernel("orbits").apply(filters, generators, order)
    return reference.orbits(filters, generators, order)


def proximal_step(
    point: Float[Tensor, "*shape"],
    gradient: Float[Tensor, "*shape"],
    previous: Float[Tensor, "*shape"],
    step: Tensor | float,
    threshold: Tensor | float,
    momentum: float,
    two_sided: bool,
    backend: str = "auto",
) -> tuple[Float[Tensor, "*shape"], Float[Tensor, "*shape"]]:
    """One proximal gradient step on codes; see :func:`.reference.proximal_step`."""
    tensors = [t for t in (point, gradient, previous, step, threshold) if isinstance(t, Tensor)]
    step, threshold = (v if isinstance(v, Tensor) else float(v) for v in (step, threshold))
    arguments = (point, gradient, previous, step, threshold, float(momentum), two_sided)
    if resolve(backend, *tensors) == "triton":
        return _kernel("proximal_step").apply(*arguments)
    return reference.proximal_step(*arguments)


# --- A fast implementation with the derivatives of its definition, for every transform of torch ---
#
# Networks are differentiated by their inputs under `vmap` and `jvp`, and trained in reverse, so
# every kernel in one must pass all of them; no torch decorator gives that (one made with
# `torch.library.custom_op` fails under `torch.func.grad` and returns wrong tangents).


def differentiable(
    implementation: Callable, definition: Callable, adjoint: Callable | None = None
) -> type[torch.autograd.Function]:
    """An autograd Function that computes by one callable and differentiates by another.

    ``definition`` is differentiable torch code with the same arguments and result. Tensors that
    carry derivatives are floating point and stand first among the arguments. A reverse pass
    calls ``adjoint(cotangents, arguments, results, needed)`` if given, which returns a gradient
    for each of the arguments, and takes the definition's derivative otherwise; a forward pass
    always takes the definition's. Under ``vmap`` the implementation runs once for each entry,
    since a kernel sees one tensor and not a batch of them.
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
            ctx.is_tensor = [isinstance(a, Tensor) for a in inputs]
            ctx.single = not isinstance(output, tuple)
            ctx.save_for_backward(*tensors, *(results if adjoint else ()))
            ctx.save_for_forward(*tensors)

        @staticmethod
        def backward(ctx, *cotangents):
            arguments, results = _arguments(ctx)
            if adjoint:
                return adjoint(cotangents, arguments, results, ctx.needs_input_grad)
            tensors = [a for a in arguments if isinstance(a, Tensor)]
            _, pull, *_ = torch.func.vjp(_of_tensors(definition, arguments), *tensors)
            gradients = iter(pull(cotangents[0] if ctx.single else cotangents))
            return tuple(next(gradients) if given else None for given in ctx.is_tensor)

        @staticmethod
        def jvp(ctx, *tangents):
            arguments, _ = _arguments(ctx)
            tensors = [a for a in arguments if isinstance(a, Tensor)]
            directions = [t for t, given in zip(tangents, ctx.is_tensor, strict=True) if given]
            return _push(_of_tensors(definition, arguments), tensors, directions)

        @staticmethod
        def vmap(info, in_dims, *arguments):
            entries = []
            for i in range(info.batch_size):
                chosen = [
                    a if d is None else a.select(d, i)
                    for a, d in zip(arguments, in_dims, strict=True)
                ]
                entries.append(Op.apply(*chosen))
            if isinstance(entries[0], tuple):
                return tuple(torch.stack(part) for part in zip(*entries, strict=True)), (0,) * len(
                    entries[0]
                )
            return torch.stack(entries), 0

    return Op


def _arguments(ctx: Any) -> tuple[list, list[Tensor]]:
    """The arguments of a saved call, and its results if they were kept."""
    saved = iter(ctx.saved_tensors)
    arguments = [
        next(saved) if given else other
        for given, other in zip(ctx.is_tensor, ctx.others, strict=True)
    ]
    return arguments, list(saved)


def _of_tensors(definition: Callable, arguments: list) -> Callable:
    """The definition as a function of its tensors alone."""

    def function(*tensors):
        given = iter(tensors)
        return definition(*(next(given) if isinstance(a, Tensor) else a for a in arguments))

    return function


def _push(function: Callable, tensors: list[Tensor], directions: list[Tensor | None]):
    """The directional derivative, from two reverse passes: these may stand inside a forward one."""
    directions = [
        torch.zeros_like(t) if d is None else d for t, d in zip(tensors, directions, strict=True)
    ]
    results, pull, *_ = torch.func.vjp(function, *tensors)
    zeros = (
        tuple(torch.zeros_like(r) for r in results)
        if isinstance(results, tuple)
        else torch.zeros_like(results)
    )
    _, push, *_ = torch.func.vjp(lambda cotangents: pull(cotangents), zeros)
    return push(tuple(directions))[0]
