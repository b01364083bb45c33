"""Drives the C stack inside the test's process: packets in a few words, typed events out.

    from stack_driver import ACK, SYN, Stack, client_and_server

    def test_bytes_come_out_in_order() -> None:
        client, server = client_and_server()
        with Stack() as stack:
            stack.send(client.syn(), server.syn(), client.ack())
            stack.send(client.data(b"world", at=6), client.data(b"hello ", at=0))
            assert stack.bytes_of(0) == b"hello world"
            assert [one.packet for one in stack.events("out_of_order")] == [4]
            assert stack.counters.stream_bytes == 11

`stack_driver.packets` builds any packet, layer by layer; `run` takes a list of frames at once.
"""

from stack_driver.cases import cases
from stack_driver.conversation import Endpoint, client_and_server
from stack_driver.entries import Entry
from stack_driver.hosts import Hosts
from stack_driver.packets import (
    ACK,
    CWR,
    ECE,
    FIN,
    PSH,
    RST,
    SYN,
    URG,
    WRONG,
    Frame,
)
from stack_driver.stack import MILLISECOND, SECOND, START, Packed, Stack, Subscription, Timer, run

__all__ = [
    "ACK",
    "CWR",
    "ECE",
    "FIN",
    "MILLISECOND",
    "PSH",
    "RST",
    "SECOND",
    "START",
    "SYN",
    "URG",
    "WRONG",
    "Endpoint",
    "Entry",
    "Frame",
    "Hosts",
    "Packed",
    "Stack",
    "Subscription",
    "Timer",
    "cases",
    "client_and_server",
    "run",
]
