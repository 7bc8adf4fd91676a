import asyncio

import pytest
import zmq
import zmq.asyncio
from jupyter_client.session import Session

from lepton_nb.reports.channel import WakingChannel

NEVER_S = 60


@pytest.fixture
def pair():
    """Two ends of a connection, one of them asynchronous."""
    context = zmq.Context()
    kernel = context.socket(zmq.PAIR)
    port = kernel.bind_to_random_port("tcp://127.0.0.1")
    ours = zmq.asyncio.Socket.shadow(context.socket(zmq.PAIR))
    ours.connect(f"tcp://127.0.0.1:{port}")
    yield ours, kernel
    ours.close()
    kernel.close()
    context.term()


def test_an_answer_that_comes_while_a_message_is_sent_is_not_missed(pair):
    ours, kernel = pair
    session = Session(key=b"key")

    async def talk():
        channel = WakingChannel(ours, session)
        for number in range(200):
            answer = asyncio.ensure_future(channel.get_msg())
            await asyncio.sleep(0)
            session.send(kernel, "answer", {"number": number})
            # The loop does not run meanwhile: the sign of the answer is there, and nobody has looked.
            channel.send(session.msg("comm_msg", {"number": number}))
            got = await asyncio.wait_for(answer, NEVER_S)
            assert got["content"] == {"number": number}
            _, parts = session.feed_identities(kernel.recv_multipart())
            assert session.deserialize(parts)["content"] == {"number": number}

    asyncio.run(talk())
