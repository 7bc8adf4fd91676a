"""The life that a process lives is read from its environment."""

import pytest

from lepton_nb.environment import MODE_VARIABLE, mode

VARIABLES = (MODE_VARIABLE, "VOILA_KERNEL_ID", "JPY_SESSION_NAME")


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({}, "script"),
        ({"JPY_SESSION_NAME": "/notebooks/a.ipynb"}, "lab"),
        ({"VOILA_KERNEL_ID": "4f"}, "app"),
        ({"VOILA_KERNEL_ID": "4f", "JPY_SESSION_NAME": "a"}, "app"),
        ({MODE_VARIABLE: "report"}, "report"),
        # A report that is started from a notebook inherits that notebook's variables.
        ({MODE_VARIABLE: "report", "JPY_SESSION_NAME": "a", "VOILA_KERNEL_ID": "4f"}, "report"),
        ({MODE_VARIABLE: ""}, "script"),
    ],
)
def test_mode(variables: dict[str, str], expected: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert mode() == expected
