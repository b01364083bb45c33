"""Balance the connections to one address over backends, by Maglev hashing (NSDI 2016)."""

from __future__ import annotations

import hashlib
import ipaddress
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from microbox import Event, NetworkFunction, ParameterError, on, parameter

WEIGHT_MAX = 100
PORT_MAX = 65535
BACKEND = re.compile(r"(?:\[(.+)\]|([0-9.]+)):(\d{1,5})|(.+)")
WEIGHTED = re.compile(r"(\S+)(?: +weight +(\d{1,3}))?")
EXPECTED = "expected 10.0.0.1, 10.0.0.1:8080, [fd00::1]:8080 or '10.0.0.1 weight 3'"
EMPTY = -1


@dataclass(frozen=True, slots=True)
class Backend:
    """Where connections go. `port` None: the one that they were for."""

    address: str
    port: int | None
    weight: int

    @property
    def name(self) -> str:
        """What its places in the table follow from, so that they stay when others come and go."""
        if self.port is None:
            return self.address
        return (
            f"[{self.address}]:{self.port}"
            if ":" in self.address
            else f"{self.address}:{self.port}"
        )


class Balancer(NetworkFunction):
    """Spread connections to one address over backends.

    A connection's backend is what its five-tuple hashes to in a table that all balancers with the
    same backends agree on, and that changes little when a backend goes. Once chosen, it stays.
    """

    address: str = parameter(doc="the address that connections are for")
    backends: list[str] = parameter(
        doc="where they go: `10.0.0.1`, `10.0.0.1:8080`, `10.0.0.1 weight 3`"
    )
    ports: list[int] = parameter([], "ports that are balanced; none: all of TCP and UDP")
    table_size: int = parameter(65537, "places in the table: a prime, 100 a backend or more")

    def start(self) -> None:
        """Read the backends, fill the table."""
        try:
            self.service = ipaddress.ip_address(self.address)
        except ValueError as error:
            raise ParameterError("address", str(error)) from None
        self.pool = [read_backend(text, self.service.version) for text in self.backends]
        names = [backend.name for backend in self.pool]
        if not names or len(set(names)) < len(names):
            raise ParameterError("backends", "expected at least one, and none twice")
        if self.table_size < len(names) or not is_prime(self.table_size):
            raise ParameterError(
                "table_size",
                f"{self.table_size} is no prime of at least the number of backends; expected "
                "65537, say",
            )
        self.table = populate(names, [backend.weight for backend in self.pool], self.table_size)
        self.balanced = frozenset(self.ports)
        self.sent: Counter[str] = Counter(dict.fromkeys(names, 0))
        self.most: Counter[str] = Counter()
        self.open: Counter[str] = Counter()
        self.backend_of: dict[int, str] = {}  # by flow

    @on("flow.start")
    def begin(self, event: Event) -> None:
        """Choose a backend."""
        flow = event.flow
        if flow.protocol not in ("TCP", "UDP") or flow.destination != str(self.service):
            return
        if self.balanced and flow.destination_port not in self.balanced:
            return
        backend = self.pool[self.table[hash_of(flow.raw_tuple, b"flow") % self.table_size]]
        flow.rewrite(destination=backend.address, destination_port=backend.port)
        name = backend.name
        self.backend_of[flow.id] = name
        self.sent[name] += 1
        self.open[name] += 1
        self.most[name] = max(self.most[name], self.open[name])

    @on("flow.end")
    def end(self, event: Event) -> None:
        """A connection less."""
        name = self.backend_of.pop(event.flow.id, None)
        if name is not None:
            self.open[name] -= 1

    def finish(self) -> dict[str, Any]:
        """Say what each backend got."""
        return {
            "connections": dict(self.sent),
            "most at once": {name: self.most[name] for name in self.sent},
        }


def read_backend(text: str, version: int) -> Backend:
    """A backend as written."""
    weighted = WEIGHTED.fullmatch(text.strip())
    match = BACKEND.fullmatch(weighted[1]) if weighted else None
    if weighted is None or match is None:
        raise ParameterError("backends", f"{text!r} is none; {EXPECTED}")
    try:
        address = ipaddress.ip_address(match[1] or match[2] or match[4])
    except ValueError as error:
        raise ParameterError("backends", f"{text!r}: {error}; {EXPECTED}") from None
    port = int(match[3]) if match[3] else None
    weight = int(weighted[2]) if weighted[2] else 1
    if address.version != version or not 1 <= weight <= WEIGHT_MAX or not is_port(port):
        raise ParameterError(
            "backends",
            f"{text!r}: the address is of IPv{version} as the service's, the port 1 to {PORT_MAX}, "
            f"the weight 1 to {WEIGHT_MAX}",
        )
    return Backend(str(address), port, weight)


def is_port(port: int | None) -> bool:
    """Whether there is such a port; none means the one that the connection was for."""
    return port is None or 1 <= port <= PORT_MAX


def hash_of(text: bytes, purpose: bytes) -> int:
    """64 bits that depend on nothing else: the same in every balancer, and in every run."""
    digest = hashlib.blake2b(text, digest_size=8, person=purpose).digest()
    return int.from_bytes(digest, "big")


def is_prime(number: int) -> bool:
    """By trial; tables are small."""
    return number > 1 and all(number % divisor for divisor in range(2, int(number**0.5) + 1))


def populate(names: Sequence[str], weights: Sequence[int], size: int) -> list[int]:
    """The lookup table (section 3.4 of the paper): each backend in turn takes the first free place
    of its own permutation of all places. Who has half the weight takes every second turn."""
    skips = [hash_of(name.encode(), b"skip") % (size - 1) + 1 for name in names]
    places = [hash_of(name.encode(), b"offset") % size for name in names]
    table = [EMPTY] * size
    heaviest = max(weights)
    credit = [0] * len(names)
    filled = 0
    while True:
        for index, weight in enumerate(weights):
            credit[index] += weight
            if credit[index] < heaviest:
                continue
            credit[index] -= heaviest
            place = places[index]
            while table[place] != EMPTY:
                place = (place + skips[index]) % size
            table[place] = index
            places[index] = (place + skips[index]) % size
            filled += 1
            if filled == size:
                return table
