"""Two runs side by side: what went into them, and what came out. Pure: nothing is read, nothing runs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, Literal

from lepton_nb.reports.figure_data import differences as figure_differences
from lepton_nb.reports.figure_data import figures, value_differences
from lepton_nb.reports.injection import injected
from lepton_nb.reports.steady import days_of, steady
from lepton_nb.reports.structure import changes
from lepton_nb.reports.tolerance import ALL, Tolerance, chosen
from lepton_nb.reports.values import jsonable

Kind = Literal[
    "signature", "file", "notebook", "source", "parameter", "input", "seed", "flag", "package", "python", "lock",
    "commit", "machine", "cluster", "status", "metric", "table", "figure", "output", "cell",
]  # fmt: skip

# By themselves these leave a result as it was: they are told, and count where the results are to be held strictly.
CIRCUMSTANCES = {"package", "python", "lock", "commit", "machine", "cluster", "flag", "source", "notebook", "output"}
# Tag of cells whose outputs are not compared, for they tell of time or chance.
VOLATILE = "volatile"


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One thing that is not the same in two runs: its kind, its name, and in words what is different.

    cell: of the source notebook, counted from 0, where one is to blame. was, now: the values, where they are short.
    """

    kind: Kind
    name: str
    text: str
    cell: int | None = None
    was: Any = None
    now: Any = None

    @property
    def circumstance(self) -> bool:
        """Whether it is one of those under which a result may still be the same."""
        return self.kind in CIRCUMSTANCES

    def __str__(self) -> str:
        return f"{self.kind} {self.text}"

    def json(self) -> dict[str, Any]:
        """As plain JSON values."""
        return {**asdict(self), "circumstance": self.circumstance}


