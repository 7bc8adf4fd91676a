"""A scheduler that is killed at any moment: every slot is done once, and nothing of it is left."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from datetime import datetime

import psutil
import pytest
from notebook_files import write_notebook

from lepton_nb.reports.schedule import whole
from lepton_nb.reports.schedule_times import Cron
from lepton_nb.reports.slots import Slots

KILLS = 20
CRON = "*/4 * * * * *"
WORKER = """
import subprocess, sys
worker = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True)
print(worker.pid)
"""
# Loads what a scheduler needs once, and forks one for each line: twenty starts would take longer than the reports.
NURSERY = """
import os, sys
import papermill, nbconvert, jupyter_client
from lepton_nb.cli import main
from lepton_nb.reports import execute, page, run, schedule
for line in sys.stdin:
    pid = os.fork()
    if not pid:
        os._exit(main(["report", "schedule", "start", *line.split()]))
    print(pid, flush=True)
    print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)
"""


def marked(folder):
    """Processes of reports below `folder`, whoever their parent is by now."""
    found = []
    for process in psutil.process_iter():
        try:
            if any(k.startswith("LEPTON_NB_REPORT_") and str(folder) in v for k, v in process.environ().items()):
                found.append(process)
        except psutil.Error:
            continue
    return found


@pytest.mark.slow
def test_a_scheduler_killed_at_random_moments_finishes_every_slot_exactly_once(tmp_path):
    seed = random.randrange(10**6)
    print("seed", seed)
    moments = random.Random(seed)
    write_notebook(tmp_path / "n.ipynb", WORKER, "x = 1")
    (tmp_path / "often.yaml").write_text(
        f'notebook: n.ipynb\nschedule: {{cron: "{CRON}", missed: all, missed_limit: 1000}}\n'
    )
    with subprocess.Popen(
        [sys.executable, "-c", NURSERY], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=tmp_path
    ) as nursery:

        def start(options):
            nursery.stdin.write(f"{options}\n")
            nursery.stdin.flush()
            return int(nursery.stdout.readline())

        for _ in range(KILLS):
            pid = start(".")
            time.sleep(moments.uniform(0, 2.5))
            os.kill(pid, signal.SIGKILL)
            assert int(nursery.stdout.readline()) == -signal.SIGKILL
        start("--once .")
        assert int(nursery.stdout.readline()) == 0
        nursery.stdin.close()

    slots = Slots(tmp_path / "out" / "ledger.sqlite").list("often")
    assert {slot.state for slot in slots} == {"finished"}
    entered = sorted(slot.slot for slot in slots)
    assert len(entered) > 5
    # None was forgotten, and none is there twice.
    assert [entered[0], *Cron(CRON).between(entered[0], entered[-1])] == entered
    assert any(slot.attempt > 1 for slot in slots), "no run was ever hit"
    # One report each, whole, and nothing half made beside them once their guards are done.
    deadline = time.monotonic() + 15
    while marked(tmp_path) and time.monotonic() < deadline:
        time.sleep(0.1)
    left = marked(tmp_path)
    assert left == [], [(process.cmdline(), process.ppid(), process.environ()) for process in left]
    assert sorted(os.listdir(tmp_path / "out" / "often")) == sorted(slot.folder.name for slot in slots)
    for slot in slots:
        assert whole(slot.folder)
        manifest = json.loads((slot.folder / "manifest.json").read_text())
        assert datetime.fromisoformat(manifest["started"]) >= slot.slot
