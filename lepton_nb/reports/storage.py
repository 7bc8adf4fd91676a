"""Notebooks and reports that are not on this machine's disk: `s3://`, `gs://`, `abfs://`, `https://` and the like."""

from __future__ import annotations

import json
import os
import re
import shutil
import tempfile
import weakref
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit
from urllib.request import url2pathname

from lepton_nb.errors import ReportError
from lepton_nb.reports.place import MANIFEST_NAME

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")
# User, password, and what follows "?", where signed addresses have their signature.
_PRIVATE = re.compile(r"(?<=://)[^/@\s'\"]*@|\?[^\s'\"]*")
# The package that fsspec needs for an address that starts so.
_PACKAGES = {
    "s3": "s3fs", "s3a": "s3fs", "gs": "gcsfs", "gcs": "gcsfs", "abfs": "adlfs", "abfss": "adlfs", "az": "adlfs",
    "adl": "adlfs", "http": "aiohttp", "https": "aiohttp", "sftp": "paramiko", "ssh": "paramiko", "hdfs": "pyarrow",
}  # fmt: skip
# So long a web server may say nothing.
WEB_S = 60
_READ_ONLY = ("http", "https", "github")


@dataclass(frozen=True, slots=True, kw_only=True, weakref_slot=True)
class Fetched:
    """A copy of a notebook, for as long as this object lives or until it is removed. `shown` is where it is from."""

    path: Path
    shown: str

    def remove(self) -> None:
        """Remove the copy now; a report is made of it once."""
        shutil.rmtree(self.path.parent, ignore_errors=True)


def remote(place: str | os.PathLike[str]) -> bool:
    """Whether `place` is an address, and not a path of this machine."""
    return isinstance(place, str) and _URL.match(place) is not None and not place.lower().startswith("file://")


def local(place: str | os.PathLike[str]) -> Path:
    """The path that `place` is, also written as `file://`; absolute."""
    if isinstance(place, str) and place.lower().startswith("file://"):
        place = url2pathname(urlsplit(place).path)
    return Path(place).expanduser().absolute()


def shown(text: str) -> str:
    """`text`, an address or words with addresses in them, without users, passwords and what follows a "?"."""
    return _PRIVATE.sub("", text)


def fetch(url: str) -> Fetched:
    """Copy the notebook at `url` into a folder of its own, for temporary files.

    Papermill's handlers read it, also those that other packages have registered; fsspec where there is none, or what
    it needs is missing. Raises ReportError where it cannot be read.
    """
    content = _read(url)
    try:
        json.loads(content)
    except ValueError:
        raise ReportError(
            f"what is at {shown(url)} is not a Jupyter notebook; check the address, and whether it asks for a password",
            path=shown(url),
        ) from None
    folder = Path(tempfile.mkdtemp(prefix="lepton-nb-notebook-"))
    # The name comes from outside, and stays in the folder: no part of it is one of a path.
    name = re.sub(r"[^\w.+ -]", "_", unquote(urlsplit(url).path).rstrip("/").rpartition("/")[2]).lstrip(".")
    made = Fetched(path=folder / (name if name.endswith(".ipynb") else f"{name or 'notebook'}.ipynb"), shown=shown(url))
    weakref.finalize(made, shutil.rmtree, folder, True)
    made.path.write_text(content, encoding="utf-8")
    return made


