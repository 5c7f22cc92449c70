"""The path of an index and of what is in it: a `Path`, or a `RemotePath`, which has the same methods.

A file is written whole or not at all in either. Imports Arrow only where a RemotePath is read or written.
"""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from vidfind.store.places.bucket import NoAnswer, bucket_errors, checked_url, file_system, is_url
from vidfind.system import paths, storage
from vidfind.system.files import state_of

if TYPE_CHECKING:
    from pyarrow.fs import FileInfo, FileSystem


class FileStatus(NamedTuple):
    """The size of a file in bytes, and the time when it was written, by the clock of the store."""

    st_size: int
    st_mtime: float


@dataclass(frozen=True)
class RemotePath:
    """A folder or a file in object storage. `root` is the URL of the index, `inside` the path of a file within it.

    What is missing raises FileNotFoundError as with a Path; everything else that goes wrong, StorageError."""

    root: str
    inside: str = ""

    @property
    def name(self) -> str:
        """The URL of an index, which is its name in commands and messages; of what is in it, the last part."""
        return self.inside.rpartition("/")[2] or self.root

    @property
    def stem(self) -> str:
        return PurePosixPath(self.name).stem

    @property
    def parent(self) -> RemotePath:
        return RemotePath(self.root, self.inside.rpartition("/")[0])

    def __str__(self) -> str:
        return f"{self.root}/{self.inside}" if self.inside else self.root

    def __truediv__(self, name: str) -> RemotePath:
        return RemotePath(self.root, f"{self.inside}/{name}" if self.inside else name)

    def __lt__(self, other: object) -> bool:
        return str(self) < str(other)

    @property
    def kind(self) -> str:
        """The kind of store: s3, gs or az."""
        return self.root.partition("://")[0]

    @property
    def key(self) -> str:
        """The path as Arrow takes it, which begins with the bucket."""
        return str(self).partition("://")[2]

    @property
    def files(self) -> FileSystem:
        """Arrow's file system of the bucket."""
        with bucket_errors(self.root):
            return file_system(self.kind, self.key.partition("/")[0])

    def require_bucket(self) -> None:
        """Raises StorageError, with the reason, if the bucket cannot be listed: other requests may not tell why."""
        from pyarrow.fs import FileSelector

        with suppress(FileNotFoundError), bucket_errors(self.root):
            self.files.get_file_info(FileSelector(self.key))

    @contextmanager
    def _asked(self) -> Iterator[None]:
        """Raises StorageError as `bucket_errors` does, with the reason that listing the bucket tells."""
        try:
            with bucket_errors(self.root):
                yield
        except (FileNotFoundError, NoAnswer):
            raise
        except Exception:
            self.require_bucket()
            raise

    def read_bytes(self) -> bytes:
        try:
            with self._asked(), self.files.open_input_file(self.key) as file:
                content: bytes = file.read()
                return content
        except FileNotFoundError as error:
            raise FileNotFoundError(f"{self} is not there") from error

    def read_text(self, encoding: str = "utf-8") -> str:
        return self.read_bytes().decode(encoding)

    def write_bytes(self, content: bytes) -> None:
        """Puts a file in the place of any of this name, whole or not at all."""
        with self._asked(), self.files.open_output_stream(self.key) as file:
            file.write(content)

    def is_file(self) -> bool:
        with suppress(FileNotFoundError):
            self.stat()
            return True
        return False

    def write_text(self, text: str, encoding: str = "utf-8") -> int:
        self.write_bytes(text.encode(encoding))
        return len(text)

    def exists(self) -> bool:
        return self.is_file() or self.is_dir()

    def is_dir(self) -> bool:
        return any(True for _ in self._list(recursive=False))

    def stat(self) -> FileStatus:
        from pyarrow.fs import FileType

        with self._asked():
            info = self.files.get_file_info(self.key)
        if info.type != FileType.File:
            raise FileNotFoundError(f"{self} is not there")
        return FileStatus(info.size or 0, info.mtime_ns / 1e9 if info.mtime_ns else 0.0)

    def unlink(self, missing_ok: bool = False) -> None:
        try:
            with bucket_errors(self.root):
                self.files.delete_file(self.key)
        except FileNotFoundError:
            if not missing_ok:
                raise

    def delete_folder(self) -> None:
        """Deletes everything in a folder; nothing if there is none."""
        with suppress(FileNotFoundError), bucket_errors(self.root):
            self.files.delete_dir(self.key)

    def download(self, folder: Path) -> None:
        """Copies everything below this folder into a folder on disk, which is made."""
        for name in self.sizes():
            file = folder / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes((self / name).read_bytes())

    def replace(self, target: RemotePath) -> None:
        """Puts this file in the place of another: a copy, then a deletion, as object storage cannot rename."""
        target.write_bytes(self.read_bytes())
        self.unlink()

    def iterdir(self) -> Iterator[RemotePath]:
        """The files and folders in a folder; none if it is not there."""
        for info in self._list(recursive=False):
            if inside := self._inside(info):
                yield self / inside

    def rglob(self, pattern: str) -> Iterator[RemotePath]:
        """All files below a folder whose names fit a pattern."""
        for name in self.sizes():
            if PurePosixPath(name).match(pattern):
                yield self / name

    def glob(self, pattern: str) -> Iterator[RemotePath]:
        """Returns the paths in a folder that fit a pattern, which has as many parts as the paths that fit."""
        if "/" not in pattern:
            yield from (entry for entry in self.iterdir() if PurePosixPath(entry.name).match(pattern))
            return
        first, _, rest = pattern.partition("/")
        for entry in [self / first] if not set(first) & set("*?[") else self.glob(first):
            yield from entry.glob(rest)

    def sizes(self) -> dict[str, FileStatus]:
        """The size and time of every file below a folder, by its path from there."""
        from pyarrow.fs import FileType

        return {
            self._inside(info): FileStatus(info.size or 0, info.mtime_ns / 1e9 if info.mtime_ns else 0.0)
            for info in self._list(recursive=True)
            if info.type == FileType.File
        }

    def _inside(self, info: FileInfo) -> str:
        return str(info.path).removeprefix(self.key).strip("/")

    def _list(self, recursive: bool) -> list[FileInfo]:
        from pyarrow.fs import FileSelector

        with bucket_errors(self.root):
            found: list[FileInfo] = self.files.get_file_info(
                FileSelector(self.key, allow_not_found=True, recursive=recursive)
            )
            return found


