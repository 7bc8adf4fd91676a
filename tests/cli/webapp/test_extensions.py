import json

import pytest

from lepton_nb.cli.webapp.extensions import left_out


@pytest.mark.parametrize(
    ("package", "stays"),
    [
        ({"dependencies": {"@jupyterlab/notebook": "^4.0.0", "@jupyterlab/codeeditor": "^4.0.0"}}, False),
        ({"dependencies": {"@jupyterlab/notebook": "^4.0.0", "@jupyter-widgets/base": "^6.0.0"}}, True),
        ({"dependencies": {"@jupyterlab/notebook": "^4.0.0"}, "build": {"mimeExtension": "./mime"}}, True),
        ({"dependencies": {"@jupyterlab/rendermime": "^4.0.0"}}, True),
        ({}, True),
    ],
)
def test_an_extension_for_notebooks_and_editors_is_left_out_but_not_one_for_outputs_and_widgets(
    package, stays, tmp_path
):
    folder = tmp_path / "one"
    folder.mkdir()
    jupyterlab = {"extension": True, "_build": {"load": "static/remoteEntry.js", **package.get("build", {})}}
    given = {
        "name": "one",
        "version": "1.0.0",
        "jupyterlab": jupyterlab,
        "dependencies": package.get("dependencies", {}),
    }
    (folder / "package.json").write_text(json.dumps(given))
    assert left_out([str(tmp_path)]) == ([] if stays else ["one"])
