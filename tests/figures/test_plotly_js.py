"""The plotly.js that the package ships is the one that plotly.py speaks."""

import re

from plotly.offline import get_plotlyjs_version

from lepton_nb.figures import plotly_js


def test_its_version_is_that_of_plotly_py():
    assert plotly_js.version() == get_plotlyjs_version()


def test_its_traces_are_those_that_it_names():
    assert set(re.findall(r'moduleType:"trace",name:"(\w+)"', plotly_js.script())) == plotly_js.TRACES


def test_its_licence_lies_beside_it():
    assert "MIT" in plotly_js.BUNDLE.with_name("plotly-LICENSE.txt").read_text()
