"""Trained models as files for programs that know nothing of lepton_nb: ONNX, torch.export, TorchScript, SavedModel.

What is written takes rows as the model takes them (after the preparation), as many at a time as is wished. A JSON file
beside it tells how to make such rows. Both are there or neither is, and what is there was loaded back and compared.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import importlib.util
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, get_args

import numpy as np
import numpy.typing as npt

from lepton_nb.errors import TrainingError
from lepton_nb.training import metrics, saved
from lepton_nb.training.spec import Task

if TYPE_CHECKING:
    from lepton_nb.data.frames import Frame
    from lepton_nb.data.transform import Prepared
    from lepton_nb.training.trained import Trained

Format = Literal["onnx", "torch_export", "torchscript", "saved_model"]
Outputs = Literal["logits", "predictions"]
Numbers: TypeAlias = npt.NDArray[Any]

FORM = 1
INPUT = "features"
ENDINGS: dict[str, Format] = {
    ".onnx": "onnx",
    ".pt2": "torch_export",
    ".pt": "torchscript",
    ".ts": "torchscript",
    "": "saved_model",
}
FORMATS_OF: dict[str, tuple[Format, ...]] = {
    "torch": ("onnx", "torch_export", "torchscript"),
    "keras": ("saved_model", "onnx"),
}
PACKAGES: dict[Format, tuple[str, ...]] = {"onnx": ("onnx", "onnxscript", "onnxruntime")}
# A file of protocol buffers, as ONNX is, cannot be larger.
MOST_ONNX_BYTES = 2**31 - 2**20
MOST_SAMPLE_ROWS = 1_000
# One row, and a few that no model expects.
CHECKED_ROWS = (1, 7, 33)
TOLERANCE = {"float32": 1e-5, "float64": 1e-9}


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a backend is to write: `task` is None for logits, and tells how to predict otherwise.

    last_is_one: the model's outputs end in a dimension of one number, (rows, 1) or (rows, steps, 1), which predictions
    do not have.
    """

    format: Format
    row_shape: tuple[int, ...]
    dtype: str
    task: Task | None
    last_is_one: bool = False

    @property
    def output(self) -> str:
        """The name of the output."""
        return "logits" if self.task is None else "predictions"


def export(
    trained: Trained,
    path: str | os.PathLike[str],
    format: Format | Literal["auto"] = "auto",
    *,
    outputs: Outputs = "logits",
    sample: Prepared | Frame | None = None,
    overwrite: bool = False,
) -> Path:
    """Write the model for other programs, with `path`.json beside it, and return the path.

    format: "onnx", "torch_export" (a .pt2 file), "torchscript" (.pt or .ts), or for a Keras model "saved_model" (a
        folder) or "onnx"; "auto" tells it from the ending of `path`.
    outputs: "logits" gives what the model itself gives, raw; "predictions" what `predict` gives, in the model's
        precision: binary the probability of 1 (rows,), multiclass probabilities (rows, classes), regression values
        (rows,).
    sample: rows to compare the file with the model on; by default random numbers of mean 0 and deviation 1. Give
        some to a model that does not take any number, for example one that looks up words by number.

    The input is "features", (rows, ...) with any number of rows, in the precision of the training; prepared rows, as
    the JSON file tells: features in their order, target, task, classes, preparation, versions.

    Raises TrainingError for a format that does not go with the model, a model that cannot be written in it, a file that
    does not give back the model's numbers (relative difference 1e-5, in float64 1e-9), a package that is missing, and
    for something there already, unless `overwrite` says to put the new export in the place of an old one.
    """
    if outputs not in get_args(Outputs):
        raise TrainingError.unknown("outputs", str(outputs), get_args(Outputs))
    target = Path(path).absolute()
    model = trained.model
    chosen = _format(format, target, trained.framework)
    _check_packages(chosen)
    _check_place(target, overwrite)
    rows = _rows(trained, sample)
    backend = _backend(trained.framework)
    expected = _expected(backend, model, rows, given=sample is not None)
    last_is_one = expected.ndim > 1 and expected.shape[-1] == 1 and trained.task != "multiclass"
    task = trained.task if outputs == "predictions" else None
    wanted = Wanted(chosen, row_shape(trained), trained.reader.dtype, task, last_is_one)
    if chosen == "onnx" and backend.size_bytes(model) > MOST_ONNX_BYTES:
        raise TrainingError("the model is too large for one ONNX file (2 GB); use format='torch_export'")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with _beside(target) as folder:
            made = folder / target.name
            backend.write(model, wanted, made)
            _compare(backend.load(wanted, made), lambda part: backend.outputs(model, part), rows, wanted)
            beside = folder / _json_of(target).name
            beside.write_text(json.dumps(_told(trained, wanted, target, expected), indent=2, allow_nan=False) + "\n")
            _publish([(beside, _json_of(target)), (made, target)])
    except OSError as error:
        raise TrainingError(f"the model cannot be exported to {target}: {error.strerror}", path=str(target)) from error
    return target


