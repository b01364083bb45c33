"""What an attack is: its stimulus, who published it, the right answer, and how to tell."""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from stack_driver import MILLISECOND, START, Endpoint, Packed, client_and_server
from stack_driver.packets import Frame, Layer, Packet

Pieces = Sequence[bytes | int]  # of a stream: its bytes, and the length of each gap
AnyFrame = bytes | Packet | Layer


@dataclass(frozen=True)
class Right:
    """What the stack is to say of the attack's packets.

    `counted` are reasons and `published` event types with how often they occur (None: at least
    once); `never` are reasons and types that must not occur at all. None: not looked at.
    """

    client: Pieces | None = None  # stream of who opened the attack's flow
    server: Pieces | None = None
    ends: Sequence[str] | None = None  # reasons of the ends of its TCP flows, sorted
    counted: Mapping[str, int | None] = field(default_factory=dict)
    published: Mapping[str, int | None] = field(default_factory=dict)
    never: Sequence[str] = ()
    at_most: Mapping[str, int] = field(default_factory=dict)  # rows of counters.def
    datagrams: Sequence[bytes] | None = None  # of UDP


class Scene:
    """Collects the attack's packets with their times."""

    def __init__(self) -> None:
        self.time = START
        self.spacing = MILLISECOND
        self._parts: list[Packed] = []
        self._frames: list[Frame] = []

    def send(self, *frames: AnyFrame) -> None:
        """Packets, one after another."""
        for one in frames:
            self._frames.append(Frame(bytes(one), self.time))
            self.time += self.spacing

    def flood(self, rows: np.ndarray[Any, Any]) -> None:
        """Many packets of one length, a row each, at one time."""
        self._close_part()
        self._parts.append(Packed.of_rows(rows, self.time))

    def packed(self) -> Packed:
        """All packets so far."""
        self._close_part()
        return functools.reduce(operator.add, self._parts)

    def _close_part(self) -> None:
        self._parts.append(Packed.of_frames(self._frames))
        self._frames = []

    def wait(self, nanoseconds: int) -> None:
        """Time passes."""
        self.time += nanoseconds

    def open(
        self,
        port: int = 1000,
        *,
        first: tuple[int, int] = (100, 300),
        client: bytes = b"",
        server: bytes = b"",
        addresses: tuple[str, str] = ("10.0.0.1", "10.0.0.2"),
    ) -> tuple[Endpoint, Endpoint]:
        """Two ends with their handshake done; `client` and `server`: options of their SYNs."""
        left, right = client_and_server((addresses[0], port), (addresses[1], 80), first)
        self.send(left.syn(options=client), right.syn(options=server), left.ack())
        return left, right


@dataclass(frozen=True, eq=False)
class Attack:
    """A row of the list."""

    name: str
    source: str  # who published it
    answer: str  # the right one, with its RFC or policy
    group: str
    make: Callable[[Scene], Right]
    wants: str  # a filter: events of what passes it are looked at
    config: Mapping[str, Any]


ATTACKS: list[Attack] = []


def attack(
    name: str, *, source: str, answer: str, wants: str = "", **config: Any
) -> Callable[[Callable[[Scene], Right]], Callable[[Scene], Right]]:
    """Adds a function to the list: it sends the attack's packets and says what is right. `config`
    are fields of struct mb_stack_config."""

    def add(make: Callable[[Scene], Right]) -> Callable[[Scene], Right]:
        group = make.__module__.rpartition(".")[2]
        assert all(one.name != name for one in ATTACKS), f"two attacks are called {name}"
        ATTACKS.append(Attack(name, source, answer, group, make, wants, config))
        return make

    return add