class Target:
    """The folder at an address that a report is put into. Raises ReportError unless one can be put there."""

    def __init__(self, url: str) -> None:
        self.shown = shown(url).rstrip("/")
        scheme = url.partition("://")[0].lower()
        if scheme in _READ_ONLY:
            raise ReportError(
                f"{scheme}:// can only be read; give an output such as s3://BUCKET/FOLDER", output=self.shown
            )
        self._files, self._folder = _filesystem(url)
        self._folder = self._folder.rstrip("/")
        self._check()

    def upload(self, folder: Path) -> None:
        """Copy the files of the report in `folder`; it counts as there when the manifest is, which comes last.

        Files of an earlier report go, its manifest first. Raises ReportError when it cannot be written.
        """
        names = sorted(path.name for path in folder.iterdir() if path.is_file() and path.name != MANIFEST_NAME)
        try:
            earlier = self._earlier()
            if MANIFEST_NAME in earlier:
                self._files.rm_file(f"{self._folder}/{MANIFEST_NAME}")
            for name in sorted(earlier - {MANIFEST_NAME, *names}):
                self._files.rm_file(f"{self._folder}/{name}")
            self._files.makedirs(self._folder, exist_ok=True)
            for name in (*names, MANIFEST_NAME):
                self._files.pipe_file(f"{self._folder}/{name}", (folder / name).read_bytes())
        except Exception as error:  # each kind of storage has errors of its own
            raise ReportError(
                f"cannot write the report to {self.shown}: {_words(error)}; it is kept in {folder}",
                output=self.shown,
                kept=str(folder),
            ) from None

    def _check(self) -> None:
        try:
            there, earlier = self._names(), self._earlier()
        except Exception as error:
            raise ReportError(
                f"cannot look into {self.shown}: {_words(error)}; check the address and your rights", output=self.shown
            ) from None
        others = sorted(there - earlier)
        if others:
            raise ReportError(
                f"{self.shown} holds what is not of an earlier report: {', '.join(others[:5])}; choose an empty or a "
                "new output folder",
                output=self.shown,
                others=tuple(others),
            )

    def _names(self) -> set[str]:
        self._files.invalidate_cache()
        try:
            found = self._files.ls(self._folder, detail=False)
        except FileNotFoundError:
            return set()
        return {str(one).rstrip("/").rpartition("/")[2] for one in found} - {""}

    def _earlier(self) -> set[str]:
        """The names of an earlier report's files that are there, as its manifest tells; none where there is none."""
        there = self._names()
        if MANIFEST_NAME not in there:
            return set()
        try:
            manifest = json.loads(self._files.cat_file(f"{self._folder}/{MANIFEST_NAME}"))
            listed = {MANIFEST_NAME, *(name for name, facts in manifest["files"].items() if facts["sha256"])}
        except (ValueError, LookupError, TypeError, AttributeError):
            return set()
        return listed & there


def _read(url: str) -> str:
    from papermill.exceptions import PapermillOptionalDependencyException
    from papermill.iorw import LocalHandler, papermill_io

    try:
        if url.lower().startswith(("http://", "https://")):
            return _from_web(url)
        try:
            handler = papermill_io.get_handler(url)
            if not isinstance(handler, LocalHandler):
                content = handler.read(url)
                return content.decode() if isinstance(content, bytes) else str(content)
        except PapermillOptionalDependencyException:
            pass
        files, path = _filesystem(url)
        return str(files.cat_file(path).decode())
    except ReportError:
        raise
    except FileNotFoundError:
        raise ReportError(f"there is no notebook {shown(url)}; check the address", path=shown(url)) from None
    except Exception as error:  # each kind of storage has errors of its own
        raise ReportError(
            f"cannot read {shown(url)}: {_words(error)}; check the address and your rights", path=shown(url)
        ) from None


def _from_web(url: str) -> str:
    # Papermill's handler takes a page that says "not found" for the notebook, and waits for ever.
    import requests

    answer = requests.get(url, timeout=WEB_S)
    answer.raise_for_status()
    return answer.content.decode()


def _filesystem(url: str) -> tuple[Any, str]:
    """fsspec's view of where `url` is, and the path in it."""
    scheme = url.partition("://")[0].lower()
    try:
        import fsspec
    except ImportError:
        raise ReportError(f"{scheme}:// needs fsspec; install it with: pip install fsspec", package="fsspec") from None
    try:
        files, path = fsspec.core.url_to_fs(url)
        return files, str(path)
    except ImportError as error:
        package = _PACKAGES.get(scheme)
        fix = f"{scheme}:// needs {package}; install it with: pip install {package}" if package else _words(error)
        raise ReportError(fix, package=package) from None
    except ValueError as error:
        raise ReportError(
            f"cannot use {shown(url)}: {_words(error)}; give an address such as s3://BUCKET/FOLDER"
        ) from None
    except Exception as error:
        raise ReportError(f"cannot reach {shown(url)}: {_words(error)}; check the address and your rights") from None


def _words(error: BaseException) -> str:
    return shown(str(error).partition("\n")[0]) or type(error).__name__