def given(was: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[Difference]:
    """What went in: parameters, inputs, seeds, sources of the project, packages, and the machine, of two manifests."""
    before, after = was.get("parameters", {}), now.get("parameters", {})
    yield from _values("parameter", _column(before, "value"), _column(after, "value"))
    yield from _hashes("input", _by_name(was.get("inputs", ())), _by_name(now.get("inputs", ())))
    yield from _values("seed", was.get("seeds") or {}, now.get("seeds") or {})
    yield from _hashes("source", _by_name(_sources(was)), _by_name(_sources(now)))
    yield from environment(was, now)
    yield from _values("flag", was.get("determinism") or {}, now.get("determinism") or {})
    if was.get("cluster") != now.get("cluster"):
        yield _changed("cluster", "cluster", was.get("cluster"), now.get("cluster"))


def environment(was: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[Difference]:
    """Packages, Python, lock file, commit and machine of two manifests."""
    before, after = was.get("versions", {}), now.get("versions", {})
    if before.get("python") != after.get("python"):
        yield _changed("python", "version", before.get("python"), after.get("python"))
    listed = [side.get("packages", {}).get("installed") for side in (was, now)]
    if None in listed:
        # A report of an earlier version knows the versions of a few.
        own = ("lepton_nb", "python", "platform")
        listed = [{name: version for name, version in side.items() if name not in own} for side in (before, after)]
        listed = [{name: side.get(name) for name in before if name in listed[0]} for side in listed]
    yield from _values("package", listed[0] or {}, listed[1] or {})
    locks = [side.get("packages", {}).get("lock") for side in (was, now)]
    if None not in locks and locks[0] != locks[1]:
        yield _changed("lock", locks[0]["path"], locks[0]["sha256"][:12], locks[1]["sha256"][:12])
    commits = [side.get("git") or {} for side in (was, now)]
    for key, name in (("commit", "commit"), ("diff_sha256", "uncommitted changes")):
        one, other = ((side.get(key) or "none")[:12] for side in commits)
        if all(commits) and one != other:
            yield _changed("commit", name, one, other)
    machines = [side.get("machine") or {} for side in (was, now)]
    if all(machines):
        yield from _values("machine", machines[0], machines[1])


def results(
    was: Mapping[str, Any],
    now: Mapping[str, Any],
    notebook: Any,
    another: Any,
    tolerances: Mapping[str, Tolerance],
) -> Iterator[Difference]:
    """What came out: status, metrics, tables, and cell by cell figures and texts, of two manifests and notebooks."""
    if was["status"] != now["status"]:
        yield _changed("status", "status", was["status"], now["status"])
    before, after = was.get("failure") or {}, now.get("failure") or {}
    if (before.get("cell"), before.get("ename")) != (after.get("cell"), after.get("ename")):
        blamed = after or before
        words = f"{blamed['ename']}: {blamed['evalue']}"
        text = f"failure: {words}" if after else f"failure of the earlier run did not come again: {words}"
        yield Difference(kind="status", name="failure", text=text, cell=blamed["cell"])
    yield from _metrics(was.get("metrics") or {}, now.get("metrics") or {}, tolerances)
    yield from cells(notebook, another, _days(was), _days(now), tolerances)


def cells(
    notebook: Any,
    another: Any,
    days: frozenset[str],
    other_days: frozenset[str],
    tolerances: Mapping[str, Tolerance],
) -> Iterator[Difference]:
    """How two executed notebooks differ: cells that were added, removed or changed, and what the others put out."""
    pairs, changed = changes(*([cell for cell in one.cells if not injected(cell)] for one in (notebook, another)))
    for place, words in changed:
        yield Difference(kind="cell", name=str(place + 1), text=f"{place + 1} {words}", cell=place)
    for place, one, other in pairs:
        tags = {*one.metadata.get("tags", []), *other.metadata.get("tags", [])}
        if one.cell_type == "code" and VOLATILE not in tags:
            yield from _outputs(place, one.outputs, other.outputs, (days, other_days), tolerances)


def _outputs(
    place: int,
    outputs: list[Any],
    others: list[Any],
    days: tuple[frozenset[str], frozenset[str]],
    tolerances: Mapping[str, Tolerance],
) -> Iterator[Difference]:
    drawn, redrawn = figures(outputs), figures(others)
    if len(drawn) != len(redrawn):
        text = f"of cell {place + 1}: {len(drawn)} figures against {len(redrawn)}"
        yield Difference(kind="figure", name=f"cell {place + 1}", text=text, cell=place)
    for number, pair in enumerate(zip(drawn, redrawn, strict=False), start=1):
        name = f"{number} of cell {place + 1}" if len(drawn) > 1 else f"of cell {place + 1}"
        for words in figure_differences(*pair, tolerances):
            yield Difference(kind="figure", name=name, text=f"{name}: {words}", cell=place)
    texts, others_texts = (
        _without_figures(steady(side, day)) for side, day in zip((outputs, others), days, strict=True)
    )
    if texts != others_texts:
        yield Difference(
            kind="output",
            name=f"cell {place + 1}",
            text=f"of cell {place + 1}: {_first(texts, others_texts)}",
            cell=place,
        )


def _without_figures(blocks: list[dict[str, Any]]) -> list[Any]:
    """Outputs but for figures, whose data is compared by itself, and pictures of them."""
    found = []
    for block in blocks:
        data = block.get("data")
        if data is None:
            found.append(block)
        elif "application/vnd.plotly.v1+json" not in data:
            found.append(
                {"data": {kind: value for kind, value in data.items() if kind != "text/plain" or len(data) == 1}}
            )
    return found


def _first(one: list[Any], other: list[Any]) -> str:
    if len(one) != len(other):
        return f"{len(one)} outputs against {len(other)}"
    left, right = next(pair for pair in zip(one, other, strict=True) if pair[0] != pair[1])
    if "printed" in left and "printed" in right:
        lines = zip(left["printed"].splitlines(), right["printed"].splitlines(), strict=False)
        found = next((pair for pair in lines if pair[0] != pair[1]), None)
        return f"{_short(found[0])} against {_short(found[1])}" if found else "printed text of another length"
    kinds = sorted(left.get("data", {})) or ["an error" if "error" in left else "text"]
    return f"{', '.join(kinds)} differs"


def tables(
    was: Mapping[str, Mapping[str, Any]], now: Mapping[str, Mapping[str, Any]], tolerances: Mapping[str, Tolerance]
) -> Iterator[Difference]:
    """How recorded tables differ, each as its columns by name (lists, or arrays of numbers)."""
    for name in sorted({*was, *now}):
        if name not in was or name not in now:
            words = "only the second run recorded it" if name not in was else "only the first run recorded it"
            yield Difference(kind="table", name=name, text=f"{name}: {words}")
        elif list(was[name]) != list(now[name]):
            words = f"columns {', '.join(was[name])} against {', '.join(now[name])}"
            yield Difference(kind="table", name=name, text=f"{name}: {words}")
        else:
            own = {ALL: tolerances[name]} if name in tolerances else tolerances
            for column, values in was[name].items():
                for _, words in value_differences(values, now[name][column], own, ""):
                    yield Difference(kind="table", name=name, text=f"{name}: column {column!r} {words}")


def _metrics(
    was: Mapping[str, Any], now: Mapping[str, Any], tolerances: Mapping[str, Tolerance]
) -> Iterator[Difference]:
    for name in sorted({*was, *now}):
        if name not in was or name not in now:
            yield _changed("metric", name, was.get(name), now.get(name), missing=(name not in was, name not in now))
            continue
        before, after = _number(was[name]), _number(now[name])
        if not chosen(name, before, after, tolerances).same(before, after):
            yield _changed("metric", name, was[name], now[name])


def _values(kind: Kind, was: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[Difference]:
    for name in sorted({*was, *now}):
        if name not in was or name not in now or was[name] != now[name]:
            yield _changed(kind, name, was.get(name), now.get(name), missing=(name not in was, name not in now))


def _hashes(kind: Kind, was: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[Difference]:
    for name in sorted({*was, *now}):
        if name not in was or name not in now:
            which = "only the second run read it" if name not in was else "only the first run read it"
            yield Difference(kind=kind, name=name, text=f"{name}: {which}")
        elif was[name].get("sha256") != now[name].get("sha256"):
            sizes = [side[name].get("bytes") for side in (was, now)]
            known = sizes[0] is not None and sizes[0] != sizes[1]
            words = f"{sizes[0]:,} bytes against {sizes[1]:,}" if known else "other content"
            hashes = [side[name].get("sha256") for side in (was, now)]
            yield Difference(kind=kind, name=name, text=f"{name}: {words}", was=hashes[0], now=hashes[1])


def _changed(kind: Kind, name: str, was: Any, now: Any, missing: tuple[bool, bool] = (False, False)) -> Difference:
    left, right = ("missing" if gone else _short(value) for gone, value in zip(missing, (was, now), strict=True))
    return Difference(
        kind=kind, name=name, text=f"{name}: {left} against {right}", was=jsonable(was), now=jsonable(now)
    )


def _short(value: Any) -> str:
    text = value if isinstance(value, str) and value and value.isprintable() else repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def _number(value: Any) -> Any:
    """Floats that JSON has no word for, as floats again."""
    if isinstance(value, str) and value in ("NaN", "Infinity", "-Infinity"):
        return float(value)
    if isinstance(value, Mapping) and value.get("type") in ("float", "list", "duration"):
        inner = value["value"]
        return {**value, "value": [*map(_number, inner)] if isinstance(inner, list) else _number(inner)}
    return value


def _column(table: Mapping[str, Mapping[str, Any]], key: str) -> dict[str, Any]:
    return {name: row.get(key) for name, row in table.items()}


def _by_name(entries: Any) -> dict[str, Any]:
    return {entry.get("path") or entry["url"]: entry for entry in entries}


def _sources(manifest: Mapping[str, Any]) -> Any:
    return manifest.get("notebook", {}).get("sources", ())


def _days(manifest: Mapping[str, Any]) -> frozenset[str]:
    return days_of(datetime.fromisoformat(manifest["started"]), datetime.fromisoformat(manifest["ended"]))
