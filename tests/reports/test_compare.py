import base64

import numpy as np
import polars as pl
import pytest
from kept_reports import figure_output, keep_report, printed
from nbformat.v4 import new_code_cell, new_output

import lepton_nb as lnb
from lepton_nb.reports.steady import sha256, steady
from lepton_nb.reports.structure import changes
from lepton_nb.reports.tolerance import Tolerance, parse

DAYS = {"2026-03-01"}


def packed(values, dtype):
    data = np.asarray(values, dtype=dtype)
    return {"dtype": dtype, "bdata": base64.b64encode(data.tobytes()).decode()}


def found(one, other, **options):
    return [(d.kind, d.text) for d in lnb.report_diff(one, other, **options).differences]


@pytest.fixture
def kept(tmp_path):
    """Makes reports, each in a folder of its own."""
    made = []

    def make(**options):
        made.append(keep_report(tmp_path / str(len(made)) / "r", **options))
        return made[-1]

    return make


def test_equal_reports_have_no_difference(kept):
    cells = (("1", [printed("a\n"), figure_output({"y": [1, 2]})]),)
    one, other = (kept(cells=cells, metrics={"auc": 0.5}) for _ in range(2))
    comparison = lnb.report_diff(one, other)
    assert not comparison
    assert str(comparison) == f"no difference: {one}, {other}"


def test_parameters_inputs_seeds_packages_and_metrics_are_told_by_name(kept):
    def facts(at):
        return {
            "inputs": [{"path": "a.csv", "bytes": 3, "sha256": f"{at}"}, {"path": "b.csv", "bytes": 1, "sha256": "s"}],
            "seeds": {"train": [at]},
            "packages": {"installed": {"polars": f"2.{at}", "numpy": "2"}, "lock": None, "sha256": ""},
        }

    one = kept(values={"epochs": 3}, metrics={"auc": 0.5, "rows": 2}, changes=facts(0))
    other = kept(values={"epochs": 4}, metrics={"auc": 0.75}, changes=facts(1))
    assert found(one, other) == [
        ("parameter", "epochs: 3 against 4"),
        ("input", "a.csv: other content"),
        ("seed", "train: [0] against [1]"),
        ("package", "polars: 2.0 against 2.1"),
        ("metric", "auc: 0.5 against 0.75"),
        ("metric", "rows: 2 against missing"),
    ]
    assert "what went in:\n  parameter epochs: 3 against 4" in str(lnb.report_diff(one, other))


def test_metrics_are_the_same_within_their_tolerance(kept):
    one = kept(metrics={"auc": 0.7, "loss": float("nan"), "rows": 10})
    near = kept(metrics={"auc": 0.7 + 1e-12, "loss": float("nan"), "rows": 10})
    far = kept(metrics={"auc": 0.705, "loss": 1.0, "rows": 11})
    assert found(one, near) == []
    assert [text for _, text in found(one, far)] == [
        "auc: 0.7 against 0.705",
        "loss: NaN against 1.0",
        "rows: 10 against 11",
    ]
    wide = {"auc": 0.01, "rows": Tolerance(relative=0.2)}
    assert [text for _, text in found(one, far, tolerance=wide)] == ["loss: NaN against 1.0"]


def test_a_tolerance_is_absolute_relative_or_both():
    assert parse("auc=0.01,rel:0.05") == ("auc", Tolerance(0.01, 0.05))
    assert parse("a=b=rel:1e-3") == ("a=b", Tolerance(0, 1e-3))
    for wrong in ("auc", "=1", "auc=", "auc=x", "auc=-1", "auc=inf", "auc=rel:nan"):
        with pytest.raises(lnb.ReportError, match="such as auc=0.01,rel:0.05"):
            parse(wrong)
    assert not Tolerance(1).same(True, 1)
    assert not Tolerance(1).same("a", "b")
    assert Tolerance(0.5).same({"a": [1, 2.0]}, {"a": [1, 2.5]})


def test_tables_are_compared_by_column(kept):
    columns = [{"name": name, "type": "Float64"} for name in "ab"]
    inline = [
        kept(changes={"tables": {"t": {"columns": columns, "rows": 2, "values": [[1, None], [2.0, x]]}}})
        for x in (1, 3)
    ]
    assert found(inline[0], inline[0]) == []
    assert found(*inline) == [("table", "t: column 'b' differs in 1 of 2 values, the first at 1")]
    files = [
        kept(changes={"tables": {"t": {"columns": columns, "rows": 3, "head": [], "file": "t.parquet"}}}) for _ in "ab"
    ]
    for folder, last in zip(files, (2.0, 2.5), strict=True):
        pl.DataFrame({"a": [0.0, None, last], "b": ["x", "y", None], "c": [[1], [2], []]}).write_parquet(
            folder / "t.parquet"
        )
    assert found(*files) == [("table", "t: column 'a' differs in 1 of 3 values, most at 2: 2 against 2.5")]
    assert found(*files, tolerance={"t": 0.5}) == []
    outside = kept(changes={"tables": {"t": {"columns": columns, "rows": 3, "file": "../t.parquet"}}})
    with pytest.raises(lnb.ReportError, match="outside of the report's folder"):
        found(outside, files[0])


