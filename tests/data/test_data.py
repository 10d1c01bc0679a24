"""The images: genuine ones or one clear line, whatever happened to the files."""

from __future__ import annotations

import contextlib
import errno
import gzip
import hashlib
import os
import shutil
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np
import pytest
import torch
from filelock import FileLock
from hypothesis import given, settings
from hypothesis import strategies as st

from bsr.data import images as data
from bsr.data import raw_files, torchvision_files
from bsr.data.images import MD5, RAW_FILES, DataError, load_images, load_split
from bsr.run import Run

if TYPE_CHECKING:
    from bsr.data.images import Images

DIGEST = "5b92582eb909c82a"
BUNDLED = Path(data.__file__).parent / "mnist"
DEBIAN_FASHION = Path("/usr/share/datasets/fashion-mnist")
RUN = Run(task="mean", batch_size=32, seed=0, learning_rate=0.001, train_images=100, test_images=20)
every_raw_file = pytest.mark.parametrize("name", RAW_FILES)


def forget() -> None:
    """Let the next call read the files again, as a new process would."""
    data._images.cache_clear()
    data._labels.cache_clear()


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_arguments: object, **_options: object) -> NoReturn:
        raise urllib.error.URLError("no network in a test")

    monkeypatch.setattr(urllib.request, "urlopen", refuse)


@pytest.fixture
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty cache of bsr's own; where MNIST's raw files belong in it."""
    monkeypatch.setenv("BSR_CACHE", str(tmp_path / "cache"))
    forget()
    yield tmp_path / "cache" / "data" / "MNIST" / "raw"
    forget()


def tiny_files() -> dict[str, bytes]:
    """Four IDX files of three and two images."""
    found = {}
    for name, count in zip(RAW_FILES, (3, 3, 2, 2), strict=True):
        shape = (count, 28, 28) if "images" in name else (count,)
        header = (0x0800 + len(shape), *shape)
        found[name] = b"".join(size.to_bytes(4, "big") for size in header) + bytes(
            value % 251 for value in range(int(np.prod(shape)))
        )
    return found


TINY = tiny_files()
TINY_DIGEST = hashlib.sha256(TINY[RAW_FILES[0]][16:] + TINY[RAW_FILES[2]][16:]).hexdigest()[:16]


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The small data set passes for MNIST; where its archives lie, which are those that bsr comes with."""
    monkeypatch.setitem(data.MD5, "MNIST", tuple(hashlib.md5(each).hexdigest() for each in TINY.values()))
    bundled = tmp_path / "package" / "data" / "mnist"
    bundled.mkdir(parents=True)
    for name, content in TINY.items():
        (bundled / f"{name}.gz").write_bytes(gzip.compress(content))
    monkeypatch.setattr(raw_files, "files", lambda _package: bundled.parents[1])
    forget()
    yield bundled
    forget()


@pytest.fixture
def folder(tmp_path: Path, package: Path) -> Path:
    """A folder of the user's with the small data set in it."""
    place(tmp_path / "mine" / "MNIST" / "raw")
    return tmp_path / "mine"


def place(raw: Path) -> None:
    raw.mkdir(parents=True)
    for name, content in TINY.items():
        (raw / name).write_bytes(content)


