"""Reading JetStream's ack subjects, compared with nats-py."""

from __future__ import annotations

import pytest
from nats.aio.msg import Msg

from windtunnel.bus.nats.jetstream import NatsDelivery


@pytest.mark.parametrize(
    "reply",
    [
        "$JS.ACK.WINDTUNNEL.converter.3.10.11.1700000000000000000.5",
        "$JS.ACK._.hash.WINDTUNNEL.converter.3.10.11.1700000000000000000.5",
        "$JS.ACK.hub.hash.WINDTUNNEL.converter.3.10.11.1700000000000000000.5.token",
    ],
)
def test_deliveries_and_sequence(reply: str) -> None:
    message = Msg(_client=None, subject="windtunnel.model.trained", reply=reply)  # type: ignore[arg-type]
    delivery = NatsDelivery(message)
    assert (delivery.attempt, delivery.sequence) == (3, 10)
    assert delivery.attempt == message.metadata.num_delivered
    assert delivery.sequence == message.metadata.sequence.stream
