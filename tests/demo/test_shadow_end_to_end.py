"""configs/shadow.yaml: what the stricter firewall would drop is what tshark finds, and the output
has it all but what the real one drops."""

from __future__ import annotations

from pathlib import Path

from tests.conftest import Tshark, Workbench

ROOT = Path(__file__).parents[2]

FLOOD = "(tcp || udp) && ip.addr == 203.0.113.0/24"
STRICTER = "(tcp || udp) && (ip.addr == 203.0.113.0/24 || ip.addr == 192.0.2.66 || tcp.port == 23)"


def test_what_would_be_dropped_is_counted_and_passes(
    workbench: Workbench, demo: Path, tshark: Tshark
) -> None:
    written = (ROOT / "configs" / "shadow.yaml").read_text()
    chain = workbench.folder / "shadow.yaml"
    chain.write_text(written.replace("../captures", str(ROOT / "captures")))

    result = workbench.run("run", chain, "--json")

    assert result.returncode == 0, result.stderr
    flood, stricter = (len(tshark(demo, one, "frame.number")) for one in (FLOOD, STRICTER))
    summary = workbench.summary()
    would = next(nf["shadow"] for nf in summary["nfs"] if nf["name"] == "stricter")
    assert sum(would["packets"].values()) == stricter > flood > 1000
    assert would["dropped_already"] == flood
    assert summary["output"]["packets"] == summary["input"]["packets"] - flood
