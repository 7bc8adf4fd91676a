"""What a run read: files with size and SHA-256, under names that mean the same in another copy of the project."""

from __future__ import annotations

import ast
import hashlib
import os
import sysconfig
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

# The folder of installed packages, in the names of files that came with one.
PACKAGE = "package:"
_LONGEST_NAME = 1024
# Where lepton_nb itself is, which may be installed in place.
_OURS = Path(__file__).resolve().parents[2]


def sha256(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class Inputs:
    """The files that parameters and texts in code cells name, as they are before the run.

    folder: the notebook's own, from which relative names count. Such a file is an input unless the run changes it.
    """

    def __init__(self, notebook: Any, values: Iterable[Any], folder: Path) -> None:
        self._named: dict[str, tuple[int, int]] = {}
        for text in [*_texts(list(values)), *_literals(notebook)]:
            path = os.path.join(folder, os.path.expanduser(text))
            seen = _state(path)
            if seen is not None:
                self._named[os.path.abspath(path)] = seen

    def found(self, told: Iterable[str], urls: Iterable[str], base: Path | None) -> list[dict[str, Any]]:
        """One entry an input, sorted by name: those named before that are as they were, and those `told` of.

        base: the project's folder, from which names inside of it count.
        """
        kept = [path for path, seen in self._named.items() if _state(path) == seen]
        entries: dict[str, dict[str, Any]] = {}
        for path in dict.fromkeys(os.path.realpath(path) for path in [*kept, *told]):
            try:
                entry = {"bytes": os.path.getsize(path), "sha256": sha256(Path(path))}
            except OSError:
                continue  # gone by now: a temporary file
            name = place(Path(path), base)
            entries[name] = {"path": name, **entry}
        return [entries[name] for name in sorted(entries)] + [{"url": public(url)} for url in sorted(set(urls))]


def place(path: Path, base: Path | None) -> str:
    """A name for `path`: relative to `base`, to the installed packages or to the home folder, else as it is."""
    packages = Path(os.path.realpath(sysconfig.get_path("purelib")))
    for folder, prefix in ((base, ""), (packages, PACKAGE), (_OURS, PACKAGE), (Path.home().resolve(), "~/")):
        if folder is not None and path.is_relative_to(folder):
            return prefix + path.relative_to(folder).as_posix()
    return path.as_posix()


def find(name: str, base: Path | None) -> Path:
    """Where the file that `place` has named is on this machine."""
    if name.startswith(PACKAGE):
        inside = name.removeprefix(PACKAGE)
        return (_OURS if inside.startswith("lepton_nb/") else Path(sysconfig.get_path("purelib"))) / inside
    path = Path(name).expanduser()
    return path if path.is_absolute() or base is None else base / path


def public(url: str) -> str:
    """A URL without what it says of who asks: name, password, and a query, which may be a signature."""
    parts = urlsplit(url)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


def _state(path: str) -> tuple[int, int] | None:
    try:
        if not os.path.isfile(path):
            return None
        stat = os.stat(path)
    except (OSError, ValueError):
        return None
    return stat.st_size, stat.st_mtime_ns


def _texts(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value] if 0 < len(value) <= _LONGEST_NAME and "\0" not in value else []
    if isinstance(value, Mapping):
        value = list(value.values())
    return [text for item in value for text in _texts(item)] if isinstance(value, list) else []


def _literals(notebook: Any) -> list[str]:
    """Texts in code cells that may name a file: those with a dot or a slash in them."""
    found: list[str] = []
    for cell in notebook.cells:
        if cell.cell_type != "code":
            continue
        try:
            tree = ast.parse(cell.source)
        except (SyntaxError, ValueError):
            continue  # it has lines of IPython's own
        constants = [node.value for node in ast.walk(tree) if isinstance(node, ast.Constant)]
        found += [text for text in _texts(constants) if ("." in text or "/" in text) and "\n" not in text]
    return found
