"""Warnings of our own are errors in tests, whoever they are attributed to."""

import warnings

import pytest


@pytest.mark.parametrize("module", ["lepton_nb", "lepton_nb.windowing.batch", "tests.windowing.test_batch"])
@pytest.mark.parametrize("category", [DeprecationWarning, RuntimeWarning, UserWarning, ResourceWarning])
def test_a_warning_in_our_code_is_an_error(module: str, category: type[Warning]) -> None:
    with pytest.raises(category, match="old"):
        exec(
            "warnings.warn('old', category, stacklevel=1)",
            {"__name__": module, "warnings": warnings, "category": category},
        )


def test_a_warning_that_we_raise_for_our_caller_is_an_error() -> None:
    namespace = {"__name__": "lepton_nb.made_up", "warnings": warnings}
    exec("def old():\n    warnings.warn('use new()', stacklevel=2)", namespace)
    with pytest.raises(UserWarning, match="use new"):
        namespace["old"]()  # type: ignore[operator]


def test_a_library_may_warn() -> None:
    with warnings.catch_warnings(record=True) as caught:
        exec("warnings.warn('old', stacklevel=1)", {"__name__": "some_library", "warnings": warnings})
    assert len(caught) == 1
