"""Events to Python over what one would take instead: pyzmq (ipc) and multiprocessing.Queue.

Each message is as long as an event's slot, and the receiver reads the time from it, as the handler
of `nf.on` does. What is sent is made once: encoding it, which would be needed, is not measured.
"""

from __future__ import annotations

import json
import multiprocessing
import statistics
import struct
import tempfile
import time
from collections.abc import Callable
from multiprocessing.queues import Queue
from pathlib import Path

import zmq
from nf_throughput import Counting, rate

SLOT = 192  # bytes of an event
EVENTS = 200_000
ROUNDS = 3
MESSAGE = struct.pack("<QQ", 1, 1_700_000_000_000_000_000).ljust(SLOT, b"\0")
TIME = struct.Struct("<Q")
TIME_OFFSET = 8


def send_by_zmq(endpoint: str) -> None:
    """Sends all, one message each."""
    with zmq.Context() as context, context.socket(zmq.PUSH) as socket:
        socket.connect(endpoint)
        for _ in range(EVENTS):
            socket.send(MESSAGE, copy=True)


def zmq_rate() -> float:
    """Million messages/s, from the first one that comes to the last."""
    with tempfile.TemporaryDirectory(prefix="microbox-bench-") as folder:
        endpoint = f"ipc://{Path(folder) / 'events'}"
        with zmq.Context() as context, context.socket(zmq.PULL) as socket:
            socket.bind(endpoint)
            sender = multiprocessing.Process(target=send_by_zmq, args=(endpoint,))
            sender.start()
            return received(socket.recv, sender)


def send_by_queue(queue: Queue[bytes]) -> None:
    """Puts all, one message each."""
    for _ in range(EVENTS):
        queue.put(MESSAGE)


def queue_rate() -> float:
    """As `zmq_rate`."""
    queue: Queue[bytes] = multiprocessing.Queue()
    sender = multiprocessing.Process(target=send_by_queue, args=(queue,))
    sender.start()
    return received(queue.get, sender)


def received(receive: Callable[[], bytes], sender: multiprocessing.Process) -> float:
    """Million messages/s, from the first one that comes to the last."""
    last = TIME.unpack_from(receive(), TIME_OFFSET)[0]
    start = time.perf_counter()
    for _ in range(EVENTS - 1):
        last = max(last, TIME.unpack_from(receive(), TIME_OFFSET)[0])
    seconds = time.perf_counter() - start
    sender.join()
    return (EVENTS - 1) / seconds / 1e6


def main() -> None:
    """Measures all in turn, so that what else the machine does meets all alike."""
    rates: dict[str, list[float]] = {"pyzmq": [], "multiprocessing": [], "microbox": []}
    for _ in range(ROUNDS):
        rates["pyzmq"].append(zmq_rate())
        rates["multiprocessing"].append(queue_rate())
        rates["microbox"].append(rate(Counting, 1_000_000))
    ours = statistics.median(rates.pop("microbox"))
    names = {"pyzmq": "pyzmq over ipc", "multiprocessing": "multiprocessing.Queue"}
    for name, values in rates.items():
        sample = {
            "measure": f"queue.{name}",
            "what": f"192-byte messages to a loop in Python by {names[name]}",
            "value": statistics.median(values),
            "unit": "M events/s",
            "reference": ours,
            "reference_name": "to an @on handler",
        }
        print(json.dumps(sample), flush=True)


if __name__ == "__main__":
    main()
