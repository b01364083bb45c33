"""A flow as people name it: `10.0.0.1:1234 -> 10.0.0.2:80`, `udp [2001:db8::1]:53 -> ...`, or by
its number, which logs call `flow_id`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import ip_address

ARROW = re.compile(r"\s*(?:<?->|<->|→|↔)\s*")
END = re.compile(r"\[([^\]]+)\](?::(\d+))?|([^\[\]:]+)(?::(\d+))?|([0-9A-Fa-f:.]+)")
PROTOCOLS = {"tcp": 6, "udp": 17, "icmp": 1, "icmpv6": 58, "sctp": 132}
PORT_MAX = 65535
NUMBER_DIGITS_MAX = 19
"""Of a number of 64 bits all with so few digits are one."""
IPV4_MAPPED = bytes(10) + b"\xff\xff"

EXPECTED = "expected such as '10.0.0.1:1234 -> 10.0.0.2:80', with tcp or udp in front, or a flow_id"

End = tuple[bytes, int]
"""Address, 16 bytes as in struct mb_five_tuple, and port; 0 where it has none."""


@dataclass(frozen=True, slots=True)
class FlowName:
    """One flow by its number, or all with these ends, whoever began."""

    number: int = 0  # 0: by its ends
    protocol: int = 0  # 0: any
    ends: tuple[End, End] | None = None

    def means(self, number: int, protocol: int, ends: tuple[End, End]) -> bool:
        """Whether it is this flow."""
        if self.ends is None:
            return number == self.number
        return self.protocol in (0, protocol) and self.ends in (ends, ends[::-1])


def parse_flow(written: str) -> FlowName:
    """Raises ValueError, with a sentence."""
    text = written.strip()
    if text.isdecimal() and len(text) <= NUMBER_DIGITS_MAX and int(text):
        return FlowName(number=int(text))
    parts = ARROW.split(text)
    if len(parts) != 2:  # noqa: PLR2004 (two ends)
        raise ValueError(f"'{written}' names no flow; {EXPECTED}")
    first, second = parts
    protocol, first = _without_protocol(first, at_end=False)
    behind, second = _without_protocol(second, at_end=True)
    return FlowName(protocol=protocol or behind, ends=(_end(first), _end(second)))


def _without_protocol(text: str, *, at_end: bool) -> tuple[int, str]:
    words = text.split()
    if len(words) < 2:  # noqa: PLR2004 (a protocol and an end)
        return 0, text.strip()
    word = words.pop() if at_end else words.pop(0)
    if word.lower() not in PROTOCOLS:
        raise ValueError(
            f"'{word}' is no protocol of flows; expected one of {', '.join(PROTOCOLS)}"
        )
    return PROTOCOLS[word.lower()], " ".join(words)


def _end(text: str) -> End:
    found = END.fullmatch(text)
    if not found:
        raise ValueError(f"'{text}' is no end of a flow; {EXPECTED}")
    address = found[1] or found[3] or found[5]
    port = int(found[2] or found[4] or 0)
    try:
        packed = ip_address(address).packed
    except ValueError:
        raise ValueError(f"'{address}' is no address; {EXPECTED}") from None
    if port > PORT_MAX:
        raise ValueError(f"{port} is no port; expected 0 to {PORT_MAX}")
    return packed if len(packed) == len(IPV4_MAPPED) + 4 else IPV4_MAPPED + packed, port
