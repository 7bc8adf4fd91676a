"""Text as numbers of words, for models of sequences."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from lepton_nb.errors import DataError

PADDING, UNKNOWN, FIRST_WORD = 0, 1, 2
# float32 tells whole numbers apart up to here.
MOST_WORDS = 2**24


@dataclass(frozen=True, slots=True)
class TokenColumn:
    """The first `tokens` words of a text as numbers, an output a word; what is left of a shorter text, or none, is 0.

    words: the vocabulary, the most frequent word of the training part first: word i is number i + 2, and 1 is any
    other word. Words are runs of letters, digits and underscores in lower case, of Unicode's composed form (NFC).
    """

    name: str
    tokens: int
    words: tuple[str, ...]

    @property
    def vocabulary(self) -> int:
        """How many different numbers there are: all are below it."""
        return len(self.words) + FIRST_WORD

    @property
    def outputs(self) -> list[str]:
        """Names of the outputs, in order."""
        return [f"{self.name} word {number}" for number in range(1, self.tokens + 1)]

    def numbers(self, texts: pl.Series) -> npt.NDArray[np.int32]:
        """The numbers (rows, tokens) of `texts`."""
        words = split(texts).list.head(self.tokens)
        lengths = words.list.len().fill_null(0).cast(pl.Int64).to_numpy()
        found = np.full((len(texts), self.tokens), PADDING, np.int32)
        # An empty list would come out of explode as one null.
        flat = words.filter(words.list.len() > 0).explode()
        if flat.len():
            numbers = range(FIRST_WORD, self.vocabulary)
            values = flat.replace_strict(self.words, numbers, default=UNKNOWN, return_dtype=pl.Int32).to_numpy()
            starts = np.cumsum(lengths) - lengths
            places = np.arange(len(values)) - np.repeat(starts, lengths)
            found[np.repeat(np.arange(len(texts)), lengths), places] = values
        return found


def split(texts: pl.Series) -> pl.Series:
    """The words of each text, a list, null where there is no text."""
    return texts.cast(pl.String).str.normalize("NFC").str.to_lowercase().str.extract_all(r"\w+")


def word_counts(texts: pl.Series) -> pl.DataFrame:
    """How often each word is there: word, rows."""
    words = split(texts).explode().drop_nulls().rename("word")
    return words.value_counts(name="rows")


def merged(counts: Iterable[pl.DataFrame]) -> pl.DataFrame:
    """The counts of all parts together; the first column is what is counted, the other `rows`."""
    found: pl.DataFrame | None = None
    for part in counts:
        both = part if found is None else pl.concat([found, part], how="vertical_relaxed")
        found = both.group_by(both.columns[0]).agg(pl.col("rows").sum())
    assert found is not None
    return found


def token_column(name: str, counts: pl.DataFrame, tokens: int, vocabulary: int, min_rows: int) -> TokenColumn:
    """The column of `tokens` words a row, with at most `vocabulary` numbers, from the `word_counts` of its texts.

    Words that are there less than `min_rows` times are no part of the vocabulary. Raises DataError where none is.
    """
    kept = counts.filter(pl.col("rows") >= min_rows)
    kept = kept.sort("rows", "word", descending=[True, False]).head(vocabulary - FIRST_WORD)
    if kept.is_empty():
        raise DataError(
            f"no word of column {name!r} is in the training part {min_rows} times or more, so it would tell nothing; "
            "give another column, or a smaller min_rows",
            column=name,
        )
    return TokenColumn(name, tokens, tuple(kept["word"]))


def check_options(text: Any, tokens: Any, vocabulary: Any) -> None:
    """Raise DataError for options of a text column that cannot be."""
    if not isinstance(text, str):
        raise DataError(f"text={text!r}; give the name of one column of text")
    for option, value, least, most in (
        ("tokens", tokens, 1, MOST_WORDS),
        ("vocabulary", vocabulary, FIRST_WORD + 1, MOST_WORDS),
    ):
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
            raise DataError(f"{option}={value!r} cannot be; give a whole number from {least} to {most:,}")