def test_figures_are_compared_by_the_data_they_draw(kept):
    one = kept(
        cells=(("1", [figure_output({"name": "delay", "x": ["a", "b"], "y": packed([1, 2, 3], "f8"), "uid": "1"})]),)
    )
    same = kept(cells=(("1", [figure_output({"name": "delay", "x": ["a", "b"], "y": [1, 2, 3 + 1e-12], "uid": "2"})]),))
    assert found(one, same) == []
    other = kept(cells=(("1", [figure_output({"name": "delay", "x": ["a", "c"], "y": packed([1, 2, 4], "f4")})]),))
    assert found(one, other) == [
        ("figure", "of cell 2: trace 1 'delay': x differs in 1 of 2 values, the first at 1"),
        ("figure", "of cell 2: trace 1 'delay': y differs in 1 of 3 values, most at 2: 3 against 4"),
    ]
    assert [text for _, text in found(one, other, tolerance={"*": 1})] == [
        "of cell 2: trace 1 'delay': x differs in 1 of 2 values, the first at 1"
    ]
    longer = kept(cells=(("1", [figure_output({"y": [1]}, {"y": [2]})]),))
    assert found(one, longer) == [("figure", "of cell 2: 1 traces against 2")]


def test_texts_are_compared_without_what_is_of_the_moment(kept):
    one = kept(cells=(("1", [printed("at 0x7f00aa00 on 2026-03-01 12:00:03\n"), printed("x", "stderr")]),))
    same = kept(cells=(("1", [printed("at 0x7f00bb00 on "), printed("2026-03-01 13:00:03\n")]),))
    other = kept(cells=(("1", [printed("flight of 2013-03-01 12:00:03\n")]),))
    assert found(one, same) == []
    assert [kind for kind, _ in found(one, other)] == ["output"]
    assert steady([printed("2013-03-01 12:00:03")], DAYS) == [{"printed": "2013-03-01 12:00:03"}]


def test_the_hash_of_outputs_leaves_identifiers_and_counts_out():
    def result(count, model, uid):
        data = {
            "application/vnd.jupyter.widget-view+json": {"model_id": model},
            "application/vnd.plotly.v1+json": {"data": [{"uid": uid, "y": [1]}]},
            "text/html": f'<div id="{uid}"></div>',
        }
        return [new_output("execute_result", data, execution_count=count)]

    ids = ["0b4a1f6e-2f3c-4f2e-9d1e-0123456789ab", "1b4a1f6e-2f3c-4f2e-9d1e-0123456789ab"]
    assert sha256(result(1, "m1", ids[0]), DAYS) == sha256(result(2, "m2", ids[1]), DAYS)
    assert sha256(result(1, "m1", ids[0]), DAYS) != sha256([], DAYS)


def test_cells_that_were_changed_added_and_removed_are_found():
    def cells(*sources):
        return [new_code_cell(source) for source in sources]

    pairs, words = changes(cells("a = 1", "b = 2", "c = 3"), cells("a = 1", "b = 2", "c = 3"))
    assert ([place for place, _, _ in pairs], words) == ([0, 1, 2], [])
    base = cells("import os\nx = 1\nprint(x)\n", "y = other(2)", "done()")
    another = cells("import os\nx = 5\nprint(x)\n", "y = other(2)", "entirely_new()\n", "done()")
    pairs, words = changes(base, another)
    assert words == [
        (0, "was changed: line 2, 'x = 1' against 'x = 5'"),
        (2, "one cell was added before it: 'entirely_new()'"),
    ]
    assert [one.source for _, one, _ in pairs] == ["y = other(2)", "done()"]
    assert all(one.source == other.source for _, one, other in pairs)
    _, words = changes(another, base)
    assert (2, "was removed: 'entirely_new()'") in words


def test_volatile_cells_are_not_compared(kept):
    one, other = (kept(cells=(("1", [printed(text)]),)) for text in ("a", "b"))
    assert [kind for kind, _ in found(one, other)] == ["output"]
    import nbformat

    for folder in (one, other):
        node = nbformat.read(folder / "n.ipynb", as_version=4)
        node.cells[1].metadata["tags"] = ["volatile"]
        nbformat.write(node, folder / "n.ipynb")
    assert found(one, other) == []


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"schema_version": 2, "notebook": 1}', "\x00"])
def test_what_is_no_manifest_is_told(text, tmp_path):
    (tmp_path / "manifest.json").write_text(text)
    with pytest.raises(lnb.ReportError, match="is damaged, or no manifest"):
        lnb.report_diff(tmp_path, tmp_path)


def test_a_manifest_of_a_later_version_is_told(tmp_path):
    (tmp_path / "manifest.json").write_text('{"schema_version": 99}')
    with pytest.raises(lnb.ReportError, match="later version"):
        lnb.report_verify(tmp_path)
    with pytest.raises(lnb.ReportError, match="there is no report"):
        lnb.report_verify(tmp_path / "gone")
