"""Every DNS question and answer."""

from __future__ import annotations

from collections import Counter
from typing import Any, ClassVar

import dns.rcode
import dns.rdatatype

from microbox import Event, NetworkFunction, on, parameter


class DnsLog(NetworkFunction):
    """Write one line for each DNS message: the name asked for, its type, and what was answered."""

    records: ClassVar = {
        "dns": {
            "type": "text: query or answer",
            "id": "u16: identifier of the message",
            "rrname": "text: the name that is asked about",
            "rrtype": "text: the type that is asked for",
            "rcode": "text?: of an answer",
            "answers": "u16?: how many an answer has",
            "addresses": "texts?: of A and AAAA answers",
        }
    }

    names_max: int = parameter(10_000, "names that are counted for the summary")
    top: int = parameter(5, "names that the summary shows, the most asked first")

    def start(self) -> None:
        """Begin to count."""
        self.queries = 0
        self.names: Counter[str] = Counter()
        self.codes: Counter[str] = Counter()

    @on("dns.query")
    def query(self, event: Event) -> None:
        """Write a question."""
        self.queries += 1
        name = event.question
        if name in self.names or len(self.names) < self.names_max:
            self.names[name] += 1
        self.record(
            event,
            event_type="dns",
            type="query",
            id=event.identifier,
            rrname=name,
            rrtype=dns.rdatatype.to_text(event.question_type),
        )

    @on("dns.response")
    def response(self, event: Event) -> None:
        """Write an answer."""
        code = dns.rcode.to_text(event.response_code)
        self.codes[code] += 1
        self.record(
            event,
            event_type="dns",
            type="answer",
            id=event.identifier,
            rrname=event.question,
            rrtype=dns.rdatatype.to_text(event.question_type),
            rcode=code,
            answers=event.answers,
            addresses=event.addresses.split(",") if event.addresses else [],
        )

    def finish(self) -> dict[str, Any]:
        """Say how many there were, what was answered, and what was asked for most."""
        most = sorted(self.names.items(), key=lambda one: (-one[1], one[0]))[: self.top]
        return {
            "queries": self.queries,
            "responses": self.codes.total(),
            "codes": dict(sorted(self.codes.items())),
            "names": dict(most),
        }
