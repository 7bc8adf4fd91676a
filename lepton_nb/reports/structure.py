"""Two notebooks cell by cell: which cells belong together, and which were added, removed or changed."""

from __future__ import annotations

from typing import Any, TypeAlias

Pairs: TypeAlias = "list[tuple[int, Any, Any]]"


def changes(cells: list[Any], others: list[Any]) -> tuple[Pairs, list[tuple[int, str]]]:
    """Pairs of cells with one source, each with its place in the first; then what is different, with its place.

    Where not all are the same, nbdime finds what belongs together. Outputs do not count here.
    """
    if [_essence(cell) for cell in cells] == [_essence(cell) for cell in others]:
        return [(place, *pair) for place, pair in enumerate(zip(cells, others, strict=True))], []
    pairs: Pairs = []
    found: list[tuple[int, str]] = []
    here = there = 0
    for entry in _difference(cells, others):
        for _ in range(entry["key"] - here):
            pairs.append((here, cells[here], others[there]))
            here, there = here + 1, there + 1
        if entry["op"] == "addrange":
            count = len(entry["valuelist"])
            words = "one cell was" if count == 1 else f"{count} cells were"
            found.append((here, f"{words} added before it: {_first_line(others[there])}"))
            there += count
        elif entry["op"] == "removerange":
            found += [(here + at, f"was removed: {_first_line(cells[here + at])}") for at in range(entry["length"])]
            here += entry["length"]
        else:
            if _essence(cells[here]) == _essence(others[there]):
                pairs.append((here, cells[here], others[there]))
            else:
                words = _changed_line(cells[here].source, others[there].source)
                found.append((here, f"was changed: {words}"))
            here, there = here + 1, there + 1
    pairs += [(here + at, *pair) for at, pair in enumerate(zip(cells[here:], others[there:], strict=True))]
    return pairs, found


def _difference(cells: list[Any], others: list[Any]) -> list[Any]:
    from nbdime import diff_notebooks
    from nbformat.v4 import new_notebook

    bare = [new_notebook(cells=[_bare(cell) for cell in side]) for side in (cells, others)]
    found: list[Any] = next((entry["diff"] for entry in diff_notebooks(*bare) if entry["key"] == "cells"), [])
    return found


def _bare(cell: Any) -> Any:
    from nbformat.v4 import new_code_cell, new_markdown_cell, new_raw_cell

    make: dict[str, Any] = {"code": new_code_cell, "markdown": new_markdown_cell, "raw": new_raw_cell}
    return make[cell.cell_type](cell.source, id=cell.get("id", "none"))


def _essence(cell: Any) -> tuple[str, str]:
    return cell.cell_type, cell.source


def _first_line(cell: Any) -> str:
    return repr(next((line for line in cell.source.splitlines() if line.strip()), "")[:60])


def _changed_line(was: str, now: str) -> str:
    lines, others = was.splitlines(), now.splitlines()
    pairs = enumerate(zip(lines, others, strict=False))
    at = next((place for place, pair in pairs if pair[0] != pair[1]), min(len(lines), len(others)))
    left, right = (side[at][:60] if at < len(side) else "" for side in (lines, others))
    return f"line {at + 1}, {left!r} against {right!r}"
