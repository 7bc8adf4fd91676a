"""Where files lie: local folders as they are, everything else through fsspec; listed and opened alike."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, cast

from lepton_nb import announce
from lepton_nb.data import frames
from lepton_nb.errors import DataError

KINDS = {"Parquet": frames.PARQUET, "CSV": frames.CSV, "JSON lines": frames.JSON_LINES}
COMPRESSED = (".gz", ".zst")


@dataclass(frozen=True)
class File:
    """A file as it was when listed. `name` tells it from the others, and stays when the parent folder moves."""

    name: str
    path: str
    size: int
    # Changes when the file is written again; None where the store does not say.
    stamp: str | None = None

    @property
    def compressed(self) -> bool:
        return self.path.lower().endswith(COMPRESSED)


@dataclass(frozen=True)
class Store:
    """Opens files; travels to workers. `options` are those of fsspec, and may hold secrets."""

    options: Mapping[str, Any] = field(default_factory=dict, repr=False)

    def open(self, path: str) -> BinaryIO:
        """The file, for reading bytes."""
        announce.read_file(path)
        if is_local(path):
            return open(path, "rb")
        fs, inside = self._filesystem(path)
        return cast(BinaryIO, fs.open(inside, "rb"))

    def list(self, patterns: Iterable[str]) -> list[File]:
        """The data files behind paths, globs, folders and URLs, sorted by name, each once.

        Names that begin with "." or "_" are left out, unless the path names the file itself. Empty where a folder or
        a glob holds none; DataError where a path is not there.
        """
        found: dict[str, File] = {}
        for pattern in patterns:
            for file in self._list_local(pattern) if is_local(pattern) else self._list_remote(pattern):
                found.setdefault(file.path, file)
        files = sorted(found.values(), key=lambda file: (file.name, file.path))
        if len({file.name for file in files}) < len(files):
            # Folders side by side with files of the same names.
            return sorted((File(f.path, f.path, f.size, f.stamp) for f in files), key=lambda file: file.name)
        return files

    def _list_local(self, pattern: str) -> Iterator[File]:
        root = Path(pattern)
        if root.is_dir():
            paths: Iterable[Path] = (path for path in root.rglob("*") if _shown(path.relative_to(root).parts))
        elif root.exists():
            yield _local(root, root.name)
            return
        elif glob.has_magic(pattern):
            # The names of what a pattern finds are told from the folder before its first wildcard.
            steps = Path(pattern).parts
            root = Path(*steps[: next(i for i, step in enumerate(steps) if glob.has_magic(step))])
            matched = (Path(path) for path in glob.iglob(pattern, recursive=True))
            paths = (path for path in matched if _shown(path.relative_to(root).parts))
        else:
            raise DataError(f"there is no file or folder {pattern}; check the name", path=pattern)
        for path in paths:
            if kind(path.name) is not None and path.is_file():
                yield _local(path, path.relative_to(root).as_posix())

    def _list_remote(self, pattern: str) -> Iterator[File]:
        fs, path = self._filesystem(pattern)
        # What the store has told before is not what it holds now.
        fs.invalidate_cache()
        if glob.has_magic(path):
            steps = path.split("/")
            root = "/".join(steps[: next(i for i, step in enumerate(steps) if glob.has_magic(step))])
            details = fs.glob(path, detail=True)
        else:
            try:
                info = fs.info(path)
            except FileNotFoundError as error:
                raise DataError(f"there is no file or folder {pattern}; check the name", path=pattern) from error
            folder = info["type"] == "directory"
            root, details = (path, fs.find(path, detail=True)) if folder else (path.rpartition("/")[0], {path: info})
        for found, info in details.items():
            name = found[len(root) :].lstrip("/")
            if info["type"] == "file" and kind(name) is not None and (found == path or _shown(name.split("/"))):
                stamp = next((str(info[key]) for key in ("ETag", "etag", "mtime", "LastModified") if key in info), None)
                yield File(name, _with_path(pattern, found), int(info["size"]), stamp)

    def _filesystem(self, path: str) -> tuple[Any, str]:
        try:
            import fsspec
        except ImportError as error:
            raise DataError(f"reading {path} needs fsspec; pip install 'lepton-nb[data]'", path=path) from error
        try:
            fs, inside = fsspec.core.url_to_fs(path, **self.options)
        except (ImportError, ValueError) as error:
            raise DataError(f"cannot read {path}: {error}", path=path) from error
        return fs, str(inside)


def is_local(path: str) -> bool:
    """True for a path without a protocol."""
    return "://" not in path


def absolute(path: str | os.PathLike[str]) -> str:
    """`path` in a form that means the same in another process; URLs as they are, file:// as the path it names."""
    text = os.fspath(path).removeprefix("file://")
    return text if "://" in text else os.path.abspath(os.path.expanduser(text))


def kind(name: str) -> str | None:
    """What a file holds, by its ending; None where that cannot be told."""
    plain = name.split("?")[0].lower()
    return next((kind for kind, endings in KINDS.items() if plain.endswith(endings)), None)


def one_kind(files: Sequence[File]) -> str | None:
    """The one kind of all files, None without files; DataError where they are mixed or none that can be told."""
    kinds = {kind(file.path) for file in files}
    if None in kinds:
        strange = next(file.path for file in files if kind(file.path) is None)
        endings = ", ".join(ending for of_kind in KINDS.values() for ending in of_kind)
        raise DataError(f"cannot tell what {strange} holds; the name should end in {endings}", path=strange)
    if len(kinds) > 1:
        raise DataError(
            f"one source cannot mix kinds of file ({', '.join(sorted(k for k in kinds if k))}); "
            "give a pattern such as 'folder/*.parquet'"
        )
    return next(iter(kinds), None)


def _local(path: Path, name: str) -> File:
    stat = path.stat()
    return File(name, str(path), stat.st_size, f"{stat.st_mtime_ns}-{stat.st_ino}")


def _with_path(url: str, path: str) -> str:
    """`url`, which may be a chain such as simplecache::s3://bucket, with the path that its file system has named."""
    links = url.split("::")
    i = next(i for i, link in enumerate(links) if "://" in link)
    links[i] = path if "://" in path else f"{links[i].split('://')[0]}://{path}"
    return "::".join(links)


def _shown(parts: Iterable[str]) -> bool:
    return not any(part.startswith((".", "_")) for part in parts)
