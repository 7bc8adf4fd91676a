"""Forms: typed values, and faults told where they are."""

import os
import subprocess
import sys

import pytest

from lepton_nb.errors import LeptonError
from lepton_nb.widgets.form import Field, Form


@pytest.fixture
def changed():
    return []


@pytest.fixture
def form(changed):
    return Form(
        [
            Field(name="workers", label="Workers", kind=int, default=2, minimum=1, maximum=64),
            Field(name="rate", label="Rate", kind=float, default=0.1),
            Field(name="memory", label="Memory", optional=True),
            Field(name="gpus", label="GPUs", choices=(("as many as fit", "auto"), ("none", 0)), default="auto"),
            Field(name="secure", label="Encrypted", kind=bool, default=True),
            Field(name="keys", label="Keys", choices=(("UA", "UA"), ("AA", "AA")), multiple=True),
        ],
        on_change=changed.append,
    )


def entry(form, name):
    return form._entries[name]


def test_defaults_are_typed(form):
    assert form.values() == {
        "workers": 2, "rate": 0.1, "memory": None, "gpus": "auto", "secure": True, "keys": (),
    }  # fmt: skip


def test_what_is_typed_in_is_read(form, changed):
    entry(form, "workers").input.value = " 1_0 "
    entry(form, "rate").input.value = "1e-3"
    entry(form, "memory").input.value = "2GB"
    form.set(gpus=0, secure=False, keys=["AA"])
    assert form.values() == {
        "workers": 10, "rate": 0.001, "memory": "2GB", "gpus": 0, "secure": False, "keys": ("AA",),
    }  # fmt: skip
    assert changed == ["workers", "rate", "memory", "gpus", "secure", "keys"]


def test_every_fault_is_named_and_marked_and_goes_with_the_next_key(form):
    form.set(workers="0", rate="fast")
    with pytest.raises(
        LeptonError, match="Workers must be 1 or more, not 0; Rate must be a number, not 'fast'"
    ) as found:
        form.values()
    assert found.value.fields == ("workers", "rate")
    assert "1 or more" in entry(form, "workers").fault.value
    assert 'role="alert"' in entry(form, "workers").fault.value
    entry(form, "workers").input.value = "3"
    assert entry(form, "workers").fault.value == ""
    with pytest.raises(LeptonError, match="^Rate must be"):
        form.values()


@pytest.mark.parametrize(
    ("text", "fault"),
    [("", "is empty; give a value"), ("2.5", "must be a whole number"), ("65", "must be 64 or less"), ("nan", "whole")],
)
def test_faults_of_a_whole_number(form, text, fault):
    form.set(workers=text)
    with pytest.raises(LeptonError, match=fault):
        form.values()


def test_not_a_number_is_below_every_minimum():
    form = Form([Field(name="a", label="A", kind=float, minimum=0.0, default="nan")])
    with pytest.raises(LeptonError, match="A must be 0 or more, not nan"):
        form.values()


def test_a_fault_is_text_and_no_markup(form):
    form.mark({"memory": "<b>bold</b>"})
    assert "<b>" not in entry(form, "memory").fault.value


def test_other_choices_keep_what_was_chosen_where_it_is_still_there(form):
    form.set(keys=["UA", "AA"])
    form.choose("keys", (("AA", "AA"), ("DL", "DL")))
    assert form.values()["keys"] == ("AA",)
    form.choose("gpus", (("none", 0),))
    assert form.values()["gpus"] == 0


def test_unknown_fields_get_a_hint(form):
    with pytest.raises(LeptonError, match="the form has no field 'worker'; did you mean 'workers'?"):
        form.set(worker=1)


def test_a_form_can_be_disabled_and_fields_hidden(form):
    form.disabled = True
    assert form.disabled
    assert entry(form, "workers").input.disabled
    form.show_only(["workers"])
    assert entry(form, "workers").view.layout.display == ""
    assert entry(form, "rate").view.layout.display == "none"


def test_some_fields_can_be_read_by_themselves():
    form = Form([Field(name="size", label="Size"), Field(name="rows", label="Rows", kind=int, default=3)])
    assert form.value("rows") == 3
    assert form.values(["rows"]) == {"rows": 3}
    with pytest.raises(LeptonError, match="Size is empty"):
        form.value("size")
    with pytest.raises(LeptonError, match="Size is empty"):
        form.values()


def test_other_choices_keep_what_was_chosen_or_take_the_first():
    form = Form([Field(name="column", label="Column", choices=[]),
                 Field(name="keys", label="Keys", choices=[], multiple=True)])  # fmt: skip
    assert form.values() == {"column": None, "keys": ()}
    form.choose("column", [("a", "a"), ("b", "b")])
    form.choose("keys", [("a", "a"), ("b", "b")])
    assert form.values() == {"column": "a", "keys": ()}
    form.set(column="b", keys=("a", "b"))
    form.choose("column", [("b", "b"), ("c", "c")])
    form.choose("keys", [("b", "b"), ("c", "c")])
    assert form.values() == {"column": "b", "keys": ("b",)}
    form.choose("column", [("c", "c")])
    assert form.value("column") == "c"


def test_an_empty_input_shows_an_example():
    form = Form(
        [Field(name="path", label="Path", example="such as a.csv"), Field(name="most", label="Most", optional=True)]
    )
    assert [entry.input.placeholder for entry in form._entries.values()] == ["such as a.csv", "default"]


@pytest.mark.parametrize("seed", ["1", "3"])
def test_a_first_choice_of_none_is_chosen_whatever_pythons_hashes_are(seed):
    code = (
        "from lepton_nb.widgets.form import Field, Form\n"
        "form = Form([Field(name='stream', label='Stream', choices=(('none', None), ('yes', True)), optional=True)])\n"
        "print(form._entries['stream'].input.index)"
    )
    environment = os.environ | {"PYTHONHASHSEED": seed}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "0"
