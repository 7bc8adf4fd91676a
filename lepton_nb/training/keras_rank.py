"""One rank of a Keras run on TensorFlow, in a process of its own."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lepton_nb.training import network, rank
from lepton_nb.training.channel import Channel
from lepton_nb.training.engine import Engine
from lepton_nb.training.placement import Seat


def load() -> None:
    """Import all that a rank needs of the framework, which takes seconds."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    from lepton_nb.training import models

    models.load_keras()
    from lepton_nb.training import keras_engine, keras_group  # noqa: F401


def main(folder: Path) -> int:
    """Run the rank whose files lie in `folder`; the exit status."""
    return rank.main(folder, _start, listen=False)


def _start(seat: Seat, device: str, channel: Channel) -> Iterator[Any]:
    addresses: list[str] = []
    held: socket.socket | None = None
    if seat.ranks > 1:
        # Held while the framework loads, and given up just before its server takes it: it cannot be handed over.
        held = network.reserve(seat.bind_host)
        apart = seat.rank == 0 and seat.local_ranks == seat.ranks and network.go_apart()
        port = held.getsockname()[1]
        channel.send("listening", host=seat.bind_host, port=port, pid=os.getpid() if apart else None)
        everybody = channel.receive("join")["everybody"]
        if everybody[0]["pid"] is not None and seat.rank > 0:
            network.join(everybody[0]["pid"])
        addresses = [f"{it['host']}:{it['port']}" for it in everybody]
    channel.listen()
    load()
    import tensorflow as tf

    from lepton_nb.training.keras_engine import KerasEngine
    from lepton_nb.training.keras_group import Group

    threads = int(os.environ.get("OMP_NUM_THREADS", "1"))
    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(threads)
    cards = tf.config.list_physical_devices("GPU") if device == "cuda" else []
    tf.config.set_visible_devices(cards[:1], "GPU")
    for card in cards[:1]:
        tf.config.experimental.set_memory_growth(card, True)
    if held is not None:
        held.close()
    group = Group(seat, addresses)

    def make(job: dict[str, Any], shape: tuple[int, ...]) -> Engine:
        return KerasEngine(job["model"], shape, job["spec"], group)

    yield make
    if seat.ranks > 1:
        # A sum is over for this rank while another still fetches its part of it from here: all leave together.
        channel.send("left")
        channel.receive("leave")
