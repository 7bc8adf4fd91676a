"""The choices that make a query: what a form shows of one that code made."""

from __future__ import annotations

from lepton_nb.windowing import durations
from lepton_nb.windowing.aggregates import Aggregate, Quantile, SketchDistinct, SketchQuantile, TopK
from lepton_nb.windowing.choices import FUNCTIONS, AggregateRow, QueryChoices
from lepton_nb.windowing.durations import Length
from lepton_nb.windowing.spec import CountingShape, GridShape, RollingShape, SessionShape, Shape, Spec
from lepton_nb.windowing.written import length_text


def choices_of(spec: Spec) -> QueryChoices | None:
    """The plain values of which `QueryChoices.query` makes this query; None where none do, as for custom ones."""
    if spec.shape is None:
        return None
    kind, sizes = _shape(spec.shape)
    rows = [_row(name, aggregate) for name, aggregate in spec.aggregates]
    found = QueryChoices(
        time=spec.time,
        keys=spec.keys,
        kind=kind,
        sizes=sizes,
        out_of_order=_duration(spec.lateness.out_of_order_ns),
        allowed=_duration(spec.lateness.allowed_ns),
        aggregates=[row for row in rows if row is not None],
    )
    # Whatever has no place among the choices shows here.
    return found if None not in rows and found.query().spec == spec else None


def _duration(length_ns: int) -> str:
    return durations.text(length_ns) if length_ns else ""


def _shape(shape: Shape) -> tuple[str, dict[str, str | int | None]]:
    if isinstance(shape, SessionShape):
        return "session", {"gap": durations.text(shape.gap_ns)}
    if isinstance(shape, RollingShape):
        return ("rolling rows", {"rows": shape.rows}) if shape.rows else ("rolling", {"size": _duration(shape.size_ns)})
    if isinstance(shape, CountingShape):
        return "counting", {"rows": shape.rows, "every": shape.every}
    return shape.kind, _grid(shape)


def _grid(shape: GridShape) -> dict[str, str | int | None]:
    sizes: dict[str, str | int | None] = {"size": length_text(shape.size)}
    if shape.kind != "tumbling":
        sizes["every"] = length_text(shape.every)
    if shape.offset not in (Length(), Length(weeks=True)):
        sizes["offset"] = length_text(shape.offset)
    return sizes | ({"tz": shape.zone} if shape.zone else {})


def _row(name: str, aggregate: Aggregate) -> AggregateRow | None:
    if aggregate.name not in FUNCTIONS:
        return None
    parameter: float | None = None
    if isinstance(aggregate, Quantile | SketchQuantile):
        parameter = aggregate.q
    elif isinstance(aggregate, SketchDistinct):
        parameter = aggregate.error
    elif isinstance(aggregate, TopK):
        parameter = aggregate.k
    row = AggregateRow(aggregate.name, getattr(aggregate, "column", None) or "", "", parameter)
    return row if row.result_name == name else AggregateRow(row.function, row.column, name, parameter)
