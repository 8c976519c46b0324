"""A reader's own network, weights, data and action, by name and path; nothing is unpickled."""

from __future__ import annotations

import difflib
import importlib
import math
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from torch import Tensor, nn
from torch.nn.modules.utils import consume_prefix_in_state_dict_if_present

from symscope._checks import choice
from symscope.actions import Action, LinearAction, PlaneAction, PointAction
from symscope.inputs.files import OF_TORCH, PLACES, TENSORS, load_tensors
from symscope.inputs.samples import Name, described, named, parts_of

ACTIONS = ("plane", "linear", "atoms")
SCRIPT = "torch.jit.load(...), of a file that torch.jit.save wrote,"
ARCHIVES = {".pt2": "torch.export.load(...).module()", **dict.fromkeys(OF_TORCH, SCRIPT)}
PLAIN = (str, int, float, bool, list, tuple, dict, type(None))
SESSION = {"In", "Out"}  # of IPython
SCALES = ("quick", "paper")


def check_parameters(given: Mapping[str, object], known: Iterable[str]) -> None:
    """Refuse parameters of a notebook that it does not know, which would be left out in silence.

    Args:
        given: the notebook's names, ``globals()`` before anything else was defined.
        known: the parameters' names, "scale" among them.
    """
    known = tuple(known)
    for name, value in given.items():
        private = name.startswith("_") or name in SESSION
        if isinstance(value, PLAIN) and not private and name not in known:
            near = difflib.get_close_matches(name, known, 1)
            meant = f"; did you mean {near[0]!r}?" if near else "."
            raise ValueError(f"there is no parameter {name!r}{meant} There are: {', '.join(known)}")
    choice("scale", given["scale"], SCALES)


def load_network(model: str, weights: str = "") -> nn.Module:
    """A network in eval mode.

    Args:
        model: "package.module:factory", which is called without arguments and gives a module.
        weights: a file of its state dictionary, or of a checkpoint that holds one; of several
            "file.ckpt:name" takes one. Default "", those that the factory gives.
    """
    if way := ARCHIVES.get(Path(model).suffix):
        raise ValueError(
            f"{model} is an archive, which can run code of its own when it is loaded: write a "
            f"module with a function that gives {way}, if you trust the file, and hand in "
            "package.module:function"
        )
    network = _imported(model, "model")
    network = network if isinstance(network, nn.Module) else network()
    if not isinstance(network, nn.Module):
        raise TypeError(f"{model} must give a torch module, got {type(network).__name__}")
    if weights:
        try:
            network.load_state_dict(_state(weights))
        except RuntimeError as error:
            raise ValueError(f"{weights} holds weights of another network: {error}") from error
    try:
        return network.eval()
    except NotImplementedError:  # by an exported program: it stays as it was exported
        return network


def load_data(
    network: nn.Module, path: str, moves: Name = "", leave_out: str = "", divisor: float = 0
) -> tuple[Any, Name | None]:
    """What a network is called with, in its precision, and which part of it moves, if of several.

    Args:
        network: that takes the data.
        path: a file of tensors, samples first.
        moves: of several tensors the name or place of the one that moves; default "", the only one.
        leave_out: names or places, with commas, of what the network does not take, as labels.
        divisor: of whole numbers that move, as 255 of images in bytes; default 0, they are refused.
    """
    held = load_tensors(path)
    one, left = isinstance(held, Tensor), str(leave_out).replace(" ", "").split(",")
    parts = {"": held} if one else {str(name): part for name, part in parts_of(held).items()}
    there = f"{path} holds {'one tensor' if one else ', '.join(parts)}"
    for name in filter(None, (*left, str(moves))):
        if name not in parts:
            raise ValueError(f"{there}: there is no {name!r} in it")
    parts = {name: part for name, part in parts.items() if one or name not in left}
    if moves == "" and len(parts) != 1:
        raise ValueError(
            f"{there}: say which moves, -p moves NAME, and what the network does not take "
            "(labels), -p leave_out NAME"
        )
    mover = next(iter(parts)) if moves == "" else str(moves)
    if isinstance(value := parts[mover], Tensor) and not value.is_floating_point():
        if not divisor:
            raise TypeError(
                f"{path} holds whole numbers ({value.dtype}), which cannot move a little: say what "
                "the network's inputs were divided by, -p divisor 255, or 1"
            )
        parts[mover] = value / divisor
    parts = in_precision_of(network, parts)
    if len(parts) == 1:
        return parts[mover], None
    places = tuple(parts.values()), list(parts).index(mover)
    return (parts, mover) if isinstance(held, Mapping) else places


