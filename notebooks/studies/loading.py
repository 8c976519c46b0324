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

from symscope._checks import choice
from symscope.actions import Action, LinearAction, PlaneAction, PointAction
from symscope.inputs.files import PLACES, find, load_tensors
from symscope.inputs.samples import named

ACTIONS = ("plane", "linear", "atoms")
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
        weights: a file of its state dictionary; default "", those that the factory gives.
    """
    if Path(model).suffix == ".pt2":
        raise ValueError(
            f"{model} is an archive of torch.export, which can run code of its own when it is "
            "loaded: write a module with a function that gives torch.export.load(...).module(), "
            "if you trust the file, and hand in package.module:function"
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
    if isinstance(data, (tuple, list)):
        return type(data)(in_precision_of(network, value) for value in data)
    return data


def _state(weights: str) -> Mapping[str, Tensor]:
    """The state dictionary in a file."""
    if Path(weights).suffix == ".safetensors":
        from safetensors.torch import load_file

        return load_file(find(weights))
    state = load_tensors(weights)
    if not isinstance(state, Mapping):
        raise ValueError(f"{weights} must hold a network's state dictionary, .safetensors or .pt")
    return state


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
