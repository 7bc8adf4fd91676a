import numpy as np
import pytest

from lepton_nb.reports.values import jsonable, plain


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (np.int64(3), 3),
        (np.float32(0.5), 0.5),
        (np.bool_(True), True),
        (np.array(2), 2),
        (np.str_("a"), "a"),
        ((1, np.int8(2)), [1, 2]),
        ({"a": (np.float64(1.5),)}, {"a": [1.5]}),
        (None, None),
    ],
)
def test_scalars_of_numpy_become_pythons_own(value, expected):
    result = plain(value)
    assert result == expected
    assert type(result) is type(expected)


def test_torch_scalars_become_pythons_own():
    torch = pytest.importorskip("torch")
    assert plain(torch.tensor(0.25)) == 0.25


def test_other_values_are_left_to_the_caller():
    value = object()
    assert plain(value) is value


def test_json_has_no_nan():
    assert jsonable({"a": [float("nan"), float("inf"), float("-inf"), 1.0]}) == {
        "a": ["NaN", "Infinity", "-Infinity", 1.0]
    }
