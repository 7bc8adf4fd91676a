"""Errors in a panel name what the reader of its form sees; in code they name the arguments."""

import re
import threading
from datetime import UTC, datetime

import polars as pl
import pytest

import lepton_nb as lnb
from lepton_nb.widgets.cluster_form import start_fields
from lepton_nb.widgets.form import Field, Form
from lepton_nb.widgets.labels import in_labels
from lepton_nb.windowing.choices import KINDS, AggregateRow, QueryChoices

FIELDS = Form(
    [
        Field(name="size", label="Size"),
        Field(name="tz", label="Time zone"),
        Field(name="by", label="In the order of"),
        Field(name="batch_rows", label="Rows a batch", kind=int),
        Field(name="gpus", label="GPUs", choices=[("as many as there are", "auto"), ("1", 1)]),
        Field(name="secure", label="Encrypt traffic", kind=bool),
    ]
).by_name


@pytest.mark.parametrize(
    ("message", "said"),
    [
        ("size='1h' is less; try size='75m'.", "Size 1h is less; try Size 75m."),
        ("size is 0; give more", "Size is 0; give more"),
        ("Size: size is 0", "Size: is 0"),
        ("the size must be above zero", "the size must be above zero"),
        ("shorter windows take no tz, so leave size out", "shorter windows take no Time zone, so leave Size out"),
        ("ask for gpus='auto' or gpus=1", "ask for GPUs “as many as there are” or GPUs 1"),
        ("use secure=True", "use Encrypt traffic on"),
        ("batch_rows 5 is odd", "Rows a batch 5 is odd"),
        ("size='1 h' and size=''", "Size '1 h' and Size ''"),
        ("check size= and that it runs", "check Size and that it runs"),
        ("an error caused by: a client, size=(1, 2)", "an error caused by: a client, size=(1, 2)"),
        # What a user named stays as it was named.
        ("unknown column 'size=3'; did you mean 'tz'?", "unknown column 'size=3'; did you mean 'tz'?"),
        ("column \"it's size='1'\" and that zone's size='2h'", "column \"it's size='1'\" and that zone's Size 2h"),
        ("pl.col('tz').dt.f(size='1')", "pl.col('tz').dt.f(Size 1)"),
        ("window_size=3, resize=4", "window_size=3, resize=4"),
    ],
)
def test_names_of_arguments_become_labels_and_nothing_else_changes(message, said):
    assert in_labels(message, FIELDS) == said
    assert in_labels(message, {}) == message


def settled(panel):
    while panel.busy:
        threading.Event().wait(0.01)
    return panel


def check(panel, *labels):
    """The only fault of a panel names these labels, and no argument."""
    (fault,) = panel._faults.texts
    for label in labels:
        assert label in fault
    written = {name for name in panel._fields() if re.search(rf"(?<!\w){re.escape(name)}=", fault)}
    assert not written, fault
    assert not re.findall(r"(?<!['\w])[a-z]+(?:_[a-z]+)+", fault), fault


TIMES = pl.DataFrame({"ts": [datetime(2020, 1, 1, tzinfo=UTC)] * 3, "v": [1.0, 2.0, 3.0]})
WINDOWS = {
    "tumbling": ({"size": "1h", "offset": "2h"}, {}, ["Offset 0s gives the same windows"]),
    "sliding": ({"size": "1h", "every": "0s"}, {}, ["Every 0s must be above zero; try Every 1m"]),
    "cumulating": ({"size": "1h", "every": "25m"}, {}, ["a multiple of Step 25m; try Size 1h15m"]),
    "session": ({"gap": "0s"}, {}, ["try Gap 30m"]),
    "rolling": ({"size": "0s"}, {}, ["try Looks back 10m, or"]),
    "rolling rows": ({"rows": 0}, {}, ["Rows 0 must be a whole number", "for example Rows 100"]),
    "counting": ({"rows": 5}, {"allowed": "1m"}, ["give more Out of order instead"]),
}


