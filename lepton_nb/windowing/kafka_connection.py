"""How to reach Kafka's brokers: addresses, options and time limits, without showing a secret."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from lepton_nb.errors import DataError, WindowError

T = TypeVar("T")

# What is set here and would break the reading or the writing if it were not.
OURS = {
    "bootstrap.servers": "give servers=",
    "metadata.broker.list": "give servers=",
    "group.id": "give group=",
    "auto.offset.reset": "give start=",
    "enable.auto.commit": "the stream keeps the offsets itself",
    "enable.auto.offset.store": "the stream keeps the offsets itself",
    "enable.partition.eof": "the stream sets it",
    "acks": "the stream sets it",
    "error_cb": "errors are raised",
}
SECRET = ("password", "secret", "key", "token", "pem", "username", "oauthbearer", "credential", "jaas")


@dataclass(frozen=True)
class Connection:
    """How to reach the brokers, and how long to wait for one that is gone. It travels to workers."""

    servers: str
    options: Mapping[str, Any] = field(default_factory=dict, repr=False)
    group: str | None = None
    timeout_s: float = 60.0

    def __post_init__(self) -> None:
        for name in self.options:
            if name in OURS:
                raise WindowError(f"leave the option {name!r} out: {OURS[name]}", name=name)
        if not self.servers:
            raise WindowError("servers is empty; give the brokers' addresses, such as 'localhost:9092'")
        if not self.timeout_s > 0:
            raise WindowError(f"timeout_s must be above 0 s, not {self.timeout_s}")

    def client(self, make: Callable[[dict[str, Any]], T], settings: Mapping[str, Any]) -> T:
        """A client with these settings and the options; DataError where one of them is unknown or wrong."""
        from confluent_kafka import KafkaException

        try:
            return make({**settings, **self.options, "bootstrap.servers": self.servers})
        except (KafkaException, TypeError, ValueError) as error:
            text = error.args[0].str() if isinstance(error, KafkaException) else str(error)
        # Outside of the handler: the text of the library's own error may hold a secret.
        raise DataError(f"an option for Kafka is wrong: {self.public(text)}; check options=") from None

    def public(self, text: str) -> str:
        """`text` without the values of secret options."""
        for name, value in self.options.items():
            if isinstance(value, str) and value and any(word in name for word in SECRET):
                text = text.replace(value, "***")
        return text

    @property
    def identity(self) -> tuple[object, ...]:
        """Connections with the same one can share their consumers."""
        return (self.servers, self.group, *sorted((name, str(value)) for name, value in self.options.items()))
