"""Finished runs on disk: small checked files, each under a key of all that it depends on."""

from __future__ import annotations

import hashlib
import inspect
import json
import os
import tempfile
import time
import warnings
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from .._draws import seeded_state
from .keys import data_version, digest, environment, version_of

if TYPE_CHECKING:
    from torch import Tensor, nn

# A file that gets a line for each result that was used: its key, and the seconds it once took, or
# 0 if they were spent just now. The book's builder sets it and adds up the first line of each key.
TALLY = "SYMSCOPE_KEPT_SECONDS"
TENSOR = "tensor of the file beside"  # marks the place of a tensor in a record


class Store:
    """A folder of finished runs, made if it is missing; sweeps and notebooks may share it.

    Args:
        data: files and folders that what is kept by :meth:`keep` reads; their contents are part
            of every key.

    Raises:
        OSError: if the folder cannot be made or written, or for data that are not there.
    """

    def __init__(self, folder: str | Path, data: Iterable[str | Path] = ()):
        self.folder = Path(folder)
        self.data = data_version(data)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            tempfile.TemporaryFile(dir=self.folder).close()
        except OSError as error:
            raise OSError(f"the results folder {folder} cannot be written: {error}") from error

    def path(self, key: str) -> Path:
        """The file of a run; its tensors are beside it, in a file that ends in .safetensors."""
        return self.folder / f"{key}.json"

    def read(self, key: str, stacklevel: int = 2) -> dict[str, Any] | None:
        """What was written under a key, else None; a damaged file is named in a warning."""
        path = self.path(key)
        try:
            held = json.loads(path.read_bytes())
            if held["sha256"] == digest(key, held["record"], held["tensors"]):
                tensors = self._tensors(key, held["tensors"])
                return _filled(held["record"], tensors)
        except FileNotFoundError:
            if not path.exists():
                return None
        except (KeyError, TypeError, ValueError):
            pass
        warnings.warn(
            f"the result file {path} is damaged: its run is done again", stacklevel=stacklevel
        )
        return None

    def write(self, key: str, record: Mapping[str, Any]) -> None:
        """Put a run's record into place in one step: a reader finds all of it or nothing.

        TypeError for more than numbers, strings, booleans, None, tensors, lists and mappings.
        """
        from safetensors.torch import save

        tensors: dict[str, Tensor] = {}
        emptied = _emptied(record, tensors)
        content = None
        if tensors:
            held = save(tensors)
            content = hashlib.sha256(held).hexdigest()
            self._put(self.path(key).with_suffix(".safetensors"), held)
        checked = {"sha256": digest(key, emptied, content), "tensors": content, "record": emptied}
        self._put(self.path(key), (json.dumps(checked, indent=1) + "\n").encode())

    def keep(self, function: Callable[..., Mapping[str, Any]], /, **arguments: Any) -> Any:
        """Call ``function(**arguments)`` once, and from then on give what it returned.

        The key holds the arguments, the code of the function and of what it names of its own
        module, the values of the globals that these name, the code of the rooms of symscope and
        of other local packages that they reach by import, the contents of the store's data, and
        the versions of the packages that compute. Comments and docstrings do not count. Inside,
        torch's random state is set from the argument ``seed``, or from 0; outside it stays.

        Args:
            function: at the top level of a module, script or notebook. It loads its data itself
                and returns tensors or what its arguments may be.
            **arguments: numbers, strings, booleans, None, or lists and mappings of these.

        Returns:
            What the function returned, tensors on the CPU and tuples as lists.

        Raises:
            ValueError: for what cannot be in a key: a function, an argument, or a global that the
                function names, which the message names.
            TypeError: for arguments that the function does not take, or if it returns something
                that cannot be kept.
        """
        return self._kept(function, arguments)

    def keep_network(
        self, train: Callable[..., nn.Module], build: Callable[[], nn.Module], /, **arguments: Any
    ) -> nn.Module:
        """A network that ``train(**arguments)`` returns, trained once and from then on loaded.

        Only its ``state_dict`` is kept: what a network holds besides is as ``build`` makes it,
        a function to a network of the same shape. It is returned in evaluation mode. Otherwise
        as :meth:`keep`; TypeError if ``train`` returns no network.
        """
        state = self._kept(train, arguments, _state)
        with seeded_state(0):
            network = build()
        network.load_state_dict(state)
        return network.eval()

    def _kept(
        self,
        function: Callable,
        arguments: dict[str, Any],
        finish: Callable[[Any], Any] = lambda value: value,
    ) -> Any:
        """What a function returns, from the store or else computed."""
        check_named("function", function)
        for name, value in arguments.items():
            if not holds(value):
                raise ValueError(
                    f"{name} must be a number, a string, a boolean, None, or a list or mapping of "
                    f"these, to be part of a key; got {value!r}"
                )
        inspect.signature(function).bind(**arguments)
        key = digest("kept", arguments, self.data, version_of(function), environment())
        record = self.read(key, stacklevel=4)
        if record is None:
            with seeded_state(arguments.get("seed") or 0):
                began = time.perf_counter()
                value = finish(function(**arguments))
                seconds = time.perf_counter() - began
            self.write(key, {"arguments": arguments, "seconds": seconds, "value": value})
            tally(key, 0)
            record = self.read(key)
            assert record is not None
        else:
            tally(key, record["seconds"])
        return record["value"]

    def _tensors(self, key: str, content: str | None) -> dict[str, Tensor]:
        from safetensors.torch import load

        if content is None:
            return {}
        held = self.path(key).with_suffix(".safetensors").read_bytes()
        if hashlib.sha256(held).hexdigest() != content:
            raise ValueError("not the tensors that were written")
        return load(held)

    def _put(self, path: Path, content: bytes) -> None:
        half_written = path.with_name(f"{path.name}.{os.getpid()}.part")
        with half_written.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())  # else a power cut could leave an empty file of that name
        half_written.replace(path)