def flip_a_byte(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


def refusal(dataset: str, folder: Path | None = None) -> str:
    """The one line with which the data are refused."""
    with pytest.raises(DataError) as refused:
        load_images(dataset, None if folder is None else str(folder))
    assert "\n" not in str(refused.value)
    return str(refused.value)


# Genuine images


def test_bundled_mnist_is_genuine_and_whole(mnist: Images) -> None:
    assert mnist.digest == DIGEST
    assert (mnist.train.shape, mnist.test.shape) == ((60_000, 28, 28), (10_000, 28, 28))
    assert mnist.train.dtype == mnist.test.dtype == torch.uint8
    assert (int(mnist.train.min()), int(mnist.train.max())) == (0, 255)


def test_the_digest_is_that_of_the_pixels(mnist: Images) -> None:
    pixels = np.concatenate([mnist.train.numpy(), mnist.test.numpy()])
    assert hashlib.sha256(pixels.tobytes()).hexdigest()[:16] == DIGEST


@every_raw_file
def test_the_package_holds_the_published_files(name: str) -> None:
    content = gzip.decompress((BUNDLED / f"{name}.gz").read_bytes())
    assert hashlib.md5(content).hexdigest() == (MD5["MNIST"] or ())[RAW_FILES.index(name)]


def test_a_folder_of_archives_of_ones_own_gives_the_same_images(mnist: Images, tmp_path: Path) -> None:
    shutil.copytree(BUNDLED, tmp_path / "MNIST" / "raw")
    mine = load_images("MNIST", str(tmp_path))
    assert mine.digest == mnist.digest
    assert torch.equal(mine.test, mnist.test)
    forget()


def test_a_split_has_the_first_images_and_their_labels(mnist: Images) -> None:
    split = load_split(RUN)
    assert torch.equal(split.train_images, mnist.train[:100])
    assert torch.equal(split.test_images, mnist.test[:20])
    torch.testing.assert_close(split.train_labels, mnist.train[:100].double().mean((1, 2)).float())
    torch.testing.assert_close(split.test_labels, mnist.test[:20].double().mean((1, 2)).float())
    assert split.digest == DIGEST


def test_a_split_copies_no_images(mnist: Images) -> None:
    whole = load_split(replace(RUN, train_images=60_000, test_images=10_000))
    part = load_split(RUN)
    assert (
        part.train_images.data_ptr() == whole.train_images.data_ptr() == load_images("MNIST").train.data_ptr()
    )


def test_more_images_than_there_are_is_refused() -> None:
    with pytest.raises(
        DataError, match=r"MNIST: expected at most 60000 train and 10000 test images, got 60001"
    ):
        load_split(replace(RUN, train_images=60_001))


def test_an_unknown_data_set_is_refused_by_name() -> None:
    known = "MNIST, FashionMNIST, KMNIST, Rotated, or package.module:attribute"
    assert refusal("CIFAR10") == f"dataset: unknown 'CIFAR10'; expected one of {known}"


def test_an_unknown_task_is_refused_by_name() -> None:
    with pytest.raises(LookupError, match="men"):
        load_split(replace(RUN, task="men"))


# Damaged files


@every_raw_file
def test_a_flipped_byte_in_the_cache_heals(own_cache: Path, package: Path, name: str) -> None:
    place(own_cache)
    flip_a_byte(own_cache / name)
    assert load_images("MNIST").digest == TINY_DIGEST
    assert (own_cache / name).read_bytes() == TINY[name]


@every_raw_file
def test_a_flipped_byte_in_a_folder_of_ones_own_is_one_line_and_stays(folder: Path, name: str) -> None:
    damaged = folder / "MNIST" / "raw" / name
    flip_a_byte(damaged)
    before = damaged.read_bytes()
    line = refusal("MNIST", folder)
    assert f"{damaged}: expected MD5 {(MD5['MNIST'] or ())[RAW_FILES.index(name)]}, got" in line
    assert "put the genuine files or their .gz archives there, or leave --bsr-data out" in line
    assert damaged.read_bytes() == before


def test_a_truncated_raw_file_in_the_cache_heals(own_cache: Path, package: Path) -> None:
    place(own_cache)
    (own_cache / RAW_FILES[2]).write_bytes(TINY[RAW_FILES[2]][:-1])
    assert load_images("MNIST").digest == TINY_DIGEST


@pytest.mark.parametrize(
    "content", [b"", b"\x00\x00\x08\x03", b"<html>404</html>"], ids=["empty", "head", "HTML"]
)
def test_a_raw_file_that_is_none_is_one_line(folder: Path, content: bytes) -> None:
    path = folder / "MNIST" / "raw" / RAW_FILES[0]
    path.write_bytes(content)
    line = refusal("MNIST", folder)
    assert (
        f"{path}: expected the genuine file, 47,040,016 bytes, got {len(content)} bytes; remove it and"
        in line
    )


@pytest.mark.parametrize("damage", ["truncated", "HTML", "flipped", "garbled"])
def test_an_archive_that_is_none_is_one_line(folder: Path, damage: str) -> None:
    raw = folder / "MNIST" / "raw"
    packed = gzip.compress((raw / RAW_FILES[3]).read_bytes())
    content = {
        "truncated": packed[:-10],
        "HTML": b"<!DOCTYPE html><html>not found</html>",
        "garbled": packed[:10] + b"\xff" * 8 + packed[18:],
        "flipped": packed[:-6] + bytes([packed[-6] ^ 1]) + packed[-5:],
    }
    (raw / RAW_FILES[3]).unlink()
    (raw / f"{RAW_FILES[3]}.gz").write_bytes(content[damage])
    assert f"{raw / RAW_FILES[3]}.gz: expected " in refusal("MNIST", folder)
    assert not (raw / RAW_FILES[3]).exists()


def test_a_damaged_package_is_one_line(own_cache: Path, package: Path) -> None:
    (package / f"{RAW_FILES[0]}.gz").write_bytes(b"<html>")
    assert refusal("MNIST").endswith("install bsr again")


def legacy_files(folder: Path) -> None:
    """What torchvision before 0.9 left behind, and today's still prefers: here, wrong images."""
    processed = folder / "MNIST" / "processed"
    processed.mkdir(parents=True)
    for name in ("training.pt", "test.pt"):
        wrong = torch.zeros(3, 28, 28, dtype=torch.uint8), torch.zeros(3, dtype=torch.int64)
        torch.save(wrong, processed / name)


def test_legacy_files_in_a_folder_of_ones_own_are_refused_not_read(folder: Path) -> None:
    legacy_files(folder)
    assert f"{folder / 'MNIST' / 'processed'}: expected none, got torchvision's legacy" in refusal(
        "MNIST", folder
    )


def test_legacy_files_in_the_cache_are_removed_not_read(own_cache: Path, package: Path) -> None:
    place(own_cache)
    legacy_files(own_cache.parent.parent)
    assert load_images("MNIST").digest == TINY_DIGEST
    assert not list((own_cache.parent / "processed").iterdir())


# Any byte of any file


@pytest.fixture(scope="class")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder of the user's with the small data set, which passes for the genuine MNIST."""
    folder = tmp_path_factory.mktemp("tiny")
    (folder / "MNIST" / "raw").mkdir(parents=True)
    sums = tuple(hashlib.md5(content).hexdigest() for content in TINY.values())
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(data.MD5, "MNIST", sums)
        yield folder
    forget()


def write(folder: Path, contents: dict[str, bytes]) -> None:
    for name, content in contents.items():
        (folder / "MNIST" / "raw" / name).write_bytes(content)
    forget()


class TestAnyByteOfAnyFile:
    def test_the_small_data_set_is_read_as_it_was_written(self, tiny: Path) -> None:
        write(tiny, TINY)
        images = load_images("MNIST", str(tiny))
        assert images.train.flatten().tolist() == [value % 251 for value in range(3 * 784)]

    @settings(max_examples=200)
    @given(name=st.sampled_from(RAW_FILES), where=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
    def test_no_flipped_bit_anywhere_passes(self, tiny: Path, name: str, where: float, bit: int) -> None:
        damaged = bytearray(TINY[name])
        damaged[int(where * len(damaged))] ^= 1 << bit
        write(tiny, TINY | {name: bytes(damaged)})
        assert str(tiny) in refusal("MNIST", tiny)

    @given(
        name=st.sampled_from(RAW_FILES), where=st.floats(0, 1, exclude_max=True), tail=st.binary(max_size=20)
    )
    def test_no_torn_or_overlong_file_passes(self, tiny: Path, name: str, where: float, tail: bytes) -> None:
        whole = TINY[name]
        torn = whole[: int(where * len(whole))] + tail
        if torn == whole:
            return
        for damaged in (torn, whole + b"\0"):
            write(tiny, TINY | {name: damaged})
            assert str(tiny) in refusal("MNIST", tiny)


# A cache that cannot be written


def test_a_full_disk_is_one_line_and_leaves_nothing_behind(
    own_cache: Path, package: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = os.write

    def full(descriptor: int, content: Any) -> int:
        if len(content) > 1024:
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(descriptor, content)

    with monkeypatch.context() as patch:
        patch.setattr("bsr.records.durable.os.write", full)
        line = refusal("MNIST")
    assert (
        f"{own_cache}: expected a folder to unpack MNIST in, got [Errno 28] No space left on device" in line
    )
    assert "make room there or make it writable, or name another with BSR_CACHE or --bsr-data" in line
    assert not own_cache.exists()
    assert load_images("MNIST").digest == TINY_DIGEST  # once there is room


def test_a_cache_that_is_a_file_is_one_line(tmp_path: Path, own_cache: Path) -> None:
    (tmp_path / "cache").write_text("a file")
    assert f"{own_cache}: expected a folder to unpack MNIST in, got [Errno" in refusal("MNIST")


def test_a_read_only_cache_is_one_line(own_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path, **_options: object) -> NoReturn:
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(Path, "mkdir", refuse)
    assert f"{own_cache}: expected a folder to unpack MNIST in, got [Errno 13] Permission denied" in refusal(
        "MNIST"
    )


def test_a_read_only_cache_with_genuine_images_works(
    own_cache: Path, package: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place(own_cache)

    def refuse(*_arguments: object, **_options: object) -> NoReturn:
        raise PermissionError(errno.EACCES, "Permission denied")

    for name in ("write", "open", "mkdir"):
        monkeypatch.setattr(os, name, refuse)
    assert load_images("MNIST").digest == TINY_DIGEST


@pytest.mark.slow
def test_four_processes_at_once_on_an_empty_cache_all_get_the_images(tmp_path: Path) -> None:
    code = "from bsr.data.images import load_images; print(load_images('MNIST').digest)"
    environment = os.environ | {"BSR_CACHE": str(tmp_path)}
    started = [
        subprocess.Popen([sys.executable, "-c", code], env=environment, stdout=subprocess.PIPE, text=True)
        for _ in range(4)
    ]
    assert [process.communicate()[0].strip() for process in started] == [DIGEST] * 4
    assert {path.name for path in (tmp_path / "data" / "MNIST" / "raw").iterdir()} == set(RAW_FILES)


def test_a_process_waits_while_another_unpacks(own_cache: Path, package: Path) -> None:
    own_cache.mkdir(parents=True)
    with ThreadPoolExecutor() as pool:
        with FileLock(own_cache.parent / "unpacking.lock"):
            waiting = pool.submit(load_images, "MNIST")
            with pytest.raises(TimeoutError):
                waiting.result(timeout=0.3)
            assert not list(own_cache.iterdir())
        assert waiting.result().digest == TINY_DIGEST


def test_what_another_process_supplied_meanwhile_is_not_made_again(
    own_cache: Path, package: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    @contextlib.contextmanager
    def after_another(waiting: raw_files.DatasetFolder) -> Iterator[None]:
        place(waiting.raw)
        yield

    monkeypatch.setattr(torchvision_files, "alone_in", after_another)
    monkeypatch.setattr(torchvision_files, "supply", lambda *_arguments: pytest.fail("made again"))
    assert load_images("MNIST").digest == TINY_DIGEST


BOMB = gzip.compress(bytes(1_000_000)) * 300
"""An archive of members one after the other, each of zeros."""


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (BOMB, "expected 47,040,016 bytes in it, got more"),
        (gzip.compress(b"something else", mtime=0), "expected train-images-idx3-ubyte, MD5"),
        (b"", "expected train-images-idx3-ubyte, MD5"),
        (b"PK", "expected a gzip archive"),
    ],
)
def test_an_archive_of_something_else_is_named_alone_and_nothing_is_written(
    folder: Path, package: Path, content: bytes, complaint: str
) -> None:
    raw = folder / "MNIST" / "raw"
    (raw / RAW_FILES[0]).unlink()
    (raw / f"{RAW_FILES[0]}.gz").write_bytes(content)
    line = refusal("MNIST", folder)
    assert line.startswith(f"{raw / RAW_FILES[0]}.gz: expected ")
    assert complaint in line
    assert line.endswith(f"replace it by the genuine {RAW_FILES[0]}.gz")
    assert RAW_FILES[1] not in line
    assert not (raw / RAW_FILES[0]).exists()
    shutil.copy(package / f"{RAW_FILES[0]}.gz", raw)  # the advice
    assert load_images("MNIST", str(folder)).digest == TINY_DIGEST


@pytest.mark.parametrize("archived", [False, True])
def test_a_folder_that_holds_the_files_themselves_will_do(
    package: Path, tmp_path: Path, archived: bool
) -> None:
    mine = tmp_path / "mine"
    if archived:
        shutil.copytree(package, mine)
    else:
        place(mine)
    assert load_images("MNIST", str(mine)).digest == TINY_DIGEST
    assert {path.suffix for path in mine.iterdir()} == ({"", ".gz"} if archived else {""})


def test_a_class_that_torchvision_lacks_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(data.MD5, "NoSuchDigits", None)
    assert "torchvision: expected a data set NoSuchDigits in it, got none" in refusal(
        "NoSuchDigits", tmp_path
    )


# Data sets that are not bundled


def test_a_missing_data_set_without_network_is_one_line(own_cache: Path) -> None:
    raw = own_cache.parent.parent / "FashionMNIST" / "raw"
    line = refusal("FashionMNIST")
    assert line.startswith(
        f"{raw}: expected {', '.join(RAW_FILES)} or their .gz archives, got neither, and no download"
    )
    assert "no network in a test" in line
    assert line.endswith("put the files in FashionMNIST/raw of a folder and name that with --bsr-data")
    assert not raw.exists()


def test_a_missing_data_set_in_a_folder_of_ones_own_is_one_line(tmp_path: Path) -> None:
    line = refusal("FashionMNIST", tmp_path)
    assert line.startswith(f"{tmp_path / 'FashionMNIST' / 'raw'}: expected {', '.join(RAW_FILES)}")
    assert line.endswith("put the files there")


@pytest.mark.parametrize("dataset", ["MNIST", "FashionMNIST"])
def test_a_folder_that_does_not_exist_is_one_line_and_not_made(tmp_path: Path, dataset: str) -> None:
    line = refusal(dataset, tmp_path / "typo")
    assert f"{tmp_path / 'typo' / dataset / 'raw'}: expected {RAW_FILES[0]}" in line
    assert "put the genuine files or their .gz archives there" in line
    assert not (tmp_path / "typo").exists()


def test_bundled_images_are_not_mixed_into_a_folder_of_ones_own(folder: Path) -> None:
    raw = folder / "MNIST" / "raw"
    (raw / RAW_FILES[2]).unlink()
    assert f"got no {RAW_FILES[2]}; put the genuine files" in refusal("MNIST", folder)
    assert not (raw / RAW_FILES[2]).exists()


def test_a_download_that_breaks_off_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def torn(url: str, root: str, filename: str, md5: str) -> NoReturn:
        Path(root, filename).write_bytes(b"half an archi")
        raise urllib.error.URLError("connection reset")

    def half(url: str, download_root: str, filename: str, md5: str) -> None:
        torn(url, download_root, filename, md5)

    monkeypatch.setattr("torchvision.datasets.mnist.download_and_extract_archive", half)
    assert "connection reset" in refusal("FashionMNIST", tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(
    not DEBIAN_FASHION.is_dir(), reason="the Debian package dataset-fashion-mnist is not installed"
)
def test_fashion_mnist_comes_from_the_archives_of_a_folder(tmp_path: Path) -> None:
    raw = tmp_path / "FashionMNIST" / "raw"
    raw.mkdir(parents=True)
    for name in RAW_FILES:
        (raw / f"{name}.gz").symlink_to(DEBIAN_FASHION / f"{name}.gz")
    images = load_images("FashionMNIST", str(tmp_path))
    assert (images.train.shape, images.test.shape) == ((60_000, 28, 28), (10_000, 28, 28))
    assert images.digest != DIGEST
    forget()


def test_kmnist_needs_the_published_archives_beside_its_files(tmp_path: Path) -> None:
    raw = tmp_path / "KMNIST" / "raw"
    raw.mkdir(parents=True)
    for name, content in TINY.items():
        (raw / name).write_bytes(content)
    line = refusal("KMNIST", tmp_path)
    assert f"{raw / RAW_FILES[0]}.gz: expected the published archive, MD5" in line
    assert "got no such file; put it there" in line


def test_kmnist_is_checked_against_its_archives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import torchvision

    raw = tmp_path / "KMNIST" / "raw"
    raw.mkdir(parents=True)
    published = []
    for name, content in TINY.items():
        (raw / f"{name}.gz").write_bytes(gzip.compress(content))
        published.append((f"{name}.gz", hashlib.md5((raw / f"{name}.gz").read_bytes()).hexdigest()))
    monkeypatch.setattr(torchvision.datasets.KMNIST, "resources", published)
    assert len(load_images("KMNIST", str(tmp_path)).train) == 3
    forget()
    flip_a_byte(raw / RAW_FILES[0])
    assert f"{raw / RAW_FILES[0]}: expected MD5" in refusal("KMNIST", tmp_path)


# torchvision beside a torch that its wheel was not built for

BROKEN_TORCHVISION = """
import torch
torch.library.register_fake("torchvision::nms")(lambda dets, scores, iou_threshold: None)
torch.library.register_fake("torchvision::qnms")(lambda dets, scores, iou_threshold: None)
"""


def run(code: str, **environment: str) -> str:
    """What the code prints in a process of its own."""
    process = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert process.returncode == 0, process.stderr
    return process.stdout


@pytest.fixture
def broken_torchvision(tmp_path: Path) -> str:
    """A folder with a torchvision whose compiled operators cannot load, as its import finds out."""
    package = tmp_path / "torchvision"
    (package / "datasets").mkdir(parents=True)
    (package / "__init__.py").write_text(BROKEN_TORCHVISION)
    (package / "_C.so").write_bytes(b"built for another torch")
    (package / "datasets" / "__init__.py").write_text("")
    return str(tmp_path)


@pytest.mark.slow
def test_torchvision_imports_where_its_operators_cannot_load(broken_torchvision: str) -> None:
    code = """if True:
        try:
            import torchvision
        except RuntimeError as error:
            print(error)
        import gc, torch
        from bsr.data import torchvision_files
        torchvision_files._torchvision_datasets()
        gc.collect()
        print(torch.ops.torchvision.nms, torch.ops.torchvision.qnms)
    """
    assert run(code, PYTHONPATH=broken_torchvision) == (
        "operator torchvision::nms does not exist\ntorchvision.nms torchvision.qnms\n"
    )


@pytest.mark.slow
def test_nothing_is_declared_where_the_operators_are_there(broken_torchvision: str) -> None:
    there = (
        "import torch; theirs = torch.library.Library('torchvision', 'DEF');"
        "theirs.define('nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor');"
        "theirs.define('qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor');"
        "from bsr.data import torchvision_files as files; files._torchvision_datasets();"
        "print(len(files._DECLARED))"
    )
    assert run(there, PYTHONPATH=broken_torchvision) == "0\n"


def test_a_torchvision_that_cannot_be_imported_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    torchvision_files._torchvision_datasets.cache_clear()
    monkeypatch.setitem(sys.modules, "torchvision", None)
    forget()
    line = refusal("MNIST")
    assert line.startswith(f"torchvision: expected one that works beside torch {torch.__version__}, got")
    assert line.endswith("install both from the same index")


def test_what_a_killed_process_left_in_the_cache_goes_with_the_next_supply(
    own_cache: Path, package: Path
) -> None:
    place(own_cache)
    flip_a_byte(own_cache / RAW_FILES[2])
    left = [own_cache / f".{name}.abc.unfinished" for name in RAW_FILES[1:3]]
    for path in left:
        path.write_bytes(b"half")
    downloaded = own_cache.parents[1] / ".download.MNIST.abc"
    downloaded.mkdir()
    (downloaded / "part").write_bytes(b"half")
    assert load_images("MNIST").digest == TINY_DIGEST
    assert {path.name for path in own_cache.iterdir()} == set(RAW_FILES)
    assert not downloaded.exists()
