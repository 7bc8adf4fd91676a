"""Errors of lepton_nb: each message says what is wrong and what to do about it."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from typing import Any, Self

# How many an error lists.
TOLD_COLUMNS = 8


class LeptonError(Exception):
    """Base of every error that lepton_nb raises on purpose.

    `message` names the fault and the fix. Keyword facts become `facts` and attributes, so that a caller
    can act on them without parsing text, and they survive pickling (an error may cross processes).
    """

    def __init__(self, message: str, **facts: Any) -> None:
        super().__init__(message)
        self.message = message
        self.facts = facts

    def __getattr__(self, name: str) -> Any:
        facts = self.__dict__.get("facts", {})
        if name in facts:
            return facts[name]
        raise AttributeError(f"{type(self).__name__} has no attribute {name!r}")

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (type(self), self.message, self.facts)

    @classmethod
    def unknown(cls, what: str, name: str, choices: Iterable[str]) -> Self:
        """The error for a name that is none of `choices`, with the closest one as a hint."""
        known = sorted(choices)
        return cls(
            f"unknown {what} {name!r}{hint(name, known)}; known: {', '.join(known) or 'none'}",
            name=name,
            known=tuple(known),
        )

    @classmethod
    def lacking(cls, what: str, missing: Sequence[str], there: Iterable[str], why: str) -> Self:
        """The error for a table, named `what`, without the columns `missing`; it tells those that are there.

        why: what they are needed for, as in "which the model was trained with".
        """
        known = sorted(there, key=lambda name: (-max(_likeness(name, wanted) for wanted in missing), name))
        shown = ", ".join(map(repr, known[:TOLD_COLUMNS])) or "none"
        more = f" and {len(known) - TOLD_COLUMNS} more" if len(known) > TOLD_COLUMNS else ""
        absent = ", ".join(map(repr, missing[:TOLD_COLUMNS]))
        absent += f" and {len(missing) - TOLD_COLUMNS} more" if len(missing) > TOLD_COLUMNS else ""
        columns = "column" if len(missing) == 1 else "columns"
        return cls(
            f"{what} lacks the {columns} {absent}, {why}; the columns that are there, the most similar first: "
            f"{shown}{more}",
            name=missing[0],
            missing=tuple(missing),
            known=tuple(known),
        )


def _likeness(one: str, other: str) -> float:
    return difflib.SequenceMatcher(None, one.lower(), other.lower()).ratio()


def _rebuild(kind: type[LeptonError], message: str, facts: dict[str, Any]) -> LeptonError:
    return kind(message, **facts)


def an(noun: str) -> str:
    """`noun` with its article, as in "an int"."""
    return f"{'an' if noun[:1].lower() in 'aeiou' else 'a'} {noun}"


def hint(name: str, choices: Iterable[str]) -> str:
    """Text such as "; did you mean 'epochs'?", or "" when nothing is close to `name`."""
    close = difflib.get_close_matches(name, list(choices), n=1, cutoff=0.6)
    return f"; did you mean {close[0]!r}?" if close else ""


class ClusterError(LeptonError):
    """A cluster cannot be started, reached or changed as asked."""


class DataError(LeptonError):
    """Data is missing, malformed, or not of the kind that was promised."""


class TrainingError(LeptonError):
    """A training run cannot start, or failed."""


class WindowError(LeptonError):
    """A window query is not valid, or does not fit its data."""


class ReportError(LeptonError):
    """A report cannot be made, or its notebook failed."""


class WindowWarning(UserWarning):
    """A window query set rows aside: they have no time or no key."""
