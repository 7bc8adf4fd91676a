"""What a report has of a stream that has run."""

from __future__ import annotations

from collections.abc import Iterator

from lepton_nb.figures.watched import Watched
from lepton_nb.widgets.chart import LiveChart
from lepton_nb.widgets.still import Piece, heading, table, words
from lepton_nb.widgets.window_results import FEWEST_BATCHES, ROWS_SHOWN

TOLD = ("Rows read", "Results given", "Late", "Without time or key", "Unreadable")


def stream_pieces(watched: Watched, said: str, level: int, *, value: str) -> Iterator[Piece]:
    """`said` and how many rows it were, all windows, those that ended last, and how the stream ran.

    value: the column that is drawn. level: that of the headings.
    """
    facts = dict(watched.facts())
    told = "; ".join(f"{label}: {facts[label]}" for label in TOLD if label in facts)
    figure, which = watched.all_results(value)
    figure.update_layout(title=f"{value} of each window", margin_t=60)
    yield words(f"{said}\n{told}.\nDrawn: {which}.")
    yield LiveChart.still(figure)
    yield table(watched.last_rows(ROWS_SHOWN), "The windows that ended last")
    if watched.batches >= FEWEST_BATCHES:
        yield heading("How the stream ran", level)
        yield LiveChart.still(watched.progress())
