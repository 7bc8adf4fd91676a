"""A token number that a model does not know is told with the vocabulary and the fix, alike in both frameworks."""

import io

import dask.array as da
import numpy as np
import polars as pl
import pytest
import torch
import training_contract as contract

import lepton_nb as lnb
from lepton_nb.training import arrays, models, tokens
from lepton_nb.training.batches import open_source
from lepton_nb.training.feeds import feed
from lepton_nb.training.rows import training_rows
from lepton_nb.training.trained import Trained

KNOWN = 9
RANDOM = np.random.default_rng(2)
WORDS = RANDOM.integers(0, KNOWN, (60, 5))
TARGET = (WORDS[:, 0] > 4).astype(float)
OPTIONS = {"workers": 1, "epochs": 1, "max_restarts": 0}


def with_token(value, row=7):
    """Words of which one is not known."""
    words = WORDS.astype(float)
    words[row, 3] = value
    return words


def described(framework, kind="rnn", vocabulary=KNOWN):
    if kind == "rnn":
        return lnb.models.rnn(hidden=(4,), vocabulary=vocabulary, framework=framework)
    return lnb.models.transformer(1, 8, 2, vocabulary=vocabulary, framework=framework)


def own(framework):
    """A function that builds a model which nobody described."""

    def in_torch():
        from torch import nn

        class Words(nn.Module):
            def __init__(self):
                super().__init__()
                self.words = nn.Embedding(KNOWN, 4)
                self.end = nn.Linear(4, 1)

            def forward(self, rows):
                return self.end(self.words(rows.long()).mean(1))

        return Words()

    def in_keras():
        import keras

        layers = [keras.layers.Embedding(KNOWN, 4), keras.layers.GlobalAveragePooling1D(), keras.layers.Dense(1)]
        return keras.Sequential([keras.Input((5,), dtype="int32"), *layers])

    return in_torch if framework == "torch" else in_keras


def weights_of(model, framework):
    """Untrained, as a run leaves them."""
    built = models.build(model, 5, 0, framework=framework)
    if framework == "keras":
        return arrays.packed({"weights": built.get_weights()})
    buffer = io.BytesIO()
    torch.save(built.state_dict(), buffer)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (
            9,
            r"holds the token number 9 in row 7 \(from 0\), .* from 0 to 8 \(vocabulary=9\); train one with voc.*=10",
        ),
        (-1, r"holds the token number -1 in row 7 \(from 0\), .*\(vocabulary=9\); number the tokens as the model does"),
        (2.5, r"holds the token number 2.5 in row 7 \(from 0\), and the model knows the whole numbers"),
    ],
)
@pytest.mark.parametrize("kind", ["rnn", "transformer"])
@pytest.mark.parametrize("framework", contract.FRAMEWORKS)
def test_rows_in_memory_are_looked_at_before_anything_starts(framework, kind, value, message):
    model = described(framework, kind)
    with pytest.raises(lnb.TrainingError, match="the training data " + message) as caught:
        lnb.train(model, (with_token(value), TARGET), **OPTIONS)
    assert (caught.value.value, caught.value.vocabulary) == (value, KNOWN)
    with pytest.raises(lnb.TrainingError, match="the validation data " + message):
        lnb.train(model, (WORDS, TARGET), validation=(with_token(value), TARGET), **OPTIONS)
    with pytest.raises(lnb.TrainingError, match="the training data " + message):
        lnb.sweep(model, (with_token(value), TARGET), {"learning_rate": [0.1]}, metric="loss")


@pytest.mark.parametrize("framework", contract.FRAMEWORKS)
def test_a_preparation_with_more_words_than_the_model_knows_is_refused(framework):
    frame = pl.DataFrame({"text": [f"one two three {n % 7}" for n in range(80)], "y": [n % 2 for n in range(80)]})
    parts = lnb.prepare(frame, target="y", text="text", tokens=5)
    with pytest.raises(
        lnb.TrainingError, match="prepared with 12 token numbers, and the model has vocabulary=9; give th"
    ):
        lnb.train(described(framework), parts.train, **OPTIONS)


@pytest.mark.parametrize("model", [described, own], ids=["described", "own"])
@pytest.mark.parametrize("framework", contract.FRAMEWORKS)
def test_a_trained_model_says_alike_what_it_does_not_know(framework, model):
    """Of a model that nobody described, the framework finds it, and what it says is translated."""
    _, reader = training_rows((WORDS, TARGET), None, "float32")
    none = pl.DataFrame()
    run = Trained(
        model(framework), reader, "binary", weights_of(model(framework), framework), 0, none, none, {}, framework
    )
    assert run.predict(WORDS).shape == (60,)
    message = r"hold.? the token number 11.* and the model knows the whole numbers from 0 to 8 \(vocabulary=9\); train"
    for ask in (lambda: run.predict(with_token(11)), lambda: run.evaluate((with_token(11), TARGET))):
        with pytest.raises(lnb.TrainingError, match=message) as caught:
            ask()
        assert (caught.value.value, caught.value.vocabulary) == (11, KNOWN)


@pytest.mark.parametrize("row", [0, 59], ids=["at once", "later"])
@pytest.mark.parametrize("framework", contract.FRAMEWORKS)
def test_ranks_say_alike_what_a_model_of_ones_own_does_not_know(cluster, framework, row):
    data = (with_token(11, row), TARGET)
    run = lnb.train(own(framework), data, framework=framework, cluster=cluster, batch_size=20, **OPTIONS)
    with pytest.raises(
        lnb.TrainingError, match=r"^the rows hold the token number 11, and the model knows .* from 0 to 8"
    ):
        run.wait(100)
    run = lnb.train(
        own(framework), (WORDS, TARGET), validation=data, framework=framework, cluster=cluster, batch_size=20, **OPTIONS
    )
    with pytest.raises(
        lnb.TrainingError, match=r"^the rows hold the token number 11, and the model knows .* from 0 to 8"
    ):
        run.wait(100)


@pytest.mark.parametrize("framework", contract.FRAMEWORKS)
def test_rows_that_only_ranks_see_are_looked_at_there(cluster, framework):
    data = da.from_array(with_token(11, 59), chunks=(20, 5)), da.from_array(TARGET, chunks=20)
    run = lnb.train(described(framework), data, cluster=cluster, **{**OPTIONS, "workers": 2})
    with pytest.raises(lnb.TrainingError, match=r"^the training data holds the token number 11 in row 59 "):
        run.wait(100)


def test_streamed_rows_are_looked_at_as_they_are_read(tmp_path):
    frame = pl.DataFrame(with_token(11, 59), schema=[f"w{n}" for n in range(5)]).with_columns(y=TARGET)
    frame.write_parquet(tmp_path / "rows.parquet", row_group_size=20)
    for name, array in feed(str(tmp_path / "rows.parquet"), "y", "float32", stream=True).arrays.items():
        np.save(tmp_path / f"{name}.npy", array)
    source = open_source(tmp_path, "train")
    source.require_tokens(KNOWN, "the training data", 0, 1)
    assert len(source.head(40)[0]) == 40
    message = r"row group 2 of \S+rows.parquet holds the token number 11 in row 19"
    with pytest.raises(lnb.TrainingError, match=message):
        list(source.batches(0, 0, 20, 0, 0, 1))


def test_other_errors_are_left_as_they_are():
    assert tokens.told(IndexError("index out of range in self")) is None
    assert tokens.told(ValueError("indices")) is None
    assert models.vocabulary_of(lnb.models.mlp()) is None
    assert models.vocabulary_of(own("torch")) is None
