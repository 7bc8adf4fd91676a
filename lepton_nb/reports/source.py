"""Notebooks on disk, whoever wrote them and with whichever version of the format."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

from lepton_nb.errors import ReportError


def read_notebook(path: Path) -> Any:
    """The notebook at `path` as an nbformat 4 node; raises ReportError when there is none, or not in Python.

    Older formats are converted. Cells without an id, or with that of another, get one of their own.
    """
    import nbformat

    try:
        with warnings.catch_warnings():
            # About ids, which are mended in the same moment.
            warnings.simplefilter("ignore")
            # What was converted is made of another class, which Papermill takes for a path.
            node = nbformat.from_dict(nbformat.read(path, as_version=4))
    except FileNotFoundError:
        raise ReportError(f"there is no notebook {path}; check the path", path=str(path)) from None
    except OSError as error:
        raise ReportError(f"cannot read {path}: {error.strerror}", path=str(path)) from None
    except Exception as error:  # nbformat raises errors of many libraries for a file that is no notebook
        raise ReportError(
            f"{path} is not a Jupyter notebook ({type(error).__name__}); give a file that JupyterLab can open",
            path=str(path),
        ) from error
    metadata = node.metadata
    language = metadata.get("kernelspec", {}).get("language") or metadata.get("language_info", {}).get("name")
    if (language or "python").lower() != "python":
        raise ReportError(
            f"{path.name} is written in {language}; reports and apps run Python notebooks", language=language
        )
    return node
