"""`microbox events`: the hierarchy, one type, counts of a run, types of a chain's own."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

Microbox = Callable[..., Any]


def lines(text: str) -> list[str]:
    """Without the tree's guides and the padding."""
    return [" ".join(line.strip("│├└─ ").split()) for line in text.splitlines()]


def test_the_tree_names_fields_producers_and_says_what_a_type_is(microbox: Microbox) -> None:
    ran = microbox("events")
    assert (ran.status, ran.err) == (0, "")
    assert "data The next in-order bytes of one side. offset (tcp_stream)" in lines(ran.out)
    assert "http HTTP/1." in lines(ran.out)
    assert "end_of_input There are no more packets. packets, bytes (worker)" in lines(ran.out)


def test_one_type_with_all_its_fields(microbox: Microbox) -> None:
    ran = microbox("events", "tcp.data")
    assert ran.status == 0
    assert lines(ran.out)[0] == "flow.tcp.data"
    assert "published by the stack (tcp_stream)" in lines(ran.out)
    assert any(line.startswith("offset u64 tcp_data of the first byte") for line in lines(ran.out))
    assert any(line.startswith("source_port u16 five_tuple") for line in lines(ran.out))
    assert any(line.startswith("request The head of a request.") for line in lines(ran.out))


def test_who_publishes_a_type(microbox: Microbox) -> None:
    published = {
        name: next(
            line for line in lines(microbox("events", name).out) if line.startswith("published")
        )
        for name in ("http", "http.request", "alert")
    }
    assert published == {
        "http": "published by nobody: subscribe to it to get all below it",
        "http.request": "published by the parser http, which is added when somebody subscribes "
        "to it",
        "alert": "published by NFs",
    }


def test_a_type_that_does_not_exist(microbox: Microbox) -> None:
    ran = microbox("events", "tcp.dta")
    assert (ran.status, ran.out) == (2, "")
    assert ran.err.startswith("error: unknown event type 'tcp.dta'; did you mean 'flow.tcp.data'")


def test_the_types_for_programs(microbox: Microbox) -> None:
    types = {one["name"]: one for one in microbox("events", "--json").json["types"]}
    data = types["flow.tcp.data"]
    assert data["parent"] == "flow.tcp"
    assert data["producer"] == "tcp_stream"
    assert data["count"] is None
    offset = next(one for one in data["fields"] if one["name"] == "offset")
    assert (offset["type"], offset["declared_by"]) == ("u64", "tcp_data")


def test_a_part_of_the_types_for_programs(microbox: Microbox) -> None:
    types = microbox("events", "http", "--json").json["types"]
    assert {one["name"].removeprefix("flow.tcp.data.") for one in types} >= {
        "http",
        "http.request",
        "http.response",
    }
    assert all(one["name"].startswith("flow.tcp.data.http") for one in types)


def test_counts_of_the_newest_run(microbox: Microbox, folder: Path) -> None:
    (folder / "chain.yaml").write_text("input: sample.pcap\nchain: [flow_log, http_log]\n")
    assert microbox("run", "chain.yaml", "-q").status == 0
    ran = microbox("events")
    assert "request 1 The head of a request." in "\n".join(lines(ran.out))
    assert any(line.startswith("counts of microbox-logs") for line in lines(ran.out))
    counted = microbox("events", "http.request", "--json").json
    assert counted["types"][0]["count"] == 1
    assert counted["counts_from"] == "microbox-logs/summary.json"


def test_counts_of_a_run_by_its_directory_or_its_summary(microbox: Microbox, folder: Path) -> None:
    (folder / "old").mkdir()
    counts = {"flow.tcp.start": 3, "flow.tcp.end": 2}
    (folder / "old" / "summary.json").write_text(json.dumps({"events": counts}))
    for source in ("old", "old/summary.json"):
        out = lines(microbox("events", "tcp", "--counts", source).out)
        assert any(line.startswith("flow.tcp 5 A TCP connection.") for line in out)
        assert any(line.startswith("start 3 ") for line in out)


def test_counts_that_are_not_there(microbox: Microbox, folder: Path) -> None:
    (folder / "x.json").write_text("[]")
    for source in ("nowhere", "x.json"):
        ran = microbox("events", "--counts", source)
        assert ran.status == 2
        assert ran.err.startswith(f"error: {source}: no counts there: ")


def test_types_that_a_chain_declares(microbox: Microbox, folder: Path) -> None:
    (folder / "smtp.py").write_text(
        "from microbox import NetworkFunction, on\n\n\n"
        "class Smtp(NetworkFunction):\n"
        '    """SMTP."""\n\n'
        '    declares = {"tcp.data.smtp": {"command": "text"}}\n'
        '    publishes = ["tcp.data.smtp"]\n\n'
        '    @on("tcp.data")\n'
        "    def read(self, event):\n"
        '        self.publish("tcp.data.smtp", event, command="HELO")\n'
    )
    (folder / "chain.yaml").write_text("input: sample.pcap\nchain: [./smtp.py]\n")
    ran = microbox("events", "tcp.data.smtp", "--chain", "chain.yaml", "--json")
    assert (ran.status, ran.err) == (0, "")
    (smtp,) = ran.json["types"]
    assert smtp["parent"] == "flow.tcp.data"
    assert smtp["fields"][-1]["name"] == "command"


def test_types_with_conditions(microbox: Microbox, folder: Path) -> None:
    (folder / "chain.yaml").write_text(
        "input: sample.pcap\nchain: [flow_log]\n"
        "events:\n  tcp.data.get:\n    when: data startswith 'GET '\n"
        "    counters: {seen: true}\n    at_most: 2\n    doc: A request.\n"
    )
    condition = "data startswith 'GET '; counting seen: true; at most 2 a flow"
    ran = microbox("events", "tcp.data.get", "--chain", "chain.yaml")
    assert (ran.status, ran.err) == (0, "")
    assert f"published by the stack, where {condition}" in " ".join(lines(ran.out))
    tree = " ".join(lines(microbox("events", "tcp.data", "--chain", "chain.yaml").out))
    assert f"get A request. where {condition} (condition)" in tree
    (get,) = microbox("events", "tcp.data.get", "--chain", "chain.yaml", "--json").json["types"]
    assert (get["condition"], get["producer"]) == (condition, "condition")
