"""The traffic of some flows into a VLAN of its own: an example of an NF that edits packets."""

from __future__ import annotations

from typing import Any

from microbox import Event, NetworkFunction, ParameterError, on, parameter


class TagVlan(NetworkFunction):
    """Push a VLAN tag on each packet, and mark it with a class of service."""

    vlan: int = parameter(doc="the VLAN, from 1 to 4094")
    priority: int = parameter(0, "the tag's priority, from 0 to 7")
    dscp: int = parameter(-1, "the DSCP that IP packets get, from 0 to 63; -1: as it was")
    service: bool = parameter(False, "a service tag (802.1ad, 0x88A8) in place of 802.1Q")

    def start(self) -> None:
        """Check what a type does not say."""
        for name, least, most in (("vlan", 1, 4094), ("priority", 0, 7), ("dscp", -1, 63)):
            if not least <= getattr(self, name) <= most:
                raise ParameterError(name, f"expected a number from {least} to {most}")
        self.tagged = 0

    @on("packet")
    def tag(self, event: Event) -> None:
        """Every frame, as received: what was put together from fragments came as those."""
        if event.fragments:
            return
        self.tagged += 1
        ether_type = 0x88A8 if self.service else 0x8100
        event.push_vlan(self.vlan, priority=self.priority, ether_type=ether_type)
        if self.dscp >= 0 and event.flow.ip_version:
            event.edit(ip_dscp=self.dscp)

    def finish(self) -> dict[str, Any]:
        """Say how many packets there were."""
        return {"tagged": self.tagged}
