"""What an HTTP service thinks of the addresses that hosts connect to."""

from __future__ import annotations

import asyncio
import ipaddress
import json
from collections import OrderedDict
from typing import Any, ClassVar
from urllib.parse import quote, urlsplit

import httptools

from microbox import Event, NetworkFunction, on, parameter

NANOSECONDS = 1_000_000_000
HTTP_PORT = 80
OK = 200
ANSWER_MAX = 65_536  # bytes


class Answer:
    """An HTTP response, as httptools tells of it."""

    def __init__(self) -> None:
        self.body = b""
        self.is_complete = False
        self._parser = httptools.HttpResponseParser(self)

    def feed(self, octets: bytes) -> None:
        """Take some bytes of the connection."""
        self._parser.feed_data(octets)

    @property
    def status(self) -> int:
        """The status code; 0 before there is one."""
        return int(self._parser.get_status_code())

    def on_body(self, body: bytes) -> None:
        """Keep a part of the body; called by the parser."""
        self.body += body

    def on_message_complete(self) -> None:
        """Note the end; called by the parser."""
        self.is_complete = True


class Reputation(NetworkFunction):
    """Ask an HTTP service about each address that flows begin to, and alert on bad ones.

    `GET URL/ADDRESS` answers with JSON, `{"score": 0 … 100}`. Events wait for the answer; what was
    asked once is remembered. A service that does not answer is left alone for a while.
    """

    network = True

    records: ClassVar = {
        "": {
            "address": "text: who was asked about",
            "score": "i64?: what the service said",
            "error": "text?: why there is no answer",
        }
    }

    url: str = parameter("http://127.0.0.1:8080/reputation", "where to ask: http://HOST:PORT/PATH")
    threshold: int = parameter(75, "score from which on an address is reported")
    everything: bool = parameter(False, "ask about addresses that are not public, too")
    timeout: float = parameter(2.0, "seconds until an answer is given up")
    retry: float = parameter(30.0, "seconds of packet time before it asks again after a failure")
    cache_max: int = parameter(100_000, "addresses that are remembered")

    async def start(self) -> None:
        """Begin knowing nothing."""
        self.scores: OrderedDict[str, int] = OrderedDict()
        self.bad: set[str] = set()
        self.asked = self.failed = 0
        self.silent_until = 0  # packet time
        where = urlsplit(self.url)
        if where.scheme != "http" or not where.hostname:
            raise ValueError(f"url is http://HOST:PORT/PATH, not '{self.url}'")
        self.host, self.port = where.hostname, where.port or HTTP_PORT
        self.path = where.path.rstrip("/")

    @on("tcp.start", "udp.start")
    async def begin(self, event: Event) -> None:
        """Look the responder up, and report it where it is bad."""
        address = event.flow.destination
        if not self.everything and not ipaddress.ip_address(address).is_global:
            return
        score = self.scores.get(address)
        if score is None:
            score = await self.look_up(event, address)
        if score is not None and score >= self.threshold:
            self.bad.add(address)
            self.alert(event, f"{address} has a score of {score}", signature="bad_reputation")

    async def look_up(self, event: Event, address: str) -> int | None:
        """The score of an address that is not known yet; None where the service does not say."""
        if event.time < self.silent_until:
            return None
        try:
            async with asyncio.timeout(self.timeout):
                score = await self.ask(address)
        except (OSError, TimeoutError, ValueError, httptools.HttpParserError) as error:
            self.failed += 1
            self.silent_until = event.time + round(self.retry * NANOSECONDS)
            self.record(event, address=address, error=f"{type(error).__name__}: {error}")
            return None
        self.scores[address] = score
        if len(self.scores) > self.cache_max:
            self.scores.popitem(last=False)
        self.record(event, address=address, score=score)
        return score

    async def ask(self, address: str) -> int:
        """One request on a connection of its own."""
        self.asked += 1
        reader, writer = await asyncio.open_connection(self.host, self.port)
        try:
            request = f"GET {self.path}/{quote(address)} HTTP/1.1\r\nHost: {self.host}\r\n"
            writer.write(f"{request}Connection: close\r\n\r\n".encode())
            answer = Answer()
            while not answer.is_complete and len(answer.body) < ANSWER_MAX:
                octets = await reader.read(ANSWER_MAX)
                if not octets:
                    break
                answer.feed(octets)
        finally:
            writer.close()
        if answer.status != OK:
            raise ValueError(f"the service answered {answer.status}")
        return int(json.loads(answer.body)["score"])

    def finish(self) -> dict[str, Any]:
        """Say what was asked and what was found."""
        return {
            "asked": self.asked,
            "failed": self.failed,
            "bad": sorted(self.bad)[:20],
        }
