"""What an NF says about a packet."""

from __future__ import annotations

from enum import IntEnum


class Verdict(IntEnum):
    """Returned by a handler; nothing (None) means PASS. Numbers as in enum mb_verdict."""

    PASS = 0
    DROP = 1  # this packet; on a stream event the flow from here on
    DROP_FLOW = 2  # this packet and all later ones of its flow
    PASS_FLOW = 3  # this NF wants nothing more of the flow
    RESET = 4  # DROP_FLOW, and the connection is reset at both ends


PASS = Verdict.PASS
DROP = Verdict.DROP
DROP_FLOW = Verdict.DROP_FLOW
PASS_FLOW = Verdict.PASS_FLOW
RESET = Verdict.RESET

DROPS = (DROP, DROP_FLOW, RESET)
"""Only an inline NF may say these."""

LEAVES = (DROP_FLOW, PASS_FLOW, RESET)
"""After these the NF gets nothing more of the flow."""
