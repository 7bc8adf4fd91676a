"""Compiled steps: the same numbers, only where they are quicker, and never in the way."""

import shutil
import threading

import numpy as np
import pytest
import torch
from loops import torch_engine
from torch import nn

import lepton_nb as lnb
from lepton_nb.training import early, torch_compiled
from lepton_nb.training.attempts import compiled_note
from lepton_nb.training.spec import TrainingSpec

ROWS = np.random.default_rng(0).normal(size=(205, 6))
DATA = (ROWS, (ROWS[:, 0] > 0).astype(float))
# So long that a run of "auto" looks whether compiling is worth it.
ENDLESS = 10**8


def with_noise(features):
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(features, 16), nn.ReLU(), nn.Dropout(0.3), nn.Linear(16, 1))


@pytest.mark.slow
def test_compiled_steps_come_to_the_numbers_of_others(cluster):
    # 205 rows are six batches of 32 and one of 13; each is done in two pieces.
    options = {"epochs": 2, "batch_size": 32, "precision": "float64", "log_every_steps": 1, "accumulation": 2}
    plain, compiled = (
        lnb.train(with_noise, DATA, workers=2, validation=DATA, cluster=cluster, compile=it, **options).wait()
        for it in (False, True)
    )
    assert plain.step == 14
    np.testing.assert_allclose(compiled.steps["loss"], plain.steps["loss"], rtol=1e-12)
    np.testing.assert_allclose(compiled.history["validation_loss"], plain.history["validation_loss"], rtol=1e-12)
    for mine, other in zip(compiled.model.parameters(), plain.model.parameters(), strict=True):
        np.testing.assert_allclose(mine.detach(), other.detach(), rtol=1e-10, atol=1e-14)


def note_of(model, cluster):
    """What a long run says about compiling; it has gone on by then, and is stopped."""
    run = lnb.train(model, DATA, workers=1, batch_size=32, steps=ENDLESS, log_every_steps=1, cluster=cluster)
    gone_on = threading.Event()
    leave = run.watch(lambda event: gone_on.set() if run.status.over or run.step > early.LAST_STEP + 10 else None)
    try:
        assert gone_on.wait(300), run.error
    finally:
        leave()
    run.stop(60)
    assert run.error is None
    return run.notes[-1]


@pytest.mark.slow
def test_a_long_run_tries_it_and_says_what_came_of_it(cluster):
    note = note_of(with_noise, cluster)
    assert note.startswith(("steps are compiled: a pass takes ", "steps are not compiled: a pass would take "))


@pytest.mark.slow
def test_a_stop_does_not_wait_for_the_compiler(cluster):
    run = lnb.train(with_noise, DATA, batch_size=32, steps=ENDLESS, log_every_steps=1, cluster=cluster)
    begun = threading.Event()
    leave = run.watch(lambda event: begun.set() if run.status.over or run.step >= early.LAST_STEP else None)
    try:
        assert begun.wait(120), run.error
    finally:
        leave()
    run.stop(60)
    assert run.step <= early.LAST_STEP + 1, "it went on without having compiled"
    assert not any("compiled" in note for note in run.notes)
    assert run.state is not None


@pytest.mark.slow
def test_a_long_run_whose_compiler_is_broken_goes_on(cluster):
    def build(features):
        import torch._inductor.config

        torch._inductor.config.cpp.cxx = ("false",)
        return with_noise(features)

    note = note_of(build, cluster)
    assert note.startswith("steps are not compiled: ")
    assert "CppCompileError" in note or "InvalidCxxCompiler" in note
    assert note.endswith("which compile=False spares")


def test_what_was_measured_is_told():
    told = {"kept": True, "pass_s": 8.3e-4, "compiled_pass_s": 6.1e-4, "took_s": 21.7, "reason": ""}
    assert compiled_note(told) == ("steps are compiled: a pass takes 0.61 ms instead of 0.83 ms; compiling took 22 s")
    assert "not compiled: a pass would take 0.9 ms" in compiled_note(told | {"kept": False, "compiled_pass_s": 9e-4})
    assert compiled_note(told | {"kept": False, "compiled_pass_s": None, "reason": "why"}).startswith(
        "steps are not compiled: why; trying took 22 s"
    )


def test_without_a_compiler_nothing_is_tried_and_what_is_asked_for_is_refused(monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda name: None)
    assert not torch_compiled.possible(nn.Linear(1, 1), torch.device("cpu"))
    engine = torch_engine(nn.Linear(6, 1), (6,), TrainingSpec(compile=True))
    with pytest.raises(lnb.TrainingError, match="needs a C\\+\\+ compiler where the ranks run"):
        early.compile_at_once(engine, None, 32)


def test_a_script_module_is_left_alone():
    with pytest.warns(DeprecationWarning, match="torch.jit.script"):
        script = torch.jit.script(nn.Linear(1, 1))
    assert not torch_compiled.possible(script, torch.device("cpu"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"compile": "yes"}, "compile is 'yes'; give True, False, or 'auto'"),
        ({"compile": True, "parallel": "fsdp"}, "compile=True is not for parallel='fsdp'"),
        ({"compile": True, "framework": "keras"}, "compile=True is not for Keras"),
    ],
)
def test_options_that_cannot_be(options, message):
    with pytest.raises(lnb.TrainingError, match=message):
        TrainingSpec(**options)
