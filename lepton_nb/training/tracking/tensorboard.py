"""The history of a run as TensorBoard event files; needs the package tensorboard, and TensorFlow not."""

from __future__ import annotations

import io
import os
import socket
import struct
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from lepton_nb.errors import TrainingError
from lepton_nb.training.tracking.files import GrowingFile
from lepton_nb.training.tracking.scalars import Kind
from lepton_nb.training.tracking.written import Written

# TensorBoard takes every file with "tfevents" in its name; the ending tells ours from those of others.
_ENDING = "lepton_nb"
OPTIONS_TAG = "run/options"
END_TAG = "run/end"


class EventFiles:
    """Writes an event file of its own into `folder`: scalars by step, the options and the end of the run as text.

    Numbers have 32 bits there. What the folder holds of runs before is no longer shown, unless the run goes on with
    it. Raises TrainingError for a folder that cannot be written to.
    """

    def __init__(self, folder: Path, clock: Callable[[], float] = time.time) -> None:
        self.where = f"TensorBoard event files in {folder}"
        self._folder = folder
        self._clock = clock
        self._written = Written()
        self._step = 0
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._file = _new_file(folder, clock())
        except OSError as error:
            raise TrainingError(
                f"track={str(folder)!r} cannot be written to: {error.strerror}; choose another folder", path=str(folder)
            ) from error

    def begin(self, facts: Mapping[str, Any]) -> None:
        """Go on with what the folder holds if facts["resumed"]."""
        events = [self._event(file_version="brain.Event:2")]
        text = _table({"name": facts.get("name", ""), **facts.get("options", {})})
        texts: dict[str, str] = {}
        try:
            before = self._ours()
            if facts.get("resumed"):
                figures, texts = _read(before)
                self._written = Written(figures)
            if not before or not facts.get("resumed"):
                # The first of these in a folder marks a start, and only those after it a start anew.
                events.append(self._from(0))
            if texts.get(OPTIONS_TAG) != text:
                events.append(self._text(OPTIONS_TAG, 0, text))
        finally:
            self._add(events)

    def steps(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """One event a row."""
        self._add([event for row in rows for event in self._events("step", row)])

    def epoch(self, row: Mapping[str, Any]) -> None:
        """One event."""
        self._add(self._events("epoch", row))

    def end(self, status: str, facts: Mapping[str, Any]) -> None:
        """A text that belongs to the last step."""
        self._add([self._text(END_TAG, self._step, _table({"status": status, **facts}))])

    def _ours(self) -> list[Path]:
        found = self._folder.glob(f"events.out.tfevents.*.{_ENDING}")
        return sorted(path for path in found if path != self._file.path)

    def _events(self, kind: Kind, row: Mapping[str, Any]) -> list[Any]:
        from tensorboard.compat.proto import summary_pb2

        events = []
        for news in self._written.take(kind, row):
            self._step = max(self._step, news.step)
            values = [summary_pb2.Summary.Value(tag=tag, simple_value=value) for tag, value in news.figures.items()]
            events += [self._from(news.step)] if news.again else []
            events.append(self._event(step=news.step, summary=summary_pb2.Summary(value=values)))
        return events

    def _from(self, step: int) -> Any:
        """TensorBoard then drops what it read before of this step and those after it."""
        from tensorboard.compat.proto import event_pb2

        return self._event(step=step, session_log=event_pb2.SessionLog(status=event_pb2.SessionLog.START))

    def _text(self, tag: str, step: int, text: str) -> Any:
        from tensorboard.compat.proto import summary_pb2, tensor_pb2, tensor_shape_pb2, types_pb2
        from tensorboard.plugins.text.metadata import create_summary_metadata

        metadata = create_summary_metadata(display_name=tag, description="")
        metadata.data_class = summary_pb2.DATA_CLASS_TENSOR
        shape = tensor_shape_pb2.TensorShapeProto()
        tensor = tensor_pb2.TensorProto(dtype=types_pb2.DT_STRING, tensor_shape=shape, string_val=[text.encode()])
        value = summary_pb2.Summary.Value(tag=tag, metadata=metadata, tensor=tensor)
        return self._event(step=step, summary=summary_pb2.Summary(value=[value]))

    def _event(self, **facts: Any) -> Any:
        from tensorboard.compat.proto import event_pb2

        return event_pb2.Event(wall_time=self._clock(), **facts)

    def _add(self, events: Iterable[Any]) -> None:
        from tensorboard.summary.writer.record_writer import RecordWriter

        piece = io.BytesIO()
        writer = RecordWriter(piece)
        for event in events:
            writer.write(event.SerializeToString())
        self._file.add(piece.getvalue())


def _new_file(folder: Path, now_s: float) -> GrowingFile:
    """A file that comes after the older ones in the order of names, in which TensorBoard reads them."""
    for number in range(1_000):
        name = f"events.out.tfevents.{int(now_s):010d}.{socket.gethostname()}.{os.getpid()}.{number:03d}.{_ENDING}"
        try:
            (folder / name).open("xb").close()
        except FileExistsError:
            continue
        return GrowingFile(folder / name)
    raise TrainingError(f"{folder} has a thousand event files of one second; choose another folder", path=str(folder))


def _table(facts: Mapping[str, Any]) -> str:
    """A table in Markdown, which TensorBoard's page of texts shows as one."""
    rows = [
        f"| {name} | {str(value).replace('|', chr(92) + '|')} |".replace("\n", " ") for name, value in facts.items()
    ]
    return "\n".join(["| option | value |", "| --- | --- |", *rows])


def _read(paths: Sequence[Path]) -> tuple[dict[int, dict[str, float]], dict[str, str]]:
    """The scalars of event files by step, as TensorBoard shows them, and the last text of each tag."""
    from tensorboard.compat.proto import event_pb2

    figures: dict[int, dict[str, float]] = {}
    texts: dict[str, str] = {}
    for path in paths:
        for record in _records(path.read_bytes()):
            event = event_pb2.Event.FromString(record)
            if event.HasField("session_log"):
                figures = {step: known for step, known in figures.items() if step < event.step}
            for value in event.summary.value:
                if value.HasField("simple_value"):
                    figures.setdefault(event.step, {})[value.tag] = value.simple_value
                elif value.tensor.string_val:
                    texts[value.tag] = value.tensor.string_val[0].decode()
    return figures, texts


def _records(content: bytes) -> Iterator[bytes]:
    """The whole records of an event file: each has its length (8 bytes), that one's sum (4), itself, its sum (4)."""
    start = 0
    while start + 12 <= len(content):
        (length,) = struct.unpack_from("<Q", content, start)
        end = start + 12 + length
        if end + 4 > len(content):
            return
        yield content[start + 12 : end]
        start = end + 4