def row_shape(trained: Trained) -> tuple[int, ...]:
    """The shape of one row as the model takes it."""
    return trained.reader.row_shape


def _backend(framework: str) -> Any:
    """The module with outputs, size_bytes, write and load for the framework's models."""
    if framework == "torch":
        from lepton_nb.training import torch_export

        return torch_export
    from lepton_nb.training import keras_export

    return keras_export


def _format(given: str, target: Path, framework: str) -> Format:
    allowed = FORMATS_OF[framework]
    if given != "auto":
        if given not in get_args(Format):
            raise TrainingError.unknown("format", str(given), [*get_args(Format), "auto"])
        chosen = given
    else:
        ending = target.suffix.lower()
        if ending not in ENDINGS or (ending == "" and framework == "torch"):
            endings = ", ".join(known for known, name in ENDINGS.items() if name in allowed and known)
            raise TrainingError(
                f"the ending of {target.name!r} does not tell the format; end it in {endings}, or give "
                f"format={allowed[0]!r}"
            )
        chosen = ENDINGS[ending]
    for name in allowed:
        if name == chosen:
            return name
    names = " or ".join(repr(name) for name in allowed)
    raise TrainingError(f"a {framework} model cannot be written as {chosen!r}; use format={names}", format=chosen)


def _check_packages(format: Format) -> None:
    missing = [name for name in PACKAGES.get(format, ()) if importlib.util.find_spec(name) is None]
    if missing:
        raise TrainingError(
            f"format={format!r} needs {' and '.join(missing)}; install what exports need: "
            'pip install "lepton-nb[export]"',
            missing=tuple(missing),
        )


def _json_of(target: Path) -> Path:
    return target.with_name(f"{target.name}.json")


def _check_place(target: Path, overwrite: bool) -> None:
    """Raise TrainingError where something stands that an export may not take the place of."""
    beside = _json_of(target)
    taken = [path for path in (target, beside) if path.exists()]
    if not taken:
        return
    ours = beside.is_file() and _is_ours(beside)
    if not (ours and overwrite):
        advice = ", or say overwrite=True" if ours else ", this is no exported model"
        raise TrainingError(f"{taken[0]} exists; choose another name{advice}", path=str(taken[0]))


def _is_ours(beside: Path) -> bool:
    try:
        told = json.loads(beside.read_text())
    except (OSError, ValueError):
        return False
    return isinstance(told, dict) and "exported_as" in told


def _rows(trained: Trained, sample: Any) -> Numbers:
    """Rows to compare with, at least as many as one comparison takes."""
    count, reader = max(CHECKED_ROWS), trained.reader
    if sample is None:
        random = np.random.default_rng(0)
        return random.normal(size=(count, *row_shape(trained))).astype(reader.dtype)
    given = reader.read(sample, need_target=False, what="the sample").features
    taken = np.resize(np.arange(len(given)), max(count, min(len(given), MOST_SAMPLE_ROWS)))
    return np.ascontiguousarray(reader.numbers(given[taken]))


