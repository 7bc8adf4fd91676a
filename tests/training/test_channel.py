import json
import subprocess
import sys

from lepton_nb.training.channel import ORPHANED

RANK = """
from lepton_nb.training.channel import Channel
channel = Channel.open()
print("noise of a model")
channel.send("first", got=channel.receive("join")["port"], stopping=channel.stopping)
channel.send("second", got=channel.receive("rows")["folder"])
import threading
threading.Event().wait()
"""


def test_commands_come_in_any_order_prints_do_not_mix_in_and_the_end_of_stdin_ends_the_rank():
    with subprocess.Popen(
        [sys.executable, "-c", RANK], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as rank:
        for command in ({"kind": "rows", "folder": "f"}, {"kind": "stop"}, {"kind": "join", "port": 7}):
            rank.stdin.write(json.dumps(command) + "\n")
        rank.stdin.flush()
        assert json.loads(rank.stdout.readline()) == {"kind": "first", "got": 7, "stopping": True}
        assert json.loads(rank.stdout.readline()) == {"kind": "second", "got": "f"}
        rank.stdin.close()
        assert rank.wait(30) == ORPHANED
        assert rank.stdout.read() == ""
