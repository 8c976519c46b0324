"""Small files in the place of the real data sets, and no picture kept from one test to the next."""

import gzip
import hashlib
import io
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pooch
import pytest
from helpers import idx
from PIL import Image

from studies.data import sources


@pytest.fixture(autouse=True)
def forget_pictures():
    sources.checked_picture.cache_clear()
    yield
    sources.checked_picture.cache_clear()


@pytest.fixture
def tiny(monkeypatch) -> dict[str, bytes]:
    """Four small gzip files in MNIST's format, registered as if they were MNIST."""
    draw = np.random.default_rng(0)
    raw = {}
    for part, size in (("train", 40), ("t10k", 12)):
        raw[f"{part}-images-idx3-ubyte"] = idx(draw.integers(0, 256, (size, 28, 28)))
        raw[f"{part}-labels-idx1-ubyte"] = idx(np.arange(size) % 10)
    hashes = {name: hashlib.sha256(data).hexdigest() for name, data in raw.items()}
    monkeypatch.setattr(sources, "MNIST_SHA256", hashes)
    return {name: gzip.compress(data) for name, data in raw.items()}


@pytest.fixture
def folder(tiny, monkeypatch, tmp_path) -> Path:
    """SYMSCOPE_DATA with the small files in it; returns its mnist folder."""
    path = tmp_path / "given" / "mnist"
    path.mkdir(parents=True)
    for name, packed in tiny.items():
        (path / f"{name}.gz").write_bytes(packed)
    monkeypatch.setenv("SYMSCOPE_DATA", str(path.parent))
    monkeypatch.setattr(sources, "MNIST_MIRRORS", ())
    return path


@pytest.fixture
def cache(tiny, monkeypatch, tmp_path) -> Path:
    """An empty user cache and no SYMSCOPE_DATA; returns where the files will lie."""
    monkeypatch.delenv("SYMSCOPE_DATA", raising=False)
    monkeypatch.setenv("NO_PROXY", "*")
    monkeypatch.setattr(pooch, "os_cache", lambda project: tmp_path / project)
    return tmp_path / "symscope" / "mnist"


@pytest.fixture
def fashion(tmp_path, monkeypatch):
    """A small Fashion-MNIST where Debian's package would put it; nowhere else to look."""
    folder = tmp_path / "installed"
    folder.mkdir()
    draw = np.random.default_rng(0)
    hashes = {}
    for part, count in (("train", 30), ("t10k", 10)):
        values = {
            "images-idx3-ubyte": draw.integers(0, 256, (count, 28, 28)),
            "labels-idx1-ubyte": np.arange(count) % 10,
        }
        for kind, value in values.items():
            raw = idx(value)
            hashes[f"{part}-{kind}"] = hashlib.sha256(raw).hexdigest()
            (folder / f"{part}-{kind}.gz").write_bytes(gzip.compress(raw))
    monkeypatch.setattr(sources, "FASHION_SHA256", hashes)
    monkeypatch.setattr(sources, "FASHION_INSTALLED", folder)
    monkeypatch.setattr(sources, "FASHION_MIRRORS", ())
    monkeypatch.setattr(pooch, "os_cache", lambda project: tmp_path / "cache")
    monkeypatch.delenv("SYMSCOPE_DATA", raising=False)
    return folder


@pytest.fixture
def cifar(tmp_path, monkeypatch):
    """An archive like CIFAR-10's, of few images, in the user's folder."""
    draw = np.random.default_rng(0)
    rows = draw.integers(0, 256, (6, 4, 3073), dtype=np.uint8)
    rows[:, :, 0] %= 10
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        names = [*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"]
        for name, values in zip(names, rows, strict=True):
            info = tarfile.TarInfo(f"cifar-10-batches-bin/{name}.bin")
            info.size = values.nbytes
            archive.addfile(info, io.BytesIO(values.tobytes()))
    folder = tmp_path / "cifar-10"
    folder.mkdir()
    (folder / "cifar-10-binary.tar.gz").write_bytes(packed.getvalue())
    digest = hashlib.sha256(packed.getvalue()).hexdigest()
    monkeypatch.setattr(sources, "CIFAR_SHA256", {"cifar-10-binary.tar.gz": digest})
    monkeypatch.setattr(sources, "CIFAR_MIRRORS", ())
    monkeypatch.setattr(pooch, "os_cache", lambda project: tmp_path / "cache")
    monkeypatch.setenv("SYMSCOPE_DATA", str(tmp_path))
    return rows


@pytest.fixture
def cifar_jpeg(tmp_path, monkeypatch) -> Path:
    """A small zip like the JPEG copy of CIFAR-10: grey levels tell class, part and place apart."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for part, count in (("test", 1), ("train", 2)):  # in another order than they are given
            for kind, name in enumerate(sources.CIFAR_CLASSES):
                for place in range(count):
                    level = 20 * kind + 5 * place + 2 * (part == "test")
                    made = io.BytesIO()
                    pixels = np.full((32, 32, 3), level, np.uint8)
                    Image.fromarray(pixels).save(made, "JPEG", quality=100)
                    archive.writestr(f"{part}/{name}/{place:04}.jpg", made.getvalue())
    path = tmp_path / "cifar-10-jpeg" / "cifar-10-jpeg.zip"
    path.parent.mkdir()
    path.write_bytes(packed.getvalue())
    digest = hashlib.sha256(packed.getvalue()).hexdigest()
    monkeypatch.setattr(sources, "CIFAR_JPEG_SHA256", {path.name: digest})
    monkeypatch.setattr(pooch, "os_cache", lambda project: tmp_path / "cache")
    monkeypatch.setenv("SYMSCOPE_DATA", str(tmp_path))
    return path