def _expected(backend: Any, model: Any, rows: Numbers, *, given: bool) -> Numbers:
    """What the model gives for the rows."""
    try:
        found: Numbers = backend.outputs(model, rows)
    except Exception as error:  # whatever the parts of the model raise
        advice = "" if given else "; give rows like those of the training: sample=frame"
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise TrainingError(f"the model cannot take the rows that it is checked on: {reason}{advice}") from error
    if not np.isfinite(found).all():
        raise TrainingError(
            "the model gives NaN or infinite values for the rows it is checked on; give others: sample=..."
        )
    return found


def _compare(
    run: Callable[[Numbers], Numbers], ask: Callable[[Numbers], Numbers], rows: Numbers, wanted: Wanted
) -> None:
    """Raise TrainingError unless `run`, what was written, gives for `rows` what `ask`, the model, gives for them."""
    for count in sorted({*CHECKED_ROWS, len(rows)}):
        right = ask(rows[:count])
        if wanted.task is not None:
            right = metrics.predictions(wanted.task, right[..., 0] if wanted.last_is_one else right)
        found = np.asarray(run(rows[:count]))
        if found.shape != right.shape:
            raise TrainingError(
                f"what was written as {wanted.format!r} gives the shape {found.shape} for {count} rows, the model "
                f"{right.shape}; use another format"
            )
        off = np.abs(found.astype(np.float64) - right)
        # Numbers near zero are differences of larger ones: what they may be off by goes with those.
        if not (off <= TOLERANCE[wanted.dtype] * (np.abs(right) + np.abs(right).max())).all():
            raise TrainingError(
                f"what was written as {wanted.format!r} gives other numbers than the model: they differ by up to "
                f"{off.max():.3g} for {count} rows; use another format. A model that draws random numbers, or decides "
                "by the values that it is given, cannot be written",
                difference=float(off.max()),
            )


def _told(trained: Trained, wanted: Wanted, target: Path, expected: Numbers) -> dict[str, Any]:
    """What a stranger needs to feed the file; the preparation as model.json of a saved model holds it."""
    told = saved.told(trained)
    per_row = expected.shape[1:-1] if wanted.task is not None and wanted.last_is_one else expected.shape[1:]
    width = int(expected.shape[-1])
    used = {"onnx": ("onnx", "onnxscript"), "saved_model": ("tensorflow",)}.get(wanted.format, ())
    return {
        "form": FORM,
        "exported_as": wanted.format,
        "file": target.name,
        "input": {"name": INPUT, "dtype": wanted.dtype, "shape": ["rows", *wanted.row_shape]},
        "output": {"name": wanted.output, "dtype": wanted.dtype, "shape": ["rows", *per_row]},
        "task": trained.task,
        "classes": {"multiclass": width, "binary": 2}.get(trained.task),
        "features": told["features"],
        "target": told["target"],
        "preparation": told["preparation"],
        "divisor": told["divisor"],
        "model": told["model"],
        "framework": told["framework"],
        "versions": {**told["versions"], **{name: importlib.metadata.version(name) for name in used}},
    }


@contextlib.contextmanager
def _beside(target: Path) -> Iterator[Path]:
    """A folder of its own next to `target`, gone in the end."""
    folder = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _publish(moves: list[tuple[Path, Path]]) -> None:
    """Put each first path in the place of its second; where one fails, all is as it was."""
    with _beside(moves[-1][1]) as old, contextlib.ExitStack() as undo:
        for _, place in moves:
            if place.exists():
                os.replace(place, old / place.name)
                undo.callback(os.replace, old / place.name, place)
        for made, place in moves:
            os.replace(made, place)
            undo.callback(os.replace, place, made)
        undo.pop_all()