def load_action(action: str, data: Any, moves: Any = None) -> Action:
    """An action by its name, for the data that it moves.

    Args:
        action: "plane" (images, ``PlaneAction("gl2")``), "linear" (vectors, all matrices),
            "atoms" (points (N, points, 3), ``PointAction(3)``), or "package.module:action", an
            action or a function that gives one.
        data: a tensor, or what holds the one that ``moves``.
    """
    if ":" in action:
        found = _imported(action, "action")
        return found if hasattr(found, "basis") else found()
    if action not in ACTIONS:
        raise ValueError(
            f"action must be one of {', '.join(ACTIONS)}, or package.module:action; got {action!r}"
        )
    if action == "plane":
        return PlaneAction("gl2")
    if action == "atoms":
        return PointAction(3)
    shape = (data if isinstance(data, Tensor) else named(data, moves)).shape
    return LinearAction(shape[-1], copies=math.prod(shape[1:-1]))


def in_precision_of(network: nn.Module, data: Any) -> Any:
    """The data, their floating-point tensors in the precision of the network's weights."""
    held = (p for p in (*network.parameters(), *network.buffers()) if p.is_floating_point())
    dtype = next((p.dtype for p in held), None)
    if dtype is None:
        return data
    if isinstance(data, Tensor):
        return data.to(dtype) if data.is_floating_point() else data
    if isinstance(data, Mapping):
        return {name: in_precision_of(network, value) for name, value in data.items()}
    return data


def _state(weights: str) -> Mapping[str, Tensor]:
    """The state dictionary in a file, or in the checkpoint that it holds."""
    path, part = weights, ""
    if Path(weights).suffix not in TENSORS:
        path, _, part = weights.rpartition(":")
    held = load_tensors(path or weights)
    states = {name: each for name, each in parts_of(held).items() if _is_state(each)}
    if part or (states and not _is_state(held)):
        part = part or ("" if len(states) > 1 else next(iter(states)))
        if part not in states:
            names = ", ".join(f"{path}:{name}" for name in states)
            raise ValueError(f"{path} holds {len(states)} state dictionaries: hand in {names}")
        held = states[part]
    if not isinstance(held, Mapping):
        raise ValueError(f"{path} must hold a network's state dictionary, not {described(held)}")
    state = dict(held)
    consume_prefix_in_state_dict_if_present(state, "module.")  # of DataParallel
    return state


def _is_state(held: Any) -> bool:
    whole = isinstance(held, Mapping) and all(isinstance(t, Tensor) for t in held.values())
    return whole and len(held) > 0


def _imported(name: str, what: str) -> Any:
    """What a name like "package.module:name" stands for."""
    module, colon, part = name.partition(":")
    if not (module and colon and part):
        raise ValueError(f"{what} must be like package.module:name; got {name!r}")
    for place in PLACES:
        if (folder := str(place.resolve())) not in sys.path:
            sys.path.append(folder)
    try:
        found = importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module}.".startswith(f"{error.name}."):
            raise  # the module is there, and lacks another
        raise ImportError(
            f"there is no module {module!r}, neither installed nor in this folder or the one above"
        ) from error
    if not hasattr(found, part):
        raise ImportError(f"the module {module!r} has no {part!r}")
    return getattr(found, part)
