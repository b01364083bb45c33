"""`microbox nfs`: what comes with microbox."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

Microbox = Callable[..., Any]


def test_a_line_for_each_nf(microbox: Microbox) -> None:
    ran = microbox("nfs")
    assert (ran.status, ran.err) == (0, "")
    names = [line.split()[0] for line in ran.out.splitlines() if not line.startswith(" ")]
    assert names == sorted(names)
    assert {"flow_log", "http_log", "dns_log", "ids", "port_scan", "alert_log"} <= set(names)
    telnet = next(line for line in ran.out.splitlines() if line.startswith("block_telnet"))
    assert "Drop new connections to port 23." in telnet


def test_one_nf_in_full(microbox: Microbox) -> None:
    ran = microbox("nfs", "port_scan")
    assert (ran.status, ran.err) == (0, "")
    assert "  threshold: int, default 20  different ports" in ran.out
    assert "  tcp.start, udp.start → begin" in ran.out
    assert "Publishes\n  alert" in ran.out


def test_a_parameter_that_must_be_given_and_an_inline_nf(microbox: Microbox) -> None:
    assert "  rules: Path, must be given" in microbox("nfs", "ids").out
    assert "Inline: it may drop packets." in microbox("nfs", "firewall").out


def test_a_file_of_the_users_own(microbox: Microbox, folder: Path) -> None:
    (folder / "mine.py").write_text(
        "from microbox import NetworkFunction, every\n\n\n"
        "class Mine(NetworkFunction):\n"
        '    """Count seconds."""\n\n'
        "    @every(0.5)\n"
        "    def tick(self):\n"
        "        pass\n"
    )
    ran = microbox("nfs", "./mine.py")
    assert ran.status == 0
    assert "Count seconds." in ran.out
    assert "  every 500ms → tick" in ran.out


def test_nfs_for_programs(microbox: Microbox) -> None:
    (ids,) = microbox("nfs", "ids", "--json").json
    assert ids["class"] == "Ids"
    assert ids["publishes"] == ["alert"]
    rules = ids["parameters"][0]
    assert (rules["name"], rules["type"], rules["required"]) == ("rules", "Path", True)


def test_an_nf_that_does_not_exist(microbox: Microbox) -> None:
    ran = microbox("nfs", "port_scna")
    assert (ran.status, ran.out) == (2, "")
    assert ran.err == (
        "nfs: no built-in NF is called 'port_scna'; expected a name that `microbox nfs` lists; "
        "did you mean 'port_scan'?\n"
    )


def test_a_file_that_cannot_be_loaded(microbox: Microbox, folder: Path) -> None:
    (folder / "raises.py").write_text("import nothing_of_this_name\n")
    ran = microbox("nfs", "./raises.py")
    assert ran.status == 2
    assert ran.err.startswith(
        "raises.py:1:1: 'raises' cannot be loaded: raises.py: ModuleNotFoundError: "
    )


def test_what_the_runtime_reads_for_itself_is_not_shown(microbox: Microbox) -> None:
    assert "flow state" not in microbox("nfs", "ids").out
    [ids] = microbox("nfs", "ids", "--json").json
    assert [one["handler"] for one in ids["subscriptions"]] == ["search", "gap", "end"]
