import json

import numpy as np
import polars as pl
import pytest

from lepton_nb.data.prepare import prepare
from lepton_nb.data.tokens import TokenColumn, merged, word_counts
from lepton_nb.data.transform import Transform
from lepton_nb.data.transform_values import transform_of, values_of
from lepton_nb.errors import DataError


def table(titles, **columns):
    return pl.DataFrame(
        {"when": range(len(titles)), "title": titles, "good": [i % 2 for i in range(len(titles))]} | columns
    )


COLUMN = TokenColumn("title", 4, ("the", "cat", "été"))


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("the cat", [2, 3, 0, 0]),
        ("The CAT, the dog!", [2, 3, 2, 1]),
        ("cat-cat/cat;cat cat", [3, 3, 3, 3]),
        ("Été e\u0301te\u0301", [4, 4, 0, 0]),
        ("日本 the", [1, 2, 0, 0]),
        ("", [0, 0, 0, 0]),
        ("?!", [0, 0, 0, 0]),
        (None, [0, 0, 0, 0]),
    ],
)
def test_a_text_becomes_the_numbers_of_its_first_words(text, numbers):
    assert COLUMN.numbers(pl.Series(["cat", text, "the"])).tolist() == [[3, 0, 0, 0], numbers, [2, 0, 0, 0]]


def test_texts_without_any_word_are_padding():
    assert COLUMN.numbers(pl.Series([None, ""], dtype=pl.String)).tolist() == [[0] * 4] * 2
    assert COLUMN.numbers(pl.Series([], dtype=pl.String)).shape == (0, 4)


def test_the_vocabulary_is_of_the_training_part_alone():
    titles = ["rare words come", "the cat", "the dog", "The cat sat", "the end of it", "it is", "a b"] + [
        "late late"
    ] * 3
    train, validation, test = prepare(
        table(titles), target="good", time="when", text="title", tokens=3, vocabulary=5, validation=0.1, test=0.2
    )
    (column,) = train.transform.columns
    # Words that are as frequent as others come in the order of their letters.
    assert column.words == ("the", "cat", "it")
    assert train.transform.vocabulary == column.vocabulary == 5
    assert train.features.dtype == np.float32
    assert train.features.shape == (7, 3)
    assert train.features[:4].tolist() == [[1, 1, 1], [2, 3, 0], [2, 1, 0], [2, 3, 1]]
    assert (test.features == [1, 1, 0]).all()
    assert validation.transform is train.transform
    assert train.feature_names == ("title word 1", "title word 2", "title word 3")


def test_rare_words_can_be_left_out():
    titles = ["the cat", "the dog", "the cat", "a"] * 10
    transform = prepare(table(titles), target="good", text="title", time="when", min_rows=10).transform
    assert transform.columns[0].words == ("the", "cat")


def test_every_number_is_below_the_vocabulary():
    titles = [f"w{i} w{i * 7} w{i % 5}" for i in range(300)]
    parts = prepare(table(titles), target="good", text="title", tokens=5, vocabulary=50)
    assert parts.transform.vocabulary == 50
    assert max(part.features.max() for part in parts) == 49
    assert min(part.features.min() for part in parts) == 0


def test_counts_of_parts_are_counts_of_the_whole():
    texts = pl.Series("t", ["a b a", None, "b", "C c", "a"])
    whole = dict(word_counts(texts).iter_rows())
    assert whole == {"a": 3, "b": 2, "c": 2}
    assert dict(merged(word_counts(part) for part in (texts[:1], texts[1:2], texts[2:])).iter_rows()) == whole


def test_later_text_is_read_alike():
    parts = prepare(table(["the cat", "a dog"] * 20), target="good", time="when", text="title")
    later = parts.transform(pl.DataFrame({"title": ["the dog", None]}))
    assert later.target_values is None
    numbers = {word: number + 2 for number, word in enumerate(parts.transform.columns[0].words)}
    assert later.features[:, :3].tolist() == [[numbers["the"], numbers["dog"], 0], [0, 0, 0]]
    with pytest.raises(DataError, match="column 'title' held text in training and is Int64 now"):
        parts.transform(pl.DataFrame({"title": [1]}))


@pytest.mark.parametrize("options", [{"text": "title"}, {"features": ["title", "size"], "min_rows": 1}])
def test_a_preparation_comes_back_from_its_values(options):
    frame = table(["the cat", "a dog"] * 20, size=[1.5, None, 3.0, 4.0] * 10)
    transform = prepare(frame, target="good", time="when", **options).transform
    back = transform_of(json.loads(json.dumps(values_of(transform))))
    assert isinstance(back, Transform)
    assert back == transform
    np.testing.assert_array_equal(back(frame).features, transform(frame).features)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"text": "titel"}, "did you mean 'title'"),
        ({"text": ["title"]}, "give the name of one column of text"),
        ({"text": "when"}, "column 'when' is Int64, not text"),
        ({"text": "title", "features": ["title"]}, "leave features out"),
        ({"text": "title", "tokens": 0}, "tokens=0 cannot be; give a whole number from 1"),
        ({"text": "title", "vocabulary": 2}, "vocabulary=2 cannot be; give a whole number from 3"),
        ({"text": "title", "min_rows": 1000}, "no word of column 'title' is in the training part 1000 times or more"),
    ],
)
def test_bad_options_are_refused_with_the_fix(options, message):
    with pytest.raises(DataError, match=message):
        prepare(table(["the cat", "a dog"] * 20), target="good", time="when", **options)


def test_a_column_without_a_word_is_refused():
    with pytest.raises(DataError, match="no word of column 'title'"):
        prepare(table(["?", None] * 20), target="good", time="when", text="title")
