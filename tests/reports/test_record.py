import math

import numpy as np
import pytest

import lepton_nb as lnb
from lepton_nb.reports.record import RECORD_VARIABLE, read_records


@pytest.fixture
def records(tmp_path, monkeypatch):
    path = tmp_path / "records"
    monkeypatch.setenv(RECORD_VARIABLE, str(path))
    return path


def test_values_are_kept_and_returned(records):
    assert lnb.record("auc", 0.75) == 0.75
    lnb.record("rows", np.int64(12))
    lnb.record("good", True)
    lnb.record('name\n"', "two\nlines")
    assert read_records(records) == {"auc": 0.75, "rows": 12, "good": True, 'name\n"': "two\nlines"}


def test_last_value_of_a_name_counts(records):
    lnb.record("auc", 0.5)
    lnb.record("auc", 0.75)
    assert read_records(records) == {"auc": 0.75}


def test_nan_survives(records):
    lnb.record("loss", float("nan"))
    assert math.isnan(read_records(records)["loss"])


def test_outside_of_a_report_nothing_is_printed_or_kept(monkeypatch, capsys):
    monkeypatch.delenv(RECORD_VARIABLE, raising=False)
    assert lnb.record("auc", 0.75) == 0.75
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("value", [None, [1], {"a": 1}, object(), np.zeros(3), 1j])
def test_other_types_are_refused_also_outside_of_a_report(value, monkeypatch):
    monkeypatch.delenv(RECORD_VARIABLE, raising=False)
    with pytest.raises(lnb.ReportError, match="record a bool, int, float or str"):
        lnb.record("auc", value)


@pytest.mark.parametrize("name", ["", " ", 3])
def test_a_metric_needs_a_name(name):
    with pytest.raises(lnb.ReportError, match="needs a name"):
        lnb.record(name, 1)


def test_a_line_that_was_cut_off_is_left_out(tmp_path):
    path = tmp_path / "records"
    path.write_text('{"name": "a", "value": 1}\n{"name": "b", "va')
    assert read_records(path) == {"a": 1}
