"""Where a run listens for others, as people write it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Self

LOOPBACK = "127.0.0.1"
PORT_MAX = 65535


@dataclass(frozen=True, slots=True)
class Address:
    """A port of this machine. Port 0 is any that is free."""

    host: str  # a name or an address
    port: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """`PORT`, `HOST:PORT` or `[IPV6]:PORT`; without a host only this machine reaches it. Raises
        ValueError."""
        found = re.fullmatch(r"(?:(?:\[([^\[\]]+)\]|([^\[\]:]+)):)?(\d{1,5})", text)
        if found is None or int(found[3]) > PORT_MAX:
            raise ValueError(
                f"'{text}' is no port of an address; expected 9090, 0.0.0.0:9090 or [::1]:9090"
            )
        return cls(found[1] or found[2] or LOOPBACK, int(found[3]))

    def __str__(self) -> str:
        """As in a URL."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"