IndexPath: TypeAlias = Path | RemotePath
"""The folder of an index, or something in it."""


def index_path(name: str = paths.DEFAULT_INDEX) -> IndexPath:
    """Returns the place of the index of this name, or at this URL. Raises BadInput for what can be neither."""
    return RemotePath(checked_url(name)) if is_url(name) else paths.index_path(name)


def machine_folder(index: IndexPath) -> Path:
    """Returns the folder on this machine for what concerns it alone: of an index on disk, that of the index itself.

    Of one in object storage it is a cache, which may be deleted at any time."""
    if isinstance(index, Path):
        return index
    readable = "-".join(index.key.split("/"))[-60:]
    return paths.remote_indexes_path() / f"{readable}-{hashlib.sha256(index.root.encode()).hexdigest()[:12]}"


def local_copy(file: IndexPath) -> Path:
    """Returns a file of an index on this machine: itself, or a copy. Its name must tell its content, as an adapter's.

    Raises FileNotFoundError, StorageError."""
    if isinstance(file, Path):
        return file
    copy = machine_folder(RemotePath(file.root)) / file.inside
    if not copy.is_file():
        write_bytes(copy, file.read_bytes())
    return copy


def place_errors(index: IndexPath) -> AbstractContextManager[None]:
    """Turns errors of a full disk, of missing rights, or of object storage into StorageError, with the remedy."""
    return storage.storage_errors(index) if isinstance(index, Path) else bucket_errors(index.root)


def require_place(index: IndexPath) -> None:
    """Raises StorageError if an index cannot be made or read at a place, as far as that can be told without writing."""
    if isinstance(index, Path):
        storage.require_file_system(index)
    else:
        index.require_bucket()


@contextmanager
def atomic_write(file: IndexPath) -> Iterator[Path]:
    """Yields a file on disk to write, which replaces `file` at the end. Raises StorageError."""
    if isinstance(file, Path):
        with storage.atomic_write(file) as part:
            yield part
        return
    with tempfile.TemporaryDirectory(prefix="vidfind-") as folder:
        part = Path(folder, file.name)
        yield part
        file.write_bytes(part.read_bytes())


def write_text(file: IndexPath, text: str) -> None:
    """Writes a file whole or not at all. Raises StorageError."""
    if isinstance(file, Path):
        storage.write_text(file, text)
    else:
        file.write_bytes(text.encode("utf-8"))


def write_bytes(file: IndexPath, content: bytes) -> None:
    """Writes a file whole or not at all, in a folder that is made if it is not there. Raises StorageError."""
    if not isinstance(file, Path):
        file.write_bytes(content)
        return
    with storage.storage_errors(file.parent):
        file.parent.mkdir(parents=True, exist_ok=True)
    with storage.atomic_write(file) as part:
        part.write_bytes(content)


def delete_entry(entry: IndexPath) -> None:
    """Deletes a file or a whole folder, if it is there."""
    if isinstance(entry, RemotePath) and not entry.is_file():
        entry.delete_folder()
    elif isinstance(entry, RemotePath):
        entry.unlink(missing_ok=True)
    elif entry.is_dir():
        shutil.rmtree(entry, ignore_errors=True)
    else:
        entry.unlink(missing_ok=True)


def remove_empty_folder(folder: IndexPath) -> None:
    """Removes a folder if nothing is in it; in object storage, the empty file that stands for it."""
    if next(iter(folder.iterdir()), None) is None:
        folder.rmdir() if isinstance(folder, Path) else folder.delete_folder()


def state_of_file(file: IndexPath) -> tuple[float, float] | None:
    """A value that changes whenever another file takes the place of this one; None while there is none."""
    if isinstance(file, Path):
        return state_of(file)
    with suppress(FileNotFoundError):
        status = file.stat()
        return status.st_size, status.st_mtime
    return None
