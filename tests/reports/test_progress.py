import io

from lepton_nb.events import Finished, Progress, Started
from lepton_nb.reports.progress import lines

EVENTS = [
    Started(run="r"),
    Progress(run="r", done=0, total=3, values={"cell": "Data"}),
    Progress(run="r", done=1, total=3, values={"cell": "Data"}),
    Progress(run="r", done=2, total=3, values={"cell": "Model"}),
    Finished(run="r"),
]


def test_plain_lines_one_a_section():
    stream = io.StringIO()
    watch = lines("flights", stream)
    for event in EVENTS:
        watch(event)
    assert stream.getvalue() == "flights [1/3] Data\nflights [3/3] Model\n"