@pytest.mark.parametrize("kind", KINDS)
def test_the_window_panel_names_the_labels_of_each_kind_of_windows(kind):
    sizes, more, labels = WINDOWS[kind]
    panel = settled(lnb.WindowPanel(sources={"events": TIMES}))
    try:
        panel.choose("events", QueryChoices("ts", kind=kind, sizes=sizes, **more), pace="once")
        panel._start.click()
        check(settled(panel), *labels)
    finally:
        panel.close()


@pytest.mark.parametrize(
    ("choices", "pace", "labels"),
    [
        ({"out_of_order": "-1s"}, {}, ["Out of order: -1s must not be negative"]),
        ({"sizes": {"size": "1h", "tz": "UTC+1"}}, {}, ["unknown time zone 'UTC+1'"]),
        ({"sizes": {"size": "1h", "tz": "Europe/Paris"}}, {}, ["Time zone 'Europe/Paris' needs", "take no Time zone"]),
        ({"aggregates": [AggregateRow("quantile", "v", "", 95)]}, {}, ["Quantile 95"]),
        ({"aggregates": [AggregateRow("distinct", "v", "", 5.0)]}, {}, ["Relative error 5"]),
        ({"aggregates": [AggregateRow("quantile", "v")]}, {}, ["needs a value for “Quantile”"]),
        ({"aggregates": []}, {}, ["nothing is computed yet"]),
        ({}, {"pace": "speed", "speed": 0}, ["Speed is how many seconds"]),
    ],
)
def test_the_window_panel_names_the_labels_of_its_other_fields(choices, pace, labels):
    panel = settled(lnb.WindowPanel(sources={"events": TIMES}))
    try:
        panel.choose("events", QueryChoices(**{"time": "ts", **choices}), **{"pace": "once", **pace})
        panel._start.click()
        check(settled(panel), *labels)
    finally:
        panel.close()


@pytest.mark.parametrize(
    ("values", "labels"),
    [
        ({"memory": "lots"}, ["Memory each 'lots' is not an amount"]),
        ({"memory": "2"}, ["Memory each 2 is too little"]),
        ({"workers": 1000, "memory": "100GB"}, ["this machine has"]),
    ],
)
def test_the_cluster_panel_names_its_labels(values, labels):
    panel = lnb.ClusterPanel()
    try:
        panel._form.set(**values)
        panel._start_button.click()
        check(settled(panel), *labels)
        marked = [entry.fault.value for entry in panel._form._entries.values() if entry.fault.value]
        assert all("memory=" not in words for words in marked)
        assert set(panel._fields()) >= {field.name for field in start_fields()}
    finally:
        panel.close()


@pytest.mark.parametrize(
    ("values", "labels"),
    [
        ({"epochs": 0}, ["Epochs is 0"]),
        ({"learning_rate": -1.0}, ["Learning rate is -1"]),
        ({"momentum": 1.5}, ["Momentum is 1.5 with Optimizer", "and Optimizer 'sgd'"]),
        ({"checkpoint_every_steps": 5}, ["Checkpoint every steps needs a folder"]),
        ({"compile": True, "parallel": "fsdp"}, ["Compile “yes” is not for Parallel 'fsdp'; leave Compile out"]),
        ({"workers": "some"}, ["Workers is 'some'"]),
        ({"hidden": "wide"}, ["Hidden is 'wide'"]),
        ({"hidden": "0"}, ["Hidden holds 0"]),
        ({"dropout": 2.0}, ["Dropout"]),
        ({"validation": 0.6, "test": 0.6}, ["alidation"]),
    ],
)
def test_the_training_panel_names_its_labels(values, labels):
    table = pl.DataFrame({"x": [float(n) for n in range(50)], "late": [n % 3 == 0 for n in range(50)]})
    panel = lnb.TrainingPanel(data={"table": table})
    try:
        panel.set(target="late", **values)
        panel._controls._start.click()
        check(settled(panel), *labels)
        assert panel.run is None
    finally:
        panel.close()
