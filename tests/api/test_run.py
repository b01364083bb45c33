"""`microbox.run`: a whole chain and its results."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import pytest

import microbox
from microbox import NetworkFunction
from tests.api.conftest import Interrupted

pytestmark = pytest.mark.usefixtures("nothing_left")

NF = '''
from microbox import NetworkFunction, on

class Speaks(NetworkFunction):
    """Prints, alerts."""

    word: str = "telnet"

    @on("tcp.start")
    def see(self, event):
        print(self.word, flush=True)
        self.alert(event, "a connection", signature="seen")
        self.record(event, number=event.packet)

    def finish(self):
        return {"word": self.word}
'''


@pytest.fixture
def speaks(tmp_path: Path) -> str:
    path = tmp_path / "speaks.py"
    path.write_text(NF)
    return str(path)


@pytest.mark.usefixtures("speaks")
def test_a_chain_file_is_run(
    sample: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    chain = tmp_path / "chain.yaml"
    chain.write_text(json.dumps({"input": "other.pcap", "chain": ["./speaks.py", "flow_log"]}))
    with microbox.run(chain, input=sample) as results:
        assert capsys.readouterr().out == "speaks: telnet\n"
        assert results.status == 0
        assert results.summary["input"]["packets"] == 12
        assert results.logs["speaks"][0]["number"] == 3
        assert [one["signature"] for one in results.alerts] == ["seen"]
        assert results.nfs["speaks"] == {"word": "telnet"}
        assert results.output is None
        assert "finished, 12 packets, 1 alerts" in repr(results)
        assert len(results.logs["flow_log"].columns()["src_ip"]) == 2
        assert results.logs["flow_log"].to_pandas()["dest_port"].tolist() == [80, 53]
    assert not results.directory.exists()


def test_a_dict_and_a_list_are_chains(
    speaks: str, sample: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "passed.pcap"
    chain = {
        "input": sample,
        "output": "unused.pcap",
        "chain": [{"nf": speaks, "word": "hello"}],
    }
    with microbox.run(chain, output=output, quiet=True) as results:
        assert results.nfs["speaks"] == {"word": "hello"}
        assert results.output == output
    assert capsys.readouterr().out == ""
    assert len(microbox.read(output, "packet")) == 12
    with microbox.run([speaks], input=sample, count=2, quiet=True) as results:
        assert results.summary["input"]["packets"] == 2
        assert len(results.alerts) == 0
        assert results.alerts.columns().names == ()


def test_logs_are_kept_where_a_directory_is_named(sample: Path, tmp_path: Path) -> None:
    with microbox.run(["flow_log"], input=sample, logs=tmp_path / "logs") as results:
        pass
    assert results.directory == tmp_path / "logs"
    assert (tmp_path / "logs" / "flow_log.jsonl").exists()


def test_a_run_that_fails_is_an_error_unless_it_may(sample: Path, tmp_path: Path) -> None:
    path = tmp_path / "raises.py"
    path.write_text(NF.replace("print(self.word, flush=True)", "1 / 0"))
    with pytest.raises(microbox.RunError, match="raises.*ZeroDivisionError") as error:
        microbox.run([str(path)], input=sample, quiet=True)
    assert error.value.status == 1
    results = microbox.run([str(path)], input=sample, quiet=True, check=False)
    assert results.status == 1
    assert results.summary["problems"][0]["handler"] == "see"
    directory = results.directory
    assert directory.exists()
    del results
    assert not directory.exists()


@pytest.mark.parametrize(
    ("chain", "message"),
    [
        (["flow_lgo"], r"\(chain\): no built-in NF is called 'flow_lgo'.*did you mean 'flow_log'"),
        ([{"nf": "flow_log", "nmae": 5}], r"\(chain\): .*nmae"),
        ({"chain": ["flow_log"]}, "sample.pcapp"),
        ("no/such/chain.yaml", "no/such/chain.yaml: no such file"),
    ],
)
def test_all_that_is_wrong_with_a_chain_is_said(chain: Any, message: str, sample: Path) -> None:
    capture = f"{sample}p" if isinstance(chain, dict) else sample
    with pytest.raises(microbox.RunError, match=message) as error:
        microbox.run(chain, input=capture)
    assert error.value.status == 2


def test_what_is_no_chain_is_said(sample: Path) -> None:
    class Mine(NetworkFunction):
        """Defined here."""

    with pytest.raises(TypeError, match=r"Mine is a class.*run_nf\(Mine, capture\)"):
        microbox.run([Mine], input=sample)
    with pytest.raises(TypeError, match="a chain is a path, a dict or a list, not 5"):
        microbox.run(5, input=sample)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="plain values"):
        microbox.run([{"nf": "ids", "rules": {1, 2}}], input=sample)


def test_several_run_at_once(sample: Path) -> None:
    seen: list[int] = []

    def work() -> None:
        with microbox.run(["flow_log"], input=sample) as results:
            seen.append(len(results.logs["flow_log"]))

    threads = [threading.Thread(target=work) for _ in range(3)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert seen == [2, 2, 2]


def test_ctrl_c_ends_it(interrupted: Interrupted, sample: Path, tmp_path: Path) -> None:
    path = tmp_path / "waits.py"
    path.write_text(
        NF.replace(
            "print(self.word, flush=True)",
            "print('x', flush=True); open('/dev/null'); import time; time.sleep(60)",
        )
    )
    script = f"""
import builtins, microbox, microbox.api.run as run
show = run._relay
run._relay = lambda said, quiet: print("ready")
microbox.run([{str(path)!r}], input={str(sample)!r})
"""
    assert interrupted(script).endswith("KeyboardInterrupt\n")


def test_records_outlive_the_results_that_nobody_kept(sample: Path) -> None:
    records = microbox.run(["flow_log"], input=sample).logs["flow_log"]
    assert len(records) == 2


def test_records_of_closed_results_say_where_they_went(sample: Path) -> None:
    with microbox.run(["flow_log"], input=sample) as results:
        read, unread = results.logs["flow_log"], results.alerts
        assert len(read) == 2
    assert len(read) == 2
    assert len(unread) == 0
    with microbox.run(["flow_log"], input=sample) as results:
        late = results.logs["flow_log"]
    with pytest.raises(ValueError, match=r"^flow_log\.jsonl went with the results.*logs=DIRECTORY"):
        len(late)
