"""The manifest as an RO-Crate: what others' tools read of where a result comes from.

Process Run Crate and, as a notebook is a workflow whose steps are its cells, Workflow Run Crate: version 0.5 of both
profiles, on RO-Crate 1.1. https://www.researchobject.org/workflow-run-crate/profiles/
"""

from __future__ import annotations

import json
import mimetypes
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

PROFILES = {
    "https://w3id.org/ro/wfrun/process/0.5": "Process Run Crate",
    "https://w3id.org/ro/wfrun/workflow/0.5": "Workflow Run Crate",
    "https://w3id.org/workflowhub/workflow-ro-crate/1.0": "Workflow RO-Crate",
}
CONTEXT = ["https://w3id.org/ro/crate/1.1/context", "https://w3id.org/ro/terms/workflow-run/context"]
_STATUS = {"finished": "CompletedActionStatus"}
_TYPES = {"int": "Integer", "float": "Float", "bool": "Boolean", "str": "Text", "date": "Date", "datetime": "DateTime"}
_PYTHON, _JUPYTER = "#python", "#jupyter"


def crate(manifest: Mapping[str, Any], notebook: str, files: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """The crate as JSON-LD, of a manifest and the files beside it (name to "sha256" and "bytes").

    notebook: the name of the executed notebook, which is the workflow.
    """
    workflow = quote(notebook)
    inputs = [_input(entry) for entry in manifest["inputs"]]
    given = [_parameter(workflow, name, facts) for name, facts in manifest["parameters"].items()]
    metrics = [_value(f"#metric/{quote(name, '')}", name, value) for name, value in manifest["metrics"].items()]
    outputs = [_file(name, facts) for name, facts in files.items() if name != notebook]
    action = {
        "@id": f"#run/{manifest['id']}",
        "@type": "CreateAction",
        "name": f"Run of {manifest['notebook']['path']}",
        "instrument": _to(workflow),
        "startTime": manifest["started"],
        "endTime": manifest["ended"],
        "actionStatus": _to(f"http://schema.org/{_STATUS.get(manifest['status'], 'FailedActionStatus')}"),
        "object": [_to(item["@id"]) for item in [*inputs, *(value for _, value in given)]],
        "result": [_to(item["@id"]) for item in [*outputs, *metrics]],
    }
    if manifest["failure"] is not None:
        action["error"] = f"{manifest['failure']['ename']}: {manifest['failure']['evalue']}"
    if manifest["parent"] is not None:
        action["isPartOf"] = _to(f"#run/{manifest['parent']}")
    root = {
        "@id": "./",
        "@type": "Dataset",
        "name": f"Report of {manifest['notebook']['path']}",
        "description": "An executed notebook, its page, and what it depended on.",
        "datePublished": manifest["ended"],
        "license": "The terms of the notebook and of its inputs hold.",
        "conformsTo": [_to(profile) for profile in PROFILES],
        "mainEntity": _to(workflow),
        "hasPart": [_to(workflow), *(_to(item["@id"]) for item in [*outputs, *inputs] if item["@type"] == "File")],
        "mentions": _to(action["@id"]),
    }
    main = _file(notebook, files[notebook]) | {
        "@type": ["File", "SoftwareSourceCode", "ComputationalWorkflow"],
        "name": manifest["notebook"]["path"],
        "encodingFormat": "application/x-ipynb+json",
        "programmingLanguage": _to(_JUPYTER),
        "input": [_to(formal["@id"]) for formal, _ in given],
        "output": [],
        "softwareRequirements": _to(_PYTHON),
    }
    if manifest["git"] is not None:
        main["version"] = manifest["git"]["commit"]
    descriptor = {
        "@id": "ro-crate-metadata.json",
        "@type": "CreativeWork",
        "about": _to("./"),
        "conformsTo": [_to("https://w3id.org/ro/crate/1.1"), _to("https://w3id.org/workflowhub/workflow-ro-crate/1.0")],
    }
    languages: list[dict[str, Any]] = [
        {
            "@id": _JUPYTER, "@type": "ComputerLanguage", "name": "Jupyter Notebook",
            "url": _to("https://jupyter.org/"), "identifier": _to("https://jupyter.org/"),
        },
        {
            "@id": _PYTHON, "@type": "SoftwareApplication", "name": "Python",
            "version": manifest["versions"]["python"], "softwareVersion": manifest["versions"]["python"],
        },
    ]  # fmt: skip
    profiles = [
        {"@id": address, "@type": "CreativeWork", "name": name, "version": address.rpartition("/")[2]}
        for address, name in PROFILES.items()
    ]
    graph = [descriptor, root, main, action, *languages, *profiles, *inputs, *outputs, *metrics]
    return {"@context": CONTEXT, "@graph": [*graph, *(item for pair in given for item in pair)]}


def write(made: Mapping[str, Any], path: Path) -> None:
    """Write a crate as strict JSON."""
    path.write_text(json.dumps(made, indent=2, allow_nan=False, ensure_ascii=False) + "\n", encoding="utf-8")


def _file(name: str, facts: Mapping[str, Any]) -> dict[str, Any]:
    entity = {"@id": quote(name), "@type": "File", "name": name}
    kind = mimetypes.guess_type(name)[0]
    if kind:
        entity["encodingFormat"] = kind
    if "sha256" in facts:
        entity |= {"contentSize": str(facts["bytes"]), "sha256": facts["sha256"]}
    return entity


def _input(entry: Mapping[str, Any]) -> dict[str, Any]:
    # It is not in the crate: a file that its hash names is said, not given.
    if "url" in entry:
        return {"@id": entry["url"], "@type": "File", "name": entry["url"]}
    return {
        "@id": f"#input/{quote(entry['path'])}",
        "@type": "MediaObject",
        "name": entry["path"],
        "contentSize": str(entry["bytes"]),
        "sha256": entry["sha256"],
    }


def _parameter(workflow: str, name: str, facts: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    formal: dict[str, Any] = {
        "@id": f"{workflow}#param/{quote(name)}",
        "@type": "FormalParameter",
        "conformsTo": _to("https://bioschemas.org/profiles/FormalParameter/1.0-RELEASE"),
        "additionalType": _TYPES.get(facts["type"], "PropertyValue"),
        "name": name,
        "valueRequired": not facts["default_source"],
    }
    if facts["help"]:
        formal["description"] = facts["help"]
    if facts["default_source"] and not facts.get("secret"):
        formal["defaultValue"] = facts["default_source"]
    shown = None if facts.get("secret") else facts["value"]
    value = _value(f"#value/{quote(name)}", name, shown) | {"exampleOfWork": _to(formal["@id"])}
    return formal | {"workExample": _to(value["@id"])}, value


def _value(name: str, label: str, value: Any) -> dict[str, Any]:
    plain = value if isinstance(value, bool | int | float | str) else json.dumps(value, sort_keys=True)
    return {"@id": name, "@type": "PropertyValue", "name": label, "value": plain}


def _to(name: str) -> dict[str, str]:
    return {"@id": name}
