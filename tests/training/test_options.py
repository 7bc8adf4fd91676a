import dataclasses

import pytest

import lepton_nb as lnb
from lepton_nb.training import options
from lepton_nb.training.spec import TrainingSpec

TRAINING = {option.name: option for option in options.of_training()}


def test_all_options_that_can_be_typed_are_there_with_the_defaults_of_the_spec():
    fields = {field.name: field.default for field in dataclasses.fields(TrainingSpec)}
    # Rows and a mapping of places are given in code.
    assert {*fields} - {*TRAINING} == {"validation", "track"}
    assert {name: option.default for name, option in TRAINING.items()} == {name: fields[name] for name in TRAINING}
    assert TrainingSpec.of(**{name: option.default for name, option in TRAINING.items()}) == TrainingSpec()


@pytest.mark.parametrize(
    ("name", "kind", "optional", "choices"),
    [
        ("epochs", "whole", False, ()),
        ("learning_rate", "number", False, ()),
        ("patience", "whole", True, ()),
        ("clip_norm", "number", True, ()),
        ("optimizer", "choice", False, ("adam", "adamw", "sgd")),
        ("compile", "choice", False, ("auto", True, False)),
        ("stream", "choice", True, (None, True, False)),
        ("class_weights", "choice", True, (None, "balanced")),
        ("checkpoint", "text", True, ()),
        ("workers", "span", False, ("auto",)),
    ],
)
def test_types_say_what_can_be_chosen(name, kind, optional, choices):
    option = TRAINING[name]
    assert (option.kind, option.optional, option.choices) == (kind, optional, choices)


def test_metrics_are_chosen_among_all_that_there_are():
    assert TRAINING["metrics"].kind == "choices"
    assert {"auc", "rmse"} < {*TRAINING["metrics"].choices}


def test_labels_have_units_and_helps_are_the_words_of_the_docstrings():
    assert TRAINING["start_timeout_s"].label == "Start timeout (s)"
    assert TRAINING["momentum"].help == 'of "sgd".'
    assert TRAINING["patience"].help.startswith("end after so many epochs")
    assert TRAINING["batch_size"].help.startswith("batch_size is global")
    assert "keep_checkpoints of these are kept" in TRAINING["keep_checkpoints"].help


@pytest.mark.parametrize("kind", [*options.MODELS])
def test_defaults_of_a_models_options_make_its_default_model(kind):
    found = {option.name: option for option in options.of_model(kind)}
    assert {"framework", "task", "dropout", "classes"} < {*found}
    values = {name: option.read(option.written(option.default)) for name, option in found.items()}
    assert options.MODELS[kind](**values) == getattr(lnb.models, kind)()


def test_an_unknown_kind_of_model_gets_a_hint():
    with pytest.raises(lnb.TrainingError, match="did you mean 'transformer'"):
        options.of_model("transfromer")


@pytest.mark.parametrize(
    ("name", "written", "value"),
    [
        ("workers", "2", 2),
        ("workers", " auto ", "auto"),
        ("workers", "1 to 4", (1, 4)),
        ("workers", "(1, 4)", (1, 4)),
        ("hidden", "128, 64", (128, 64)),
        ("hidden", "(16,)", (16,)),
        ("hidden", "", ()),
    ],
)
def test_what_is_typed_is_read(name, written, value):
    option = TRAINING.get(name) or next(one for one in options.of_model("mlp") if one.name == name)
    assert option.read(written) == value
    assert option.read(option.written(value)) == value


@pytest.mark.parametrize(
    ("name", "written", "message"),
    [
        ("workers", "many", "workers is 'many'; give a number, two such as 1 to 4, or auto"),
        ("workers", "1 to", "give a number"),
        ("hidden", "a, 3", "give sizes such as 128, 64"),
        ("hidden", "-3", "give sizes"),
    ],
)
def test_what_cannot_be_read_is_refused_with_an_example(name, written, message):
    option = TRAINING.get(name) or next(one for one in options.of_model("mlp") if one.name == name)
    with pytest.raises(lnb.TrainingError, match=message) as caught:
        option.read(written)
    assert caught.value.name == name
