"""Source NAT: a network behind a few addresses, a port for each of its hosts' own."""

from __future__ import annotations

import ipaddress
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, ClassVar, NamedTuple

from microbox import (
    DROP_FLOW,
    PASS,
    Event,
    NetworkFunction,
    ParameterError,
    Verdict,
    on,
    parameter,
)

PORT_MAX = 65535
POOL_MAX = 65_536  # outside addresses
WITH_PORTS = ("TCP", "UDP", "ICMP", "ICMPv6")  # of ICMP the identifier of an echo (RFC 5508)

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class Endpoint(NamedTuple):
    """An address and a port of one protocol; port 0 where the flow has none. A key of dicts."""

    protocol: str
    address: str
    port: int


@dataclass(slots=True)
class Ports:
    """The ports of one outside address and protocol that nobody has. They are given out in order,
    and those that came back last (RFC 6056 asks for more, where nobody has to repeat it)."""

    never_given: Iterator[int]
    returned: deque[int] = field(default_factory=deque)

    def take(self) -> int | None:
        """One of them; None where there is none."""
        port = next(self.never_given, None)
        if port is not None:
            return port
        return self.returned.popleft() if self.returned else None


@dataclass(slots=True)
class Mapping:
    """What an inside endpoint is called outside, for as long as one of its flows lives."""

    outside: Endpoint
    flows: int = 0