def tally(key: str, seconds: float) -> None:
    """Note that a result was used, and what it took where that was not spent just now."""
    if os.environ.get(TALLY):
        with Path(os.environ[TALLY]).open("a", encoding="utf-8") as file:
            file.write(f"{key} {seconds:.6f}\n")


def holds(value: object) -> bool:
    """Whether a value can be in a key."""
    try:
        digest(value)
    except (TypeError, ValueError):
        return False
    return True


def check_named(name: str, function: object) -> None:
    """Raise ValueError unless this is a function whose source a key can hold."""
    if not inspect.isfunction(function) or "<" in function.__qualname__:
        raise ValueError(
            f"{name} must be a function defined at the top level of a module; got {function}"
        )


def _state(network: object) -> dict[str, Tensor]:
    if not isinstance(network, torch.nn.Module):
        raise TypeError(f"train must return a network, got {type(network).__name__}")
    return dict(network.state_dict())


def _emptied(value: Any, tensors: dict[str, Tensor]) -> Any:
    """A value with marks in the place of its tensors, which are put aside by number."""
    import numpy

    if isinstance(value, torch.Tensor):
        name = str(len(tensors))
        tensors[name] = value.detach().cpu().contiguous().clone()
        return {TENSOR: name}
    if isinstance(value, Mapping):
        if not all(isinstance(name, str) for name in value):
            raise TypeError(f"a mapping that is kept must have names as keys, got {list(value)}")
        return {name: _emptied(item, tensors) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_emptied(item, tensors) for item in value]
    if isinstance(value, numpy.generic):
        return value.item()
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise TypeError(
        "only numbers, strings, booleans, None, tensors, and lists and mappings of these can be "
        f"kept, got {type(value).__name__}"
    )


def _filled(value: Any, tensors: Mapping[str, Tensor]) -> Any:
    """The value that :func:`_emptied` was given."""
    if isinstance(value, dict):
        if set(value) == {TENSOR}:
            return tensors[value[TENSOR]]
        return {name: _filled(item, tensors) for name, item in value.items()}
    if isinstance(value, list):
        return [_filled(item, tensors) for item in value]
    return value
