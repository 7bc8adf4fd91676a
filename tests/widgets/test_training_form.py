"""The form of a training is made of the spec, and says what the form's user chose."""

import dataclasses
from datetime import datetime, timedelta

import numpy as np
import polars as pl
import pytest

import lepton_nb as lnb
from lepton_nb.training.options import MODELS
from lepton_nb.training.spec import TrainingSpec
from lepton_nb.widgets.training_form import TrainingForm

ROWS = 200
RANDOM = np.random.default_rng(0)
TABLE = pl.DataFrame(
    {
        "at": [datetime(2024, 1, 1) + timedelta(hours=hour) for hour in range(ROWS)],
        "carrier": RANDOM.choice(["UA", "AA"], ROWS),
        "distance": RANDOM.random(ROWS),
        "late": RANDOM.random(ROWS) < 0.3,
    }
)
DATA = {
    "flights": TABLE,
    "parts": lnb.prepare(TABLE, target="late", time="at"),
    "images": (np.zeros((8, 4, 4, 1)), np.zeros(8)),
}


@pytest.fixture
def asked():
    return []


@pytest.fixture
def form(asked):
    made = TrainingForm(lambda: DATA, lambda _, target: asked.append(target))
    made.renew()
    return made


def shown(form):
    """The names of the fields of the rows that can be seen."""
    entries = form._rows._entries
    return {name for name, entry in entries.items() if entry.view.layout.display != "none"}


def test_untouched_it_says_the_defaults_of_spec_model_and_preparation(form):
    wish = form.values()
    assert TrainingSpec.of(**wish.training) == TrainingSpec()
    assert {field.name for field in dataclasses.fields(TrainingSpec)} - {*wish.training} == {
        "target", "framework", "validation", "track",
    }  # fmt: skip
    assert MODELS[wish.kind](**wish.model) == lnb.models.mlp()
    assert (wish.data, wish.parts) == (
        "flights",
        {"target": "late", "features": (), "prepared": True, "time": None, "validation": 0.1, "test": 0.2},
    )


@pytest.mark.parametrize("kind", [*MODELS])
def test_every_model_has_its_options(form, kind):
    form.set(kind=kind, framework="keras", task="multiclass", classes=5)
    wish = form.values()
    assert MODELS[kind](**wish.model) == getattr(lnb.models, kind)(framework="keras", task="multiclass", classes=5)


def test_values_are_set_by_name_and_read_typed(form):
    form.set(
        target="distance", features=("carrier",), time="at", kind="rnn", hidden=(8, 4), bidirectional=True,
        workers=(1, 4), patience=3, clip_norm=0.5, stream=False, compile=True, class_weights="balanced", steps=None,
        metrics=("f1",),
    )  # fmt: skip
    wish = form.values()
    assert (wish.model["hidden"], wish.model["bidirectional"]) == ((8, 4), True)
    wanted = {
        "workers": (1, 4), "patience": 3, "clip_norm": 0.5, "stream": False, "compile": True,
        "class_weights": "balanced", "steps": None, "metrics": ("f1",),
    }  # fmt: skip
    assert {name: wish.training[name] for name in wanted} == wanted
    assert (wish.parts["target"], wish.parts["features"], wish.parts["time"]) == ("distance", ("carrier",), "at")
    form.set(workers="auto", stream=None)
    assert (form.values().training["workers"], form.values().training["stream"]) == ("auto", None)


def test_what_can_be_chosen_follows_the_data(form, asked):
    assert shown(form) == {"data", "target", "features", "prepared", "time", "validation", "test"}
    form.set(prepared=False)
    assert shown(form) == {"data", "target", "features", "prepared", "validation_rows", "test_rows"}
    form.set(test_rows="parts")
    assert form.values().parts["test"] is DATA["parts"]
    form.set(data="parts")
    assert shown(form) == {"data"}
    assert form.values().parts == {}
    form.set(data="images")
    assert shown(form) == {"data", "validation_rows", "test_rows"}
    assert asked == ["late", None, None]
    form.set(data="flights", target="distance")
    assert asked[3:] == ["late", "distance"]


def test_metrics_and_classes_follow_the_task(form):
    form.set(metrics=("auc",))
    form.suggest("regression", None)
    assert form.values().training["metrics"] == ()
    with pytest.raises(lnb.LeptonError, match="unknown metrics 'auc'"):
        form.set(metrics=("auc",))
    form.set(metrics=("rmse", "r2"))
    form.suggest("multiclass", 7)
    assert form.values().model["classes"] == 7
    # Of another task they are not asked for, and not left over.
    form.set(task="regression")
    assert form.values().model["classes"] is None


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"epochs": "many"}, "Epochs must be a whole number, not 'many'"),
        ({"learning_rate": ""}, "Learning rate is empty"),
        ({"workers": "some"}, "Workers is 'some'; give a number, two such as 1 to 4, or auto"),
        ({"hidden": "wide"}, "Hidden is 'wide'; give sizes such as 128, 64"),
    ],
)
def test_what_cannot_be_read_is_refused_and_marked(form, values, message):
    form.set(**values)
    with pytest.raises(lnb.LeptonError, match=message):
        form.values()
    (name,) = values
    part, _ = form._find(name)
    assert 'role="alert"' in part._entries[name].fault.value


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"epoch": 3}, "unknown field 'epoch'; did you mean 'epochs'"),
        ({"kind": "mpl"}, "unknown model 'mpl'; did you mean 'mlp'"),
        ({"data": "flihgts"}, "unknown data 'flihgts'; did you mean 'flights'"),
        ({"optimizer": "adma"}, "unknown optimizer 'adma'; did you mean 'adam"),
    ],
)
def test_what_is_not_there_cannot_be_set(form, values, message):
    with pytest.raises(lnb.LeptonError, match=message):
        form.set(**values)


def test_without_data_it_says_how_to_give_some(asked):
    data = {}
    form = TrainingForm(lambda: data, lambda _, target: asked.append(target))
    form.renew()
    with pytest.raises(lnb.LeptonError, match="there is no data to train on"):
        form.values()
    assert form._empty.layout.display == ""
    data["flights"] = TABLE
    form.renew()
    assert form.values().data == "flights"
    assert (form._empty.layout.display, asked) == ("none", ["late"])
