"""Drop flows by addresses, ports and protocol."""

from __future__ import annotations

import ipaddress
import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, ClassVar

from microbox import (
    DROP_FLOW,
    PASS,
    RESET,
    Event,
    NetworkFunction,
    ParameterError,
    Verdict,
    on,
    parameter,
)

PROTOCOLS = {
    "tcp": {"TCP"},
    "udp": {"UDP"},
    "icmp": {"ICMP"},
    "icmp6": {"ICMPv6"},
}
VERSIONS = {"ip": 4, "ip6": 6}
ACTIONS = {"drop": DROP_FLOW, "reset": RESET}
PORT_RANGE = re.compile(r"(\d{1,5})(?:-(\d{1,5}))?")
PORT_MAX = 65535
EXPECTED = (
    "expected words such as 'tcp dst port 23', 'src net 10.0.0.0/8', 'host 10.0.0.1', "
    "'udp port 1000-2000', joined by 'and'"
)

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Address = ipaddress.IPv4Address | ipaddress.IPv6Address


class RuleError(ValueError):
    """A rule that cannot be understood."""


@dataclass(frozen=True, slots=True)
class Tuple:
    """What rules look at: a flow, originator first."""

    protocol: str
    addresses: tuple[Address, Address]
    ports: tuple[int, int]


Condition = Callable[[Tuple], bool]
SIDES = {"src": (0,), "dst": (1,), "": (0, 1)}


@dataclass(slots=True)
class Rule:
    """A rule as written, and what must all hold."""

    written: str
    conditions: list[Condition] = field(default_factory=list)

    def matches(self, flow: Tuple) -> bool:
        """Whether the rule speaks of this flow."""
        return all(holds(flow) for holds in self.conditions)


def protocol_is(names: set[str]) -> Condition:
    """The protocol is one of these."""
    return lambda flow: flow.protocol in names


def version_is(version: int) -> Condition:
    """The IP version is this one."""
    return lambda flow: flow.addresses[0].version == version


def address_in(network: Network, sides: tuple[int, ...]) -> Condition:
    """One of these sides' addresses lies in a network."""
    return lambda flow: any(flow.addresses[side] in network for side in sides)


def port_in(ports: range, sides: tuple[int, ...]) -> Condition:
    """One of these sides' ports lies in a range; only TCP and UDP have ports."""
    return lambda flow: (
        flow.protocol in {"TCP", "UDP"} and any(flow.ports[side] in ports for side in sides)
    )


def read_network(word: str) -> Network:
    """Read an address or a network."""
    try:
        return ipaddress.ip_network(word)
    except ValueError as error:
        raise RuleError(str(error)) from None


def read_ports(word: str) -> range:
    """Read a port, or two with a dash."""
    found = PORT_RANGE.fullmatch(word)
    if found is None or int(found[2] or found[1]) > PORT_MAX:
        raise RuleError(f"{word!r} is neither a port nor a range such as 1000-2000")
    return range(int(found[1]), int(found[2] or found[1]) + 1)


def read_condition(words: Iterator[str], word: str) -> Condition:
    """Read one condition that begins with `word`."""
    if word in PROTOCOLS:
        return protocol_is(PROTOCOLS[word])
    if word in VERSIONS:
        return version_is(VERSIONS[word])
    side = word if word in SIDES else ""
    kind = next(words, "") if side else word
    if kind in {"host", "net"}:
        return address_in(read_network(next(words, "")), SIDES[side])
    if kind in {"port", "portrange"}:
        return port_in(read_ports(next(words, "")), SIDES[side])
    raise RuleError(f"{kind or word!r} is not understood; {EXPECTED}")


def read_rule(written: str) -> Rule:
    """Read a rule. Raises RuleError that names it."""
    rule = Rule(written)
    words = iter(written.split())
    try:
        for word in words:
            if word != "and":
                rule.conditions.append(read_condition(words, word))
        if not rule.conditions:
            raise RuleError(f"there is no condition; {EXPECTED}")
    except RuleError as error:
        raise RuleError(f"rule '{written}': {error}") from None
    return rule


def read_rules(name: str, rules: list[str]) -> list[Rule]:
    """Read a parameter's rules. Raises ParameterError for the first that is wrong."""
    try:
        return [read_rule(written) for written in rules]
    except RuleError as error:
        raise ParameterError(name, str(error)) from None


class Firewall(NetworkFunction):
    """Drop, or reset, flows that a rule denies, from their first packet on.

    A flow is looked at once, when it begins, originator first: `tcp dst port 23` are connections
    *to* port 23, both directions. `allow` is asked before `deny`; what no rule names passes, as do
    packets without a flow (ARP, malformed ones, fragments until their datagram is whole).
    """

    inline: ClassVar = True

    records: ClassVar = {
        "drop": {"rule": "text: the rule that denies the flow"},
        "reset": {"rule": "text: likewise"},
    }

    deny: list[str] = parameter([], "rules in words of libpcap's syntax: 'tcp dst port 23'")
    allow: list[str] = parameter([], "exceptions from `deny`")
    action: str = parameter("drop", "what becomes of a denied flow: drop, or reset (TCP)")
    log: bool = parameter(True, "write a line for each flow that is dropped")

    def start(self) -> None:
        """Read the rules."""
        if self.action not in ACTIONS:
            raise ParameterError("action", f"expected drop or reset, not {self.action!r:.40}")
        self.verdict = ACTIONS[self.action]
        self.denying = read_rules("deny", self.deny)
        self.allowing = read_rules("allow", self.allow)
        self.dropped: Counter[str] = Counter()
        self.passed = 0

    @on("tcp.start", "udp.start", "icmp.start", "flow.start")
    def begin(self, event: Event) -> Verdict:
        """Judge a flow."""
        rule = self.denied_by(event)
        if rule is None:
            self.passed += 1
            return PASS
        self.dropped[rule.written] += 1
        if self.log:
            self.record(event, event_type=self.action, rule=rule.written)
        return self.verdict

    def denied_by(self, event: Event) -> Rule | None:
        """Return the first rule that denies a flow."""
        flow = Tuple(
            event.flow.protocol,
            (ipaddress.ip_address(event.flow.source), ipaddress.ip_address(event.flow.destination)),
            (event.flow.source_port, event.flow.destination_port),
        )
        if any(rule.matches(flow) for rule in self.allowing):
            return None
        return next((rule for rule in self.denying if rule.matches(flow)), None)

    def finish(self) -> dict[str, Any]:
        """Say how many flows each rule dropped, in the rules' order."""
        return {
            "passed": self.passed,
            "dropped": {rule.written: self.dropped[rule.written] for rule in self.denying},
        }
