"""A fast implementation with the derivatives of its definition, for every transform of torch.

Networks are differentiated by their inputs under ``vmap`` and ``jvp`` (lie/rows.py), and trained in
reverse, so every kernel in one must pass all of them; no torch decorator gives that (one made with
``torch.library.custom_op`` fails under ``torch.func.grad`` and returns wrong tangents).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor


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
