"""The smallest firewall: no telnet."""

from __future__ import annotations

from microbox import DROP_FLOW, Event, NetworkFunction, Verdict, on


class BlockTelnet(NetworkFunction):
    """Drop new connections to port 23."""

    @on("tcp.start", filter="tcp dst port 23")
    def refuse(self, event: Event) -> Verdict:
        """Drop the connection from its first packet on."""
        self.alert(event, "telnet refused", signature="telnet")
        return DROP_FLOW
