"""Packet filters, as libpcap judges them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

LINK_TYPE_ETHERNET = 1

FILTER_MAX = 4096
"""Bytes of a filter. What libpcap needs to compile one grows with the third power of its terms: a
second for 300 addresses, minutes for some thousands."""


@dataclass(frozen=True, slots=True)
class FilterFacts:
    """`error`: libpcap's words, "" where it takes the filter. `is_per_flow`: one answer holds for
    all packets of a flow in one direction."""

    error: str = ""
    is_per_flow: bool = False


class FilterJudge(Protocol):
    """Says whether a filter can be compiled."""

    def __call__(self, expression: str) -> FilterFacts:
        """What is to be known of the filter."""


def judge_filter(expression: str) -> FilterFacts:
    """Compiles the filter with libpcap, for Ethernet."""
    written = expression.encode()
    if len(written) > FILTER_MAX:
        return FilterFacts(
            error=f"it is {len(written):,} bytes long, at most {FILTER_MAX:,}; name networks, or "
            "look at the event's addresses in the handler"
        )
    if b"\0" in written:
        return FilterFacts(error="it has a zero byte")
    from microbox._core import ffi, lib  # slow to load, and not needed for chains without filters

    error = ffi.new("char[]", lib.MB_ERROR_SIZE)
    compiled = lib.mb_filter_compile(written, LINK_TYPE_ETHERNET, error)
    if compiled == ffi.NULL:
        return FilterFacts(error=ffi.string(error).decode("utf-8", "replace"))
    try:
        return FilterFacts(is_per_flow=bool(lib.mb_filter_is_per_flow(compiled)))
    finally:
        lib.mb_filter_destroy(compiled)
