"""Secrets of a notebook: parameters that say where a secret is, and their values kept out of what a report leaves."""

from __future__ import annotations

import base64
import dataclasses
import html
import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote, quote_plus

from lepton_nb.errors import ReportError
from lepton_nb.reports.forms import Form

_REFERENCE = re.compile(r"env:[A-Za-z_][A-Za-z0-9_]*|file:.+")
WANTED = "a reference to a secret: env:NAME for an environment variable, or file:PATH"
# Of shorter text every second output would have some.
SHORTEST = 6
# In base64 the ends of a text depend on what is beside it; fewer letters than this, without them, fit too much.
_SHORTEST_CODED = 8
HIDDEN = "[secret]"
# A file for a secret is a few lines; what is larger is a mistake, and would be read whole.
MOST_BYTES = 65_536

T = TypeVar("T")


class Secret:
    """A reference to a secret, for a notebook's parameter: `password: lnb.Secret = "env:DB_PASSWORD"`.

    The parameter itself stays text, `env:NAME` or `file:PATH` (relative to the notebook; the last line break does
    not count). `lnb.Secret(password).reveal()` gives the secret where it is used. A report checks before it runs
    that the secret is there, and replaces it by [secret] in all that it leaves: as it is, as base64, and as it is
    quoted in addresses, JSON, HTML and Python. It cannot know a secret that a cell cuts in pieces, encodes in
    another way, draws into a picture, or writes itself to a file or table of Parquet.

    Raises ReportError for text that is no such reference; the text is not in the message.
    """

    __slots__ = ("reference",)

    reference: str

    def __init__(self, reference: str | Secret) -> None:
        self.reference = reference.reference if isinstance(reference, Secret) else _checked(reference)

    def __repr__(self) -> str:
        return f"Secret({self.reference!r})"

    def reveal(self) -> str:
        """The secret; raises ReportError where there is none."""
        return resolve(self.reference, Path())


class SecretForm(Form):
    """`lnb.Secret`: a reference; what is none is never repeated, as it may be the secret itself."""

    silent = True

    def __str__(self) -> str:
        return WANTED

    def check(self, value: Any) -> str:
        if isinstance(value, Secret):
            return value.reference
        if not isinstance(value, str) or not _REFERENCE.fullmatch(value):
            raise ValueError(f"must be {WANTED}")
        return value

    def parse(self, text: str) -> str:
        return self.check(text)


def secretive(form: Form | None) -> bool:
    """Whether a form is that of a secret, or may be."""
    return form is not None and form.silent


def resolve(reference: str, folder: Path) -> str:
    """The secret behind `reference`; paths are relative to `folder`. Raises ReportError where there is none."""
    kind, _, name = _checked(reference).partition(":")
    if kind == "env":
        value = os.environ.get(name, "")
        if not value:
            raise ReportError(f"the environment variable {name} is not set; set it to the secret", name=name)
        return value
    path = folder / Path(name).expanduser()
    try:
        with open(path, "rb") as file:
            read = file.read(MOST_BYTES + 1)
        if len(read) > MOST_BYTES:
            raise ReportError(f"{path} has more than {MOST_BYTES:,} bytes; give a file that holds the secret alone")
        value = read.decode().removesuffix("\n").removesuffix("\r")
    except OSError as error:
        raise ReportError(
            f"cannot read the secret in {path}: {error.strerror}; check the path", path=str(path)
        ) from None
    except UnicodeDecodeError:
        raise ReportError(f"the secret in {path} is no text in UTF-8; encode it, such as in base64") from None
    if not value:
        raise ReportError(f"{path} is empty; write the secret into it", path=str(path))
    return value


