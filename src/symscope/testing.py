"""Does an action's calculus agree with itself: rows, fields and Gram matrices with its flow."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from .actions.vectors import Action

STEP = 1e-4  # t of the finite differences, which are taken in float64
ANGLE = 1e-2  # t of the group law


def check_action(
    action: Action, data: Tensor, *, tolerance: float = 0.02, seed: int = 0
) -> dict[str, float]:
    """Check an action, one's own above all, on some of the data that it moves.

    Its ``rows`` are held to central differences of its ``flow``, direction by direction and
    along a random combination; ``fields`` and ``gram``, where it has them, to its rows; the flow
    to the group law, flow(flow(x, h, s), h, t) = flow(x, h, s + t). All in float64.

    Args:
        action: an object with the members of :class:`symscope.actions.vectors.Action`.
        data: (N, ...), real data if the action interpolates; a dozen samples do.
        tolerance: the largest relative error of the rows, default 0.02: what an interpolation
            of real images leaves. Exact actions stay below 1e-6.
        seed: of the random cotangents and of the random combination.

    Returns:
        The largest relative error of each part, by name. AssertionError if one is wrong, which
        names it and the direction; TypeError if the action lacks a member.

    >>> import symscope as ss, torch
    >>> errors = check_action(ss.LinearAction(3), torch.randn(5, 3))
    >>> sorted(errors)
    ['fields', 'gram', 'group law', 'rows']
    >>> max(errors.values()) < 1e-6
    True
    """
    missing = [name for name in ("basis", "check", "rows", "flow") if not hasattr(action, name)]
    if missing:
        raise TypeError(f"{action!r} has no {', '.join(missing)}")
    _check_basis(action)
    action.check(data)
    data = data.detach().double()
    draw = torch.Generator().manual_seed(seed)
    shape = (len(data), 3, *data.shape[1:])
    cotangents = torch.randn(shape, generator=draw, dtype=torch.float64, device="cpu")
    cotangents = cotangents.to(data.device)
    rows = action.rows(data, cotangents)
    directions = len(action.basis)
    if tuple(rows.shape) != (len(data), 3, directions):
        raise AssertionError(
            f"rows of {action!r} must be of shape {(len(data), 3, directions)}, samples by "
            f"outputs by directions; got {tuple(rows.shape)}"
        )
    errors = {
        "rows": _check_rows(action, data, cotangents, rows, tolerance, draw),
        "group law": _check_group_law(action, data, max(tolerance, 1e-6) * 10),
    }
    if hasattr(action, "fields"):
        errors["fields"] = _check_fields(action, data, cotangents, rows)
    if hasattr(action, "gram"):
        truth = torch.einsum("nck,ncl->kl", rows, rows)
        gram = action.gram(data, cotangents, "auto", torch.float64)
        errors["gram"] = _relative(gram.to(truth), truth)
        _demand(errors["gram"], 1e-6, f"the Gram matrix of {action!r} is not that of its rows")
    return errors


def _check_basis(action: Action) -> None:
    flat = action.basis.flatten(1)
    shape = (len(action.basis), *action.shape)
    if flat.dtype != torch.float64 or tuple(action.basis.shape) != shape:
        raise AssertionError(
            f"the basis of {action!r} must be float64 of shape {shape}, (K, *action.shape); got "
            f"{flat.dtype} of shape {tuple(action.basis.shape)}"
        )
    error = float((flat @ flat.T - torch.eye(len(flat), device="cpu").to(flat)).abs().max())
    _demand(error, 1e-10, f"the basis of {action!r} is not orthonormal")


def _check_rows(
    action: Action, data: Tensor, cotangents: Tensor, rows: Tensor, tolerance: float,
    draw: torch.Generator,
) -> float:  # fmt: skip
    """Rows against finite differences of the flow, along the basis and one combination of it."""
    size = len(action.basis)
    mixed = torch.randn(1, size, generator=draw, dtype=torch.float64, device="cpu")
    coefficients = torch.cat([torch.eye(size, dtype=torch.float64, device="cpu"), mixed])
    errors = []
    for k, a in enumerate(coefficients):
        generator = torch.tensordot(a.to(action.basis), action.basis, 1)
        there, back = (action.flow(data, generator, t) for t in (STEP, -STEP))
        if there.shape != data.shape:
            raise AssertionError(
                f"flow of {action!r} must keep the shape of the data {tuple(data.shape)}; "
                f"got {tuple(there.shape)}"
            )
        moved = ((there - back) / (2 * STEP)).flatten(1)
        truth = torch.einsum("ncu,nu->nc", cotangents.flatten(2), moved)
        errors.append(_relative(rows @ a.to(rows), truth))
        which = f"direction {k}" if k < size else "a combination of directions"
        what = f"the rows of {action!r} are not the derivatives of its flow, {which}"
        _demand(errors[-1], tolerance, what)
    return max(errors)


def _check_fields(action: Action, data: Tensor, cotangents: Tensor, rows: Tensor) -> float:
    """Fields against rows: both are derivatives of the same movement."""
    moving: Any = action  # an action need not have fields; this one has
    fields = moving.fields(data)
    shape = (len(action.basis), *data.shape)
    if tuple(fields.shape) != shape:
        raise AssertionError(
            f"fields of {action!r} must be of shape {shape}; got {tuple(fields.shape)}"
        )
    along = torch.einsum("ncu,knu->nck", cotangents.flatten(2), fields.flatten(2))
    errors = [_relative(along[..., k], rows[..., k]) for k in range(len(action.basis))]
    k = max(range(len(errors)), key=errors.__getitem__)
    _demand(errors[k], 1e-6, f"the fields of {action!r} are not those of its rows, direction {k}")
    return errors[k]


def _check_group_law(action: Action, data: Tensor, tolerance: float) -> float:
    worst = _relative(action.flow(data, action.basis[0], 0.0), data)
    _demand(worst, 1e-6, f"the flow of {action!r} moves the data at t = 0")
    for k, generator in enumerate(action.basis):
        twice = action.flow(action.flow(data, generator, ANGLE), generator, ANGLE)
        once = action.flow(data, generator, 2 * ANGLE)
        error = float((twice - once).norm()) / max(float((once - data).norm()), 1e-12)
        _demand(error, tolerance, f"the flow of {action!r} breaks the group law, direction {k}")
        worst = max(worst, error)
    return worst


def _relative(found: Tensor, truth: Tensor) -> float:
    """The error's norm over the truth's; where the truth is zero, the error itself."""
    return float((found - truth).norm()) / (float(truth.norm()) or 1.0)


def _demand(error: float, tolerance: float, what: str) -> None:
    if not error <= tolerance:
        raise AssertionError(f"{what}: relative error {error:.2g}, at most {tolerance:.2g}")
