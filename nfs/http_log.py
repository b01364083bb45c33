"""Every HTTP request with its response."""

from __future__ import annotations

from collections import Counter
from typing import Any, ClassVar

from microbox import Event, NetworkFunction, on, parameter


class HttpLog(NetworkFunction):
    """Write one line for each HTTP/1 request when its response is complete.

    A request without a response is written when its connection ends; its line has no `status`.
    So is a response whose request is not known: its line has no `http_method`.
    """

    records: ClassVar = {
        "http": {
            "hostname": "text?: of the request, as are the next four",
            "url": "text?: its target",
            "http_user_agent": "text?: what sent it",
            "http_method": "text?: GET, ...",
            "protocol": "text?: HTTP/1.1, ...",
            "status": "u16?: of the response, as are the next three",
            "http_content_type": "text?: of its body",
            "length": "u64?: bytes of body that were seen",
            "complete": "bool?: the whole body was seen",
            "duration": "f64: seconds from request to response",
        }
    }

    pending_max: int = parameter(100, "requests of a connection that may wait for a response")

    def start(self) -> None:
        """Begin to count."""
        self.requests = 0
        self.statuses: Counter[int] = Counter()
        self.methods: Counter[str] = Counter()
        # Requests that wait for their response, by number, by flow. http.end comes behind the
        # end of the flow itself, so this is no flow.state.
        self.pending: dict[int, dict[int, dict[str, Any]]] = {}

    @on("http.request")
    def request(self, event: Event) -> None:
        """Keep a request until its response comes."""
        self.requests += 1
        self.methods[event.method] += 1
        pending = self.pending.setdefault(event.flow.id, {})
        pending[event.number] = {
            "hostname": event.host,
            "url": event.target,
            "http_user_agent": event.user_agent,
            "http_method": event.method,
            "protocol": f"HTTP/{event.version}",
            "requested": event.time,
        }
        if len(pending) > self.pending_max:
            oldest = min(pending)
            self.write(event, pending.pop(oldest))

    @on("http.response")
    def response(self, event: Event) -> None:
        """Write a request and its response."""
        self.statuses[event.status] += 1
        pending = self.pending.get(event.flow.id, {})
        if event.status < 200 and event.status != 101:  # noqa: PLR2004
            return  # the final response is to come
        self.write(
            event,
            pending.pop(event.number, {}),
            status=event.status,
            http_content_type=event.content_type,
            length=event.body_length,
            complete=bool(event.is_complete),
        )

    @on("http.end")
    def end(self, event: Event) -> None:
        """Write the requests that got no response."""
        for request in self.pending.pop(event.flow.id, {}).values():
            self.write(event, request)

    def write(self, event: Event, request: dict[str, Any], **response: Any) -> None:
        """Write one line."""
        requested = request.pop("requested", event.time)
        seconds = (event.time - requested) / 1e9
        self.record(event, event_type="http", **request, **response, duration=seconds)

    def finish(self) -> dict[str, Any]:
        """Say how many there were of each kind."""
        return {
            "requests": self.requests,
            "methods": dict(sorted(self.methods.items())),
            "statuses": {str(status): n for status, n in sorted(self.statuses.items())},
        }
