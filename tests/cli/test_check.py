"""`microbox check`: the plan, or all that is wrong."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

Microbox = Callable[..., Any]

CHAIN = """\
input: sample.pcap
chain:
  - flow_log
  - block_telnet
  - http_log
"""


@pytest.fixture
def write(folder: Path) -> Callable[[str, str], None]:
    def write_file(name: str, text: str) -> None:
        (folder / name).write_text(dedent(text))

    return write_file


Write = Callable[[str, str], None]


def test_the_plan_for_people(microbox: Microbox, write: Write) -> None:
    write("chain.yaml", CHAIN)
    ran = microbox("check", "chain.yaml")
    assert (ran.status, ran.err) == (0, "")
    lines = [" ".join(line.split()) for line in ran.out.splitlines()]
    assert lines[0] == "chain.yaml: fine. sample.pcap, 5 NFs in 3 stages"
    for line in (
        "stack ─▶ │ flow_log │ ─▶ │ http_parser │ ─▶ │ http_log │",
        "│ block_telnet (may drop) │ │ alert_log │ ╰───────────╯",
        "http_parser waits for block_telnet: it may drop tcp",
        "alert_log waits for block_telnet: reads its alert; it may drop tcp",
        "http_log waits for http_parser: reads its http.request, http.response, http.end",
        "block_telnet reads tcp.start where tcp dst port 23 (decided once a flow)",
        "inline may drop packets; should it die, nothing of what it reads passes",
        "http_parser added since http_log subscribes to http.request",
        "alert_log added since block_telnet publishes alert",
        "tcp.stream http_parser (tcp.data, tcp.gap)",
        "log 12.0 MiB log.slots",
    ):
        assert line in lines


def test_workers_are_drawn_and_what_is_otherwise_is_said(microbox: Microbox, write: Write) -> None:
    write("chain.yaml", CHAIN + "  - packet_sizes\nworkers: 2\noutput: out.pcap\n")
    ran = microbox("check", "chain.yaml")
    assert (ran.status, ran.err) == (0, "")
    shown = " ".join(ran.out.split())
    assert "stack x 2 ─▶" in shown
    assert "gate x 2 ─▶ out.pcap" in shown
    assert "2 share out the packets by their pairs of hosts; each has a log of its own" in shown
    assert "packet_sizes: its batches are each worker's own" in shown
    plan = microbox("check", "chain.yaml", "--workers", "3", "--json").json
    assert plan["workers"] == 3
    assert "packet_sizes: its batches are each worker's own" in plan["workers_notes"]


def test_the_plan_for_programs(microbox: Microbox, write: Write) -> None:
    write("chain.yaml", CHAIN)
    ran = microbox("check", "chain.yaml", "--json")
    assert (ran.status, ran.err) == (0, "")
    plan = ran.json
    assert plan["errors"] == []
    assert plan["stages"] == [
        ["flow_log", "block_telnet"],
        ["http_parser", "alert_log"],
        ["http_log"],
    ]
    block = plan["nfs"][1]
    assert block["inline"]
    assert block["fails_closed"]
    assert block["subscriptions"] == [
        {
            "handler": "refuse",
            "types": ["tcp.start"],
            "filter": "tcp dst port 23",
            "per_flow": True,
            "batch": False,
            "switch": None,
            "modules": {"tcp": ["tcp.monitor"]},
        }
    ]
    assert block["commands"]
    http_log = next(nf for nf in plan["nfs"] if nf["name"] == "http_log")
    assert http_log["reads"] == ["http_parser"]
    assert {
        "name": "tcp.stream",
        "file": None,
        "because": ["http_parser: tcp.data", "http_parser: tcp.gap"],
    } in (plan["modules"])
    memory = plan["memory"]
    assert memory["total"] == sum(part["bytes"] for part in memory["parts"])
    flows = next(part for part in memory["parts"] if part["part"] == "flows")
    assert flows["bytes"] > 1_000_000 * 384
    assert (flows["nf"], flows["keys"]) == (None, ["stack.flows_max"])
    areas = [part["nf"] for part in memory["parts"] if part["part"] == "area"]
    assert areas == [nf["name"] for nf in plan["nfs"]]


def test_memory_is_shown_with_what_makes_it_smaller(microbox: Microbox, write: Write) -> None:
    write("chain.yaml", CHAIN + "stack: {flows_max: 1000}\n")
    one = microbox("check", "chain.yaml", "--json").json["memory"]
    assert one["total"] < 300 << 20
    shown = microbox("check", "chain.yaml").out
    assert re.search(r"flows +\S+ KiB +stack\.flows_max", shown)
    assert re.search(r"area of http_log +12\.0 KiB", shown)
    two = microbox("check", "chain.yaml", "--workers", "2", "--json").json["memory"]
    assert two["total"] == 2 * one["total"]
    assert "for each worker" in microbox("check", "chain.yaml", "--workers", "2").out


def test_a_budget_that_the_limits_go_beyond_is_an_error_of_the_file(
    microbox: Microbox, write: Write
) -> None:
    write("chain.yaml", CHAIN + "memory_max: 1MiB\n")
    for verb in ("check", "run"):
        ran = microbox(verb, "chain.yaml")
        assert ran.status == 2
        assert ran.err.startswith("chain.yaml:6:13: `memory_max` is 1.0 MiB, and at its limits ")
        assert "the largest parts: flows " in ran.err
        assert "(`stack.flows_max`)" in ran.err
    (error,) = microbox("check", "chain.yaml", "--json").json["errors"]
    assert (error["line"], error["column"]) == (6, 13)
    assert error["hint"].startswith("lower limits take less; the largest parts: ")


def test_a_budget_that_is_kept_is_shown(microbox: Microbox, write: Write) -> None:
    write("chain.yaml", CHAIN + "memory_max: 1MiB\n")
    ran = microbox("check", "chain.yaml", "--set", "memory_max=4GiB")
    assert ran.status == 0
    assert re.search(r"in all +\S+ MiB +of 4.0 GiB \(`memory_max`\)", ran.out)
    memory = microbox("check", "chain.yaml", "--set", "memory_max=4GiB", "--json").json["memory"]
    assert memory["limit"] == 4 << 30
    assert memory["total"] < memory["limit"]
    refused = microbox("check", "chain.yaml", "--set", "memory_max=2MiB")
    assert refused.err.startswith("--set memory_max: `memory_max` is 2.0 MiB, ")


SWITCHING = """\
    from microbox import NetworkFunction, on


    class Switching(NetworkFunction):
        @on("tcp.data", "udp.datagram", initially=False)
        def read(self, event):
            event.flow.unsubscribe()

        @on("tcp.start", switch=True)
        def start_of(self, event):
            event.flow.subscribe("tcp.data", "udp.datagram")
    """


def test_what_can_be_switched_for_a_flow_is_explained(microbox: Microbox, write: Write) -> None:
    write("switching.py", SWITCHING)
    write(
        "chain.yaml",
        "input: sample.pcap\nchain: [./switching.py]\nstack: {command_delay: 500}\n",
    )
    ran = microbox("check", "chain.yaml")
    assert (ran.status, ran.err) == (0, "")
    shown = " ".join(ran.out.split())
    for part in (
        "tcp.data, udp.datagram (switched for each flow: from a subscription on)",
        "tcp.start (switched for each flow: until unsubscribed from)",
        "tcp.data, udp.datagram: tcp.monitor + tcp.stream in flows of TCP",
        "tcp.data, udp.datagram: udp in flows of UDP",
        "tcp.start: tcp.monitor in flows of TCP",
        "the stack obeys 500 packets later, and is never further ahead of it",
    ):
        assert part in shown

    (nf,) = microbox("check", "chain.yaml", "--json").json["nfs"]
    assert nf["commands"]
    read, start = nf["subscriptions"]
    assert read["switch"] == {"initially": False, "after_packets": 500}
    assert read["modules"] == {"tcp": ["tcp.monitor", "tcp.stream"], "udp": ["udp"]}
    assert start["switch"] == {"initially": True, "after_packets": 500}


def test_another_capture_in_place_of_the_files(microbox: Microbox, write: Write) -> None:
    write("chain.yaml", "input: nothing.pcap\nchain: [flow_log]\n")
    assert microbox("check", "chain.yaml").status == 2
    assert microbox("check", "chain.yaml", "-r", "sample.pcap").status == 0


@pytest.mark.parametrize("verb", ["check", "run"])
def test_settings_in_place_of_the_files(microbox: Microbox, write: Write, verb: str) -> None:
    write("chain.yaml", "input: sample.pcap\nchain: [flow_log]\n")
    ran = microbox(verb, "chain.yaml", "--set", "chain.flow_log.topp=1", "--set", "workers=0")
    assert ran.status == 2
    assert ran.err.splitlines() == [
        "--set chain.flow_log.topp: flow_log: unknown parameter 'topp'; did you mean 'top'?",
        "--set workers: `workers` is 0 (a whole number); expected how many workers share out the "
        "packets, 1 to 64",
        "2 errors",
    ]
    ran = microbox(verb, "chain.yaml", "--json", "--set", "chain.flow_log.name=flows")
    assert [nf["name"] for nf in ran.json["nfs"]] == ["flows"]


def test_the_settings_in_effect_come_to_the_same_plan(
    microbox: Microbox, write: Write, folder: Path
) -> None:
    (folder / "elsewhere").mkdir()
    write("web.rules", "")
    write("chain.yaml", "input: sample.pcap\nchain: [{nf: ids, rules: web.rules}, block_telnet]\n")
    ran = microbox("check", "chain.yaml", "--dump", "--set", "stack.tcp_timeout=90s")
    assert (ran.status, ran.err) == (0, "")
    assert "\n  tcp_timeout: 90s\n" in ran.out
    assert f"\n  rules: {folder / 'web.rules'}\n" in ran.out
    write("elsewhere/dumped.yaml", ran.out)
    again = microbox("check", "elsewhere/dumped.yaml", "--dump")
    assert again.out == ran.out
    plan = microbox("check", "elsewhere/dumped.yaml", "--json").json
    assert plan["settings"]["tcp_timeout"] == 90_000_000_000
    assert [nf["name"] for nf in plan["nfs"]] == ["ids", "block_telnet", "alert_log"]


def test_an_input_that_is_no_capture(microbox: Microbox, write: Write) -> None:
    write("notes.txt", "this is not a capture, but it is long enough to be one\n")
    write("chain.yaml", "input: notes.txt\nchain: [flow_log]\n")
    ran = microbox("check", "chain.yaml")
    assert (ran.status, ran.out) == (2, "")
    assert ran.err.startswith("chain.yaml:1:8: notes.txt: ")


def test_what_is_wrong_with_the_file_and_with_the_nfs_comes_together(
    microbox: Microbox, write: Write
) -> None:
    write("raises.py", "import microbox\n\nraise RuntimeError('not today')\n")
    write("empty.py", "value = 1\n")
    write("broken.py", "def :\n")
    write(
        "nf.py",
        """\
        from microbox import NetworkFunction, on


        class Web(NetworkFunction):
            threshold: int = 3

            @on("tcp.start", filter="tcp prot 80")
            def begin(self, event):
                pass
        """,
    )
    write(
        "typo.py",
        """\
        from microbox import NetworkFunction, on


        class Typo(NetworkFunction):
            @on("tcp.dta")
            def read(self, event):
                pass
        """,
    )
    write(
        "chain.yaml",
        """\
        input: sample.pca
        chain:
          - {nf: ./nf.py, treshold: 5}
          - ./raises.py
          - ./empty.py
          - ./broken.py
          - ./typo.py
          - flow_lgo
        """,
    )
    ran = microbox("check", "chain.yaml")
    assert (ran.status, ran.out) == (2, "")
    lines = ran.err.splitlines()
    for begin in (
        "chain.yaml:1:8: no such file 'sample.pca'; expected a capture file (pcap or pcapng); "
        "did you mean 'sample.pcap'?",
        "chain.yaml:3:19: nf: unknown parameter 'treshold'; did you mean 'threshold'?",
        "nf.py:7:29: filter 'tcp prot 80': ",
        "raises.py:3:1: 'raises' cannot be loaded: raises.py: RuntimeError: not today",
        "chain.yaml:5:5: 'empty' cannot be loaded: ",
        "broken.py:1:5: this is not Python: invalid syntax",
        "typo.py:5:1: 'typo' cannot be loaded: Typo.read (typo.py:5): unknown event type "
        "'tcp.dta'; did you mean 'flow.tcp.data'",
        "chain.yaml:8:5: no built-in NF is called 'flow_lgo'; ",
    ):
        assert any(line.startswith(begin) for line in lines), begin
    assert "    RuntimeError: not today" in lines
    assert lines[-1] == "8 errors"


def test_what_is_wrong_for_programs(microbox: Microbox, write: Write) -> None:
    write("chain.yaml", "input: sample.pcap\nchain: [flow_lgo]\n")
    ran = microbox("check", "chain.yaml", "--json")
    assert ran.status == 2
    (error,) = ran.json["errors"]
    assert (error["file"], error["line"], error["column"]) == ("chain.yaml", 2, 9)
    assert error["hint"] == "did you mean 'flow_log'?"


def test_the_order_of_publisher_and_reader(microbox: Microbox, write: Write) -> None:
    write("chain.yaml", "input: sample.pcap\nchain:\n  - alert_log\n  - block_telnet\n")
    ran = microbox("check", "chain.yaml")
    assert ran.status == 2
    assert ran.err == (
        "chain.yaml:3:5: 'alert_log' subscribes to 'alert', which 'block_telnet' (line 4) "
        "publishes behind it; expected 'block_telnet' in front of 'alert_log'\n"
    )


def test_an_nf_whose_process_dies_is_named(microbox: Microbox, write: Write) -> None:
    write("dies.py", "import os\nprint('last words', flush=True)\nos._exit(3)\n")
    write("chain.yaml", "input: sample.pcap\nchain: [./dies.py]\n")
    ran = microbox("check", "chain.yaml")
    assert ran.status == 2
    assert ran.err == (
        "chain.yaml:2:9: 'dies' cannot be loaded: its process ended with status 3\n    last words\n"
    )


@pytest.mark.parametrize("verb", ["check", "run"])
def test_run_and_check_complain_alike(microbox: Microbox, write: Write, verb: str) -> None:
    write("chain.yaml", "input: sample.pcap\nchain: [{nf: flow_log, topp: 3}]\n")
    ran = microbox(verb, "chain.yaml")
    assert ran.status == 2
    assert ran.err == ("chain.yaml:2:24: flow_log: unknown parameter 'topp'; did you mean 'top'?\n")


def test_events_with_conditions(microbox: Microbox, write: Write) -> None:
    write(
        "gets.py",
        """\
        from microbox import NetworkFunction, event, on


        class Gets(NetworkFunction):
            '''Gets.'''

            get = event("tcp.data.get", when='data startswith "GET "')

            @on(get)
            def see(self, event):
                pass
        """,
    )
    write(
        "chain.yaml",
        """\
        input: sample.pcap
        events: {tcp.start.web: destination_port == 80}
        chain: [./gets.py]
        """,
    )
    ran = microbox("check", "chain.yaml")
    assert (ran.status, ran.err) == (0, "")
    text = " ".join(ran.out.split())
    assert "Events with conditions" in text
    assert 'data.get where data startswith "GET "' in text
    assert "start.web where destination_port == 80 (nobody reads it: it is not looked for)" in text
    assert "tcp.stream gets (data.get)" in text
    assert microbox("check", "chain.yaml", "--json").json["derived"] == [
        {
            "name": "flow.tcp.start.web",
            "condition": "destination_port == 80",
            "is_read": False,
        },
        {
            "name": "flow.tcp.data.get",
            "condition": 'data startswith "GET "',
            "is_read": True,
        },
    ]


def test_a_condition_that_makes_no_sense(microbox: Microbox, write: Write) -> None:
    write(
        "chain.yaml",
        """\
        input: sample.pcap
        chain: [flow_log]
        events:
          tcp.data.get: data startswith "GET " and destination_prt == 80
        """,
    )
    ran = microbox("check", "chain.yaml")
    assert ran.status != 0
    assert (
        "chain.yaml:4:44: event 'tcp.data.get': 'flow.tcp.data' has no field 'destination_prt'; "
        "did you mean 'destination_port'?"
    ) in " ".join(ran.err.split())


def test_an_nf_that_is_several_processes(microbox: Microbox, write: Write) -> None:
    write(
        "chain.yaml",
        """\
        input: sample.pcap
        chain: [{nf: block_telnet, instances: 2}, {nf: flow_log, instances: 3, spread_by: hosts}]
        """,
    )
    ran = microbox("check", "chain.yaml")
    assert (ran.status, ran.err) == (0, "")
    lines = [" ".join(line.split()) for line in ran.out.splitlines()]
    assert lines[0] == "chain.yaml: fine. sample.pcap, 3 NFs in 2 stages"
    assert "flow_log instances 3 processes, all flows of two hosts in one of them" in lines
    assert any("block_telnet x 2 (may drop)" in line for line in lines)
    assert [line for line in lines if line.startswith("flow_log waits for")] == [
        "flow_log waits for block_telnet: it may drop tcp"
    ]
    nfs = microbox("check", "chain.yaml", "--json").json["nfs"]
    assert [nf["name"] for nf in nfs][:3] == ["block_telnet.1", "block_telnet.2", "flow_log.1"]
    assert nfs[3]["instance"] == {"entry": "flow_log", "index": 1, "count": 3, "by": "hosts"}
    assert nfs[-1]["instance"] is None


def test_an_nf_in_shadow(microbox: Microbox, write: Write) -> None:
    write("chain.yaml", "input: sample.pcap\nchain: [{nf: block_telnet, shadow: true}, flow_log]\n")
    lines = [" ".join(line.split()) for line in microbox("check", "chain.yaml").out.splitlines()]
    assert any("block_telnet (in shadow)" in line for line in lines)
    assert "shadow what its verdicts would do is counted, and nothing comes of them" in lines
    assert not any("flow_log waits for" in line for line in lines)
    nfs = microbox("check", "chain.yaml", "--json").json["nfs"]
    assert [(nf["name"], nf["shadow"], nf["inline"]) for nf in nfs[:2]] == [
        ("block_telnet", True, False),
        ("flow_log", False, False),
    ]
