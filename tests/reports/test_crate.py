from kept_reports import keep_report
from rocrate.rocrate import ROCrate

from lepton_nb.reports.crate import PROFILES


def test_the_crate_has_what_the_workflow_run_profile_asks_for(tmp_path):
    inputs = [{"path": "a b.csv", "bytes": 3, "sha256": "00"}, {"url": "https://example.org/x.csv"}]
    folder = keep_report(
        tmp_path / "home" / "r", values={"epochs": 4}, metrics={"auc": 0.5}, changes={"inputs": inputs}
    )
    crate = ROCrate(folder)
    root = crate.root_dataset
    assert {profile.id for profile in root["conformsTo"]} == set(PROFILES)
    for name in ("name", "description", "license", "datePublished"):
        assert root.get(name), name
    workflow = crate.mainEntity
    assert workflow.id == "n.ipynb"
    assert {"File", "SoftwareSourceCode", "ComputationalWorkflow"} <= set(workflow.type)
    assert workflow["programmingLanguage"].type == "ComputerLanguage"
    assert workflow in root["hasPart"]
    [action] = [entity for entity in crate.contextual_entities if entity.type == "CreateAction"]
    assert root["mentions"] in (action, [action])
    assert action["instrument"] is workflow
    assert action["endTime"] > action["startTime"]
    assert str(getattr(action["actionStatus"], "id", action["actionStatus"])).endswith("CompletedActionStatus")
    objects = {entity["name"]: entity for entity in action["object"]}
    assert set(objects) == {"a b.csv", "https://example.org/x.csv", "epochs", "day"}
    assert objects["epochs"]["value"] == 4
    formal = {entity["name"]: entity for entity in workflow["input"]}
    assert objects["epochs"]["exampleOfWork"] is formal["epochs"]
    assert formal["epochs"].type == "FormalParameter"
    assert formal["epochs"]["additionalType"] == "Integer"
    assert formal["epochs"]["description"] == "passes over the rows"
    results = {entity["name"] for entity in action["result"]}
    assert results == {"report.html", "auc"}
    assert crate.get("report.html")["sha256"]
