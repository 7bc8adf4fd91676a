"""Arrays, numbers, text, lists and dictionaries as bytes without code: NumPy's .npz, with JSON for the rest."""

from __future__ import annotations

import io
import json
import zipfile
from typing import Any

import numpy as np

from lepton_nb.errors import TrainingError

_ARRAY = "array in this file"


def packed(values: dict[str, Any]) -> bytes:
    """`values` with arrays of numbers anywhere in them. Raises TypeError for anything else."""
    found: dict[str, Any] = {}

    def plain(value: Any) -> Any:
        if isinstance(value, np.ndarray):
            if value.dtype.hasobject:
                raise TypeError("an array of objects cannot be packed")
            name = f"a{len(found)}"
            found[name] = value
            return {_ARRAY: name}
        if isinstance(value, dict):
            return {str(key): plain(part) for key, part in value.items()}
        if isinstance(value, list | tuple):
            return [plain(part) for part in value]
        return value

    told = json.dumps(plain(values)).encode()
    buffer = io.BytesIO()
    np.savez(buffer, json=np.frombuffer(told, np.uint8), **found)
    return buffer.getvalue()


def unpacked(content: bytes) -> dict[str, Any]:
    """What `packed` made, tuples as lists; nothing is executed. Raises TrainingError for anything else."""
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as found:
            told = json.loads(found["json"].tobytes())

            def whole(value: Any) -> Any:
                if isinstance(value, dict):
                    if value.keys() == {_ARRAY}:
                        return found[value[_ARRAY]]
                    return {key: whole(part) for key, part in value.items()}
                return [whole(part) for part in value] if isinstance(value, list) else value

            values = whole(told)
    except (ValueError, KeyError, OSError, EOFError, zipfile.BadZipFile) as error:
        raise TrainingError(f"this holds no arrays in the form of lepton_nb, or it is damaged: {error}") from error
    if not isinstance(values, dict):
        raise TrainingError("this holds no arrays in the form of lepton_nb")
    return values