class Scrubber:
    """Replaces secrets, and what they are in common encodings, by [secret]."""

    def __init__(self, secrets: Iterable[str]) -> None:
        found = {one for secret in secrets for one in _forms(secret)}
        # The longest first: one secret may be a part of another.
        longest = sorted(found, key=len, reverse=True)
        self._pattern = re.compile("|".join(map(re.escape, longest))) if longest else None
        self._bytes = (
            re.compile(b"|".join(re.escape(one.encode(errors="surrogateescape")) for one in longest))
            if longest
            else None
        )

    def text(self, text: str) -> str:
        """`text` without secrets."""
        return self._pattern.sub(HIDDEN, text) if self._pattern else text

    def value(self, value: Any) -> Any:
        """A value of dicts, lists and text, such as a notebook's node, without secrets; dicts and lists are changed."""
        if self._pattern is None:
            return value
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, list):
            value[:] = map(self.value, value)
        elif isinstance(value, tuple):
            return tuple(map(self.value, value))
        elif isinstance(value, dict):
            items = [(self.value(key), self.value(item)) for key, item in value.items()]
            value.clear()
            value.update(items)
        return value

    def outcome(self, outcome: T) -> T:
        """An execution's outcome without secrets, in its notebook and in what it says of a failure."""
        if self._pattern is None:
            return outcome
        made: Any = outcome
        self.value(made.notebook)
        failure = made.failure
        if failure is not None:
            failure = dataclasses.replace(
                failure,
                **{name: self.text(getattr(failure, name)) for name in ("heading", "ename", "evalue")},
            )
        return dataclasses.replace(made, failure=failure)  # type: ignore[no-any-return]

    def files(self, folder: Path) -> None:
        """Rewrite the files of `folder` that hold secrets; those of Parquet are left as they are."""
        if self._bytes is None:
            return
        for path in folder.iterdir():
            if path.is_file() and not path.is_symlink() and not _is_parquet(path):
                content = path.read_bytes()
                clean = self._bytes.sub(HIDDEN.encode(), content)
                if clean != content:
                    path.write_bytes(clean)


def scrubber(parameters: Iterable[Any], values: Mapping[str, Any], folder: Path) -> Scrubber:
    """What keeps the secrets of a run out; `parameters` as declared, `values` as given.

    Raises one ReportError that names every secret that is not there, or too short to be told from other text.
    """
    problems, secrets = [], []
    for parameter in parameters:
        reference = values.get(parameter.name, parameter.default)
        if not secretive(parameter.form) or reference is None:
            continue
        try:
            secret = resolve(reference, folder)
            if len(secret) < SHORTEST:
                raise ReportError(
                    f"the secret has fewer than {SHORTEST} characters, and could not be kept out of outputs"
                )
            secrets.append(secret)
        except ReportError as error:
            problems.append(f"parameter {parameter.name!r}: {error.message}")
    if problems:
        raise ReportError("; ".join(problems), problems=tuple(problems))
    return Scrubber(secrets)


def _checked(reference: Any) -> str:
    if not isinstance(reference, str) or not _REFERENCE.fullmatch(reference):
        raise ReportError(f"a secret must be given as {WANTED}")
    return reference


def _forms(secret: str) -> Iterator[str]:
    # A key or a certificate is of several lines, and may be printed line by line.
    lines = [line for line in secret.splitlines() if len(line) >= _SHORTEST_CODED]
    for text in {secret, secret.strip(), *lines}:
        if len(text) < SHORTEST:
            continue
        yield text
        yield from (quote(text), quote(text, safe=""), quote_plus(text))
        yield from (json.dumps(text)[1:-1], json.dumps(text, ensure_ascii=False)[1:-1], repr(text)[1:-1])
        yield from (html.escape(text), html.escape(text, quote=False), ascii(text)[1:-1])
        yield from _base64(text.encode(errors="surrogateescape"))


def _base64(data: bytes) -> Iterator[str]:
    """What stands for `data` in base64, alone or in the middle of other data, as in a header for "user:password"."""
    for before in range(3):
        coded = base64.b64encode(bytes(before) + data)
        # The letters that hold bits of what is before or behind, and the padding, differ from text to text.
        start = (before * 8 + 5) // 6
        whole, middle = coded.decode(), coded[start : (before + len(data)) * 8 // 6].decode()
        for text in ([whole] if before == 0 else []) + ([middle] if len(middle) >= _SHORTEST_CODED else []):
            yield text
            yield text.replace("+", "-").replace("/", "_")


def _is_parquet(path: Path) -> bool:
    with open(path, "rb") as file:
        return file.read(4) == b"PAR1"
