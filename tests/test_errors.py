"""Errors carry facts, cross processes, and name the closest known name."""

import copy
import pickle

import pytest

import lepton_nb as lnb
from lepton_nb.errors import hint

KINDS = [lnb.LeptonError, lnb.ClusterError, lnb.DataError, lnb.TrainingError, lnb.WindowError, lnb.ReportError]


@pytest.mark.parametrize("kind", KINDS)
def test_facts_are_attributes_and_survive_pickling(kind: type[lnb.LeptonError]) -> None:
    error = pickle.loads(pickle.dumps(kind("only 1 of 4 workers came", got=1, want=4)))
    assert type(error) is kind
    assert isinstance(error, lnb.LeptonError)
    assert str(error) == error.message == "only 1 of 4 workers came"
    assert (error.got, error.want) == (1, 4)
    assert error.facts == {"got": 1, "want": 4}


def test_a_fact_that_is_not_there_is_an_ordinary_attribute_error() -> None:
    error = lnb.DataError("empty", rows=0)
    assert not hasattr(error, "columns")
    with pytest.raises(AttributeError, match="DataError has no attribute 'columns'"):
        _ = error.columns


def test_an_error_can_be_copied() -> None:
    error = copy.copy(lnb.WindowError("too large", size="1d"))
    assert (error.message, error.size) == ("too large", "1d")


def test_unknown_names_the_closest_and_all_known() -> None:
    error = lnb.TrainingError.unknown("option", "epoch", ["workers", "epochs"])
    assert str(error) == "unknown option 'epoch'; did you mean 'epochs'?; known: epochs, workers"
    assert type(error) is lnb.TrainingError
    assert (error.name, error.known) == ("epoch", ("epochs", "workers"))


def test_unknown_without_anything_close_or_known() -> None:
    assert str(lnb.DataError.unknown("column", "zzz", ["carrier"])) == "unknown column 'zzz'; known: carrier"
    assert str(lnb.DataError.unknown("column", "a", [])) == "unknown column 'a'; known: none"


def test_hint_is_empty_unless_something_is_close() -> None:
    assert hint("dep_dely", ["dep_delay", "arr_delay"]) == "; did you mean 'dep_delay'?"
    assert hint("origin", ["dep_delay"]) == ""
