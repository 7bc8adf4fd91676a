"""How we talk to a kernel whose cells fill output widgets, without missing what it answers."""

from __future__ import annotations

import asyncio
from typing import Any

from jupyter_client.asynchronous.client import AsyncKernelClient
from jupyter_client.channels import AsyncZMQSocketChannel


class WakingChannel(AsyncZMQSocketChannel):
    """A channel on which a message can be sent while an answer is waited for.

    nbclient sends an output widget's content back to the kernel in the middle of a cell. The base class sends past
    the asynchronous socket, and that can swallow the one sign that the cell's answer has come: the run would wait
    for ever. The socket's own way of sending looks again for what has come.
    """

    def send(self, msg: dict[str, Any]) -> None:
        """Send a message; where no event loop runs nobody waits either, and it is sent as the base class does."""
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            super().send(msg)
        else:
            self.socket.send_multipart([*self.session.serialize(msg), *msg.get("buffers", ())])


class Client(AsyncKernelClient):
    """Jupyter's client, with such a channel for requests."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.shell_channel_class = WakingChannel