class Nat(NetworkFunction):
    """Hide the hosts of a network behind outside addresses.

    A flow that begins inside and leads outside gets an outside address, and of TCP, UDP and ICMP
    echo a port. All flows of one inside endpoint get the same (RFC 4787: endpoint-independent
    mapping), and all of one inside host the same address while it has any. What is over with the
    endpoint's last flow is given out again. Where nothing is left the flow is dropped. A family
    without an outside address is left as it is.
    """

    per_flow: ClassVar = False

    records: ClassVar = {
        "": {
            "inside": "text: address and port of the host",
            "outside": "text: what stood for them",
        }
    }

    outside: list[str] = parameter(doc="addresses and networks that hosts are hidden behind")
    inside: list[str] = parameter(
        ["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7"],
        "networks whose hosts are hidden",
    )
    first_port: int = parameter(1024, "first port that is given out")
    last_port: int = parameter(65535, "last port that is given out")
    log: bool = parameter(True, "write a line for each mapping when it is over")

    def start(self) -> None:
        """Read the networks."""
        if not 0 < self.first_port <= self.last_port <= PORT_MAX:
            raise ParameterError(
                "first_port",
                f"{self.first_port} to {self.last_port} are no ports; expected numbers from 1 to "
                f"{PORT_MAX}, the smaller one first",
            )
        networks = list(read_networks("inside", self.inside))
        self.networks = {
            version: [one for one in networks if one.version == version] for version in (4, 6)
        }
        self.pool = read_pool(self.outside)
        self.is_inside: dict[str, bool] = {}
        self.ports: dict[tuple[str, str, bool], Ports] = {}  # see `free_ports`
        self.address_of: dict[str, str] = {}  # by inside address
        self.hidden: dict[str, int] = dict.fromkeys([*self.pool[4], *self.pool[6]], 0)
        self.mappings_of: dict[str, int] = {}  # by inside address: how many
        self.mappings: dict[Endpoint, Mapping] = {}
        self.flows: dict[int, Endpoint] = {}
        self.made = self.most = self.translated = self.refused = 0
        self.is_exhausted = False

    @on("flow.start")
    def begin(self, event: Event) -> Verdict:
        """Give an outside name to a flow that begins inside."""
        flow = event.flow
        source = flow.source
        if not self.hides(source) or self.hides(flow.destination):
            return PASS
        protocol = flow.protocol
        port = flow.source_port if protocol in WITH_PORTS else 0
        inside = Endpoint(protocol, source, port)
        mapping = self.mappings.get(inside) or self.map(inside)
        if mapping is None:
            return self.refuse(event, inside)
        self.is_exhausted = False
        mapping.flows += 1
        self.flows[flow.id] = inside
        self.translated += 1
        flow.rewrite(
            source=mapping.outside.address,
            source_port=mapping.outside.port if port else None,
        )
        return PASS

    @on("flow.end")
    def end(self, event: Event) -> None:
        """Give the name back with the last flow that has it."""
        inside = self.flows.pop(event.flow.id, None)
        if inside is None:
            return
        mapping = self.mappings[inside]
        mapping.flows -= 1
        if mapping.flows:
            return
        self.give_back(inside, mapping.outside)
        if self.log:
            self.record(
                event,
                inside=written(inside),
                outside=written(mapping.outside),
            )

    def hides(self, address: str) -> bool:
        """Whether the address is inside, and its family has outside addresses."""
        known = self.is_inside.get(address)
        if known is not None:
            return known
        if len(self.is_inside) >= POOL_MAX:
            self.is_inside.clear()
        one = ipaddress.ip_address(address)
        answer = bool(self.pool[one.version]) and any(
            one in network for network in self.networks[one.version]
        )
        self.is_inside[address] = answer
        return answer

    def map(self, inside: Endpoint) -> Mapping | None:
        """A new mapping; None where no port is left."""
        for address in self.candidates(inside.address):
            port = self.free_ports(inside, address).take()
            if port is None:
                continue
            mapping = Mapping(Endpoint(inside.protocol, address, port))
            self.mappings[inside] = mapping
            if inside.address not in self.address_of:
                self.address_of[inside.address] = address
                self.hidden[address] += 1
            self.mappings_of[inside.address] = self.mappings_of.get(inside.address, 0) + 1
            self.made += 1
            self.most = max(self.most, len(self.mappings))
            return mapping
        return None

    def candidates(self, inside: str) -> list[str]:
        """Outside addresses, the best first: the one that the host has already (RFC 4787 section
        4.1); for a new host that with the fewest hosts."""
        known = self.address_of.get(inside)
        if known is not None:
            return [known]
        pool = self.pool[ipaddress.ip_address(inside).version]
        return sorted(pool, key=self.hidden.__getitem__)

    def free_ports(self, inside: Endpoint, outside: str) -> Ports:
        """Of flows without ports, one host at a time can have an outside address. Also TCP and UDP
        have them, with port 0, and they take nothing from the others."""
        key = (inside.protocol, outside, bool(inside.port))
        ports = self.ports.get(key)
        if ports is None:
            numbers = range(self.first_port, self.last_port + 1) if inside.port else range(1)
            ports = self.ports[key] = Ports(iter(numbers))
        return ports

    def give_back(self, inside: Endpoint, outside: Endpoint) -> None:
        """The mapping is over."""
        del self.mappings[inside]
        self.free_ports(inside, outside.address).returned.append(outside.port)
        self.mappings_of[inside.address] -= 1
        if not self.mappings_of[inside.address]:
            del self.mappings_of[inside.address]
            del self.address_of[inside.address]
            self.hidden[outside.address] -= 1

    def refuse(self, event: Event, inside: Endpoint) -> Verdict:
        """Drop the flow. People are told once, and again when there was a port in between."""
        self.refused += 1
        if not self.is_exhausted:
            self.is_exhausted = True
            message = f"no outside port is left for {inside.protocol} of {inside.address}"
            self.alert(event, message, signature="nat_exhausted", severity=3)
        return DROP_FLOW

    def finish(self) -> dict[str, Any]:
        """Say how much was mapped."""
        return {
            "flows": self.translated,
            "mappings": self.made,
            "most mappings at once": self.most,
            "flows refused": self.refused,
        }


def written(endpoint: Endpoint) -> str:
    """As people write it."""
    if not endpoint.port:
        return endpoint.address
    address = f"[{endpoint.address}]" if ":" in endpoint.address else endpoint.address
    return f"{address}:{endpoint.port}"


def read_networks(name: str, texts: Iterable[str]) -> Iterator[Network]:
    """The networks of a parameter; an address is a network of one."""
    for text in texts:
        try:
            yield ipaddress.ip_network(text)
        except ValueError as error:
            raise ParameterError(name, f"{error}; expected 10.0.0.0/8, say") from None


def read_pool(texts: Iterable[str]) -> dict[int, list[str]]:
    """Outside addresses by IP version, in order, each once."""
    pool: dict[int, list[str]] = {4: [], 6: []}
    for network in read_networks("outside", texts):
        if network.num_addresses + len(pool[network.version]) > POOL_MAX:
            raise ParameterError("outside", f"{network}: more than {POOL_MAX:,} addresses in all")
        pool[network.version] += [str(one) for one in network]
    if not pool[4] and not pool[6]:
        raise ParameterError("outside", 'it names no address; expected ["192.0.2.1"], say')
    return {version: list(dict.fromkeys(addresses)) for version, addresses in pool.items()}
