"""Writing so that a file is there whole or not at all, and a line once written stays.

Every write, flush and rename that a promise rests on is an `os.write`, `os.fsync` or `os.replace` here.

A file's name says whether it is a JSON or a journal, and whether compressed.
"""

from __future__ import annotations

import contextlib
import errno
import glob
import gzip
import os
import sys
import tempfile
import zlib
from pathlib import Path
from typing import Final

UNFINISHED: Final = ".unfinished"
"""How the name of a file ends that is not whole yet."""
GZIPPED: Final = ".gz"
_LEVEL: Final = 6


def replace_file(path: Path, content: bytes) -> None:
    """Make `path` hold `content`: written beside it, flushed to the disk, renamed into place.

    Whatever fails (OSError), the old file stays as it was and nothing is left beside it. Of a symbolic link,
    the file that it points to is replaced.
    """
    path = Path(os.path.realpath(path))
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=UNFINISHED)
    temporary = Path(name)
    try:
        try:
            _write_all(descriptor, content)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        temporary.chmod(0o666 & ~_umask())
        os.replace(temporary, path)  # noqa: PTH105 - the same seam as write and fsync
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise
    flush_folder(path.parent)


def rehearse(path: Path) -> None:
    """Do to `path` what `replace_file` will do, with what it holds; what was not there is not there after.

    Raises OSError where it could not be done.
    """
    path = Path(os.path.realpath(path))
    if not path.exists():
        replace_file(path, b"")
        path.unlink()
        return
    about = path.stat()
    replace_file(path, path.read_bytes())
    path.chmod(about.st_mode & 0o7777)
    os.utime(path, ns=(about.st_atime_ns, about.st_mtime_ns))


def remove_unfinished(path: Path) -> None:
    """Remove what a kill in the middle of `replace_file` left beside `path`, which nobody else must write."""
    path = Path(os.path.realpath(path))
    for left in path.parent.glob(f".{glob.escape(path.name)}.*{UNFINISHED}"):
        with contextlib.suppress(OSError):
            left.unlink()


def append(descriptor: int, content: bytes) -> None:
    """Append to an open file and flush it to the disk; on failure (OSError) the file is as long as before."""
    length = os.fstat(descriptor).st_size
    try:
        _write_all(descriptor, content)
        os.fsync(descriptor)
    except BaseException:
        with contextlib.suppress(OSError):
            os.ftruncate(descriptor, length)
        raise


def lock(descriptor: int) -> None:
    """Hold an open file, by whatever name it was opened, until it is closed, however that comes about.

    Raises BlockingIOError where another process, or another descriptor, holds it. Where the system or the
    file's own knows no such locks, nothing is held.
    """
    if sys.platform == "win32":
        return
    import fcntl  # noqa: PLC0415 - POSIX only

    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise
    except OSError as error:
        if error.errno not in {errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS}:
            raise


def flush_folder(folder: Path) -> None:
    """Make a new or renamed file's name durable, where the system can (Windows cannot open folders)."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _write_all(descriptor: int, content: bytes) -> None:
    remaining = memoryview(content)
    while remaining:
        remaining = remaining[os.write(descriptor, remaining) :]


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def is_json(path: Path) -> bool:
    """Whether its name is a benchmark JSON's: `run.json`, `run.json.gz`."""
    return _plain(path).suffix == ".json"


def is_journal(path: Path) -> bool:
    """Whether its name is a journal's: `run.journal.jsonl`, `run.journal.jsonl.gz`."""
    return _plain(path).suffix == ".jsonl"


def stem(path: Path) -> str:
    """Its name without the endings: `run` of `run.json` and of `run.json.gz`."""
    return _plain(path).stem


def endings(path: Path) -> str:
    """What `stem` leaves out: `.json.gz`."""
    return path.name[len(stem(path)) :]


def stored(path: Path, content: bytes) -> bytes:
    """The bytes of a file of that name; the same for the same content, whenever they are packed."""
    return gzip.compress(content, _LEVEL, mtime=0) if path.suffix == GZIPPED else content


def content_of(path: Path, most: int | None = None) -> bytes:
    """What a file of that name holds; of more than `most` bytes one more than those, whatever it unpacks to.

    Raises OSError where it cannot be read or unpacked.
    """
    try:
        with gzip.open(path) if path.suffix == GZIPPED else path.open("rb") as file:
            return file.read() if most is None else file.read(most + 1)
    except (EOFError, zlib.error) as error:
        raise OSError(f"what no gzip unpacks: {error}") from error


def _plain(path: Path) -> Path:
    return path.with_suffix("") if path.suffix == GZIPPED else path
