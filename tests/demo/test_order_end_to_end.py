"""`after` and `parallel` decide whose drops an NF sees."""

from __future__ import annotations

from pathlib import Path

from tests.conftest import Workbench

CHAIN = """
input: {capture}
chain:
  - {{nf: firewall, deny: [tcp dst port 80]}}
  - {{nf: flow_log, name: all_flows, after: []}}
  - parallel:
      - {{nf: firewall, name: policy, deny: [udp port 53]}}
      - {{nf: flow_log, name: beside_policy}}
  - {{nf: flow_log, name: behind_firewall, after: [firewall]}}
  - {{nf: flow_log, name: behind_both}}
"""


def test_an_nf_sees_what_those_drop_whom_it_does_not_wait_for(
    workbench: Workbench, demo: Path
) -> None:
    chain = workbench.folder / "chain.yaml"
    chain.write_text(CHAIN.format(capture=demo))
    result = workbench.run("run", chain, "--json")
    assert result.returncode == 0, result.stderr

    refused = {name: len(workbench.log(name)) for name in ("firewall", "policy")}
    flows = {
        name: len(workbench.log(name))
        for name in ("all_flows", "beside_policy", "behind_firewall", "behind_both")
    }
    assert all(count > 100 for count in refused.values())
    everything = flows["all_flows"]
    assert flows == {
        "all_flows": everything,
        "beside_policy": everything - refused["firewall"],
        "behind_firewall": everything - refused["firewall"],
        "behind_both": everything - refused["firewall"] - refused["policy"],
    }
