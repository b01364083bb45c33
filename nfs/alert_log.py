"""All alerts of all NFs in one log, in causal order."""

from __future__ import annotations

from collections import Counter
from typing import Any, ClassVar

from microbox import Event, NetworkFunction, on, parameter


class AlertLog(NetworkFunction):
    """Write one line for each alert of any NF."""

    records: ClassVar = {
        "alert": {
            "nf": "text: who reports it",
            "signature": "text: a short stable name of what was found",
            "severity": "u8: 1 information to 4 critical; in EVE 4 to 1",
            "message": "text: what was found",
            "packet": "u64: number of the packet that caused it",
            "in_shadow": "bool?: the NF that reports it is in shadow",
        }
    }

    signatures_max: int = parameter(1000, "signatures that are counted apart in the summary")

    def start(self) -> None:
        """Begin to count."""
        self.counts: Counter[str] = Counter()
        self.in_shadow = 0

    @on("alert")
    def alerted(self, event: Event) -> None:
        """Write one alert."""
        mark = {"in_shadow": True} if event.in_shadow else {}
        self.record(
            event,
            event_type="alert",
            nf=event.nf,
            signature=event.signature,
            severity=event.severity,
            message=event.message,
            packet=event.packet,
            **mark,
        )
        if event.in_shadow:
            self.in_shadow += 1
            return
        name = event.signature or event.nf
        is_known = name in self.counts or len(self.counts) < self.signatures_max
        self.counts[name if is_known else "other"] += 1

    def finish(self) -> dict[str, Any]:
        """Say how many there were of each signature, the most frequent first."""
        ordered = sorted(self.counts.items(), key=lambda one: (-one[1], one[0]))
        shadow = {"in_shadow": self.in_shadow} if self.in_shadow else {}
        return {"alerts": self.counts.total(), "signatures": dict(ordered), **shadow}
