"""NFs in C do what the same NFs in Python do, and what they do wrong is said."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from microbox import DROP_FLOW, Event, NetworkFunction, on
from microbox.nf.errors import LoadError
from microbox.nf.load import load_class
from microbox.nf.manifest import manifest_of
from microbox.nf.shared_object import include_directory
from microbox.testing import Result, RunFailed, run_nf
from tests.nf.conftest import connection, udp

if TYPE_CHECKING:
    from tests.conftest import Workbench
    from tests.nf.conftest import MakeCapture

HERE = Path(__file__).parent / "c"
EXAMPLES = Path(__file__).parents[2] / "examples" / "c"
CORPUS = Path(__file__).parents[3] / "shared" / "corpus" / "dev"
CAPTURES = [
    "arkime__pcap__SNMPv2c_get_requests.pcap",
    "arkime__pcap__aerospike.pcap",
    "arkime__pcap__ah-esp.pcap",
]

PRELUDE = """
#include "microbox/include/microbox_nf.h"
static void finish(struct mb_nf *nf) { mb_summarize(nf, mb_uint("value", *(uint64_t *)nf->state)); }
static enum mb_verdict see(struct mb_nf *nf, const struct mb_event *event) {
    (void)event;
    uint64_t *value = nf->state;
    (void)value;
    %s
}
const struct mb_nf_descriptor microbox_nf = {
    .abi = MB_NF_ABI, .name = "small", .doc = "A small one.", .state_size = sizeof(uint64_t),
    .finish = finish, %s
};
"""


@pytest.fixture
def small(tmp_path: Path) -> Any:
    """`small(body, rest)`: the file of an NF with one handler `see`, which has this body; `rest` of
    the descriptor."""

    def write(
        body: str, rest: str = '.handlers = {{.name = "see", .types = {"packet"}, .call = see}}'
    ) -> Path:
        path = tmp_path / "small.c"
        path.write_text(PRELUDE % (body, rest))
        return path

    return write


def same(first: Result, second: Result) -> None:
    assert first.records == second.records
    assert first.alerts == second.alerts
    assert first.published == second.published
    assert first.verdicts == second.verdicts
    assert first.summary == second.summary
    assert first.output == second.output
    assert first.problems == second.problems == []


# --- as in Python ---


def test_all_that_it_may_do_is_done_as_in_python(demo: Path) -> None:
    in_python = run_nf(HERE / "chatty.py", demo, most=3, loud=True)
    in_c = run_nf(HERE / "chatty.c", demo, most=3, loud=True)
    assert in_python.alerts
    assert in_python.published
    same(in_python, in_c)


@pytest.mark.parametrize("name", CAPTURES)
def test_captures_of_the_corpus_give_the_same(name: str) -> None:
    if not CORPUS.is_dir():
        pytest.skip("the corpus is not beside the checkout")
    same(run_nf(HERE / "count.py", CORPUS / name), run_nf(EXAMPLES / "count.c", CORPUS / name))


def test_whole_runs_leave_the_same_logs_byte_by_byte(workbench: Workbench, demo: Path) -> None:
    logs, reports = [], []
    for source in (HERE / "chatty.py", HERE / "chatty.c"):
        shutil.copy(source, workbench.folder)
        entries = [{"nf": f"./{source.name}", "most": 2}, "alert_log"]
        chain = workbench.chain(*entries, capture=demo, logs={"utc": source.suffix == ""})
        result = workbench.run("run", chain)
        assert result.returncode == 0, result.stderr
        folder = workbench.folder / "microbox-logs"
        logs.append([(folder / f"{one}.jsonl").read_bytes() for one in ("chatty", "alert_log")])
        reports.append(workbench.summary()["nfs"])
    assert logs[0] == logs[1]
    assert logs[0][0].count(b"\n") > 100
    assert [without_times(one) for one in reports[0]] == [without_times(one) for one in reports[1]]


def without_times(report: dict[str, Any]) -> dict[str, Any]:
    """What an NF's report says of what it did, however long that took."""
    return {key: value for key, value in report.items() if key not in ("sleeps", "polls")}


class Refuse(NetworkFunction):
    """What examples/c/block_port.c does, in Python."""

    port: int = 23

    def start(self) -> None:
        self.blocked = 0

    @on("tcp.start")
    def refuse(self, event: Event) -> Any:
        if event.destination_port != self.port:
            return None
        self.blocked += 1
        message = "connection to a blocked port"
        self.publish(
            "alert", event, message=message, signature="blocked_port", nf="block_port", severity=2
        )
        return DROP_FLOW

    publishes = ("alert",)

    def finish(self) -> dict[str, int]:
        return {"blocked": self.blocked}


def test_an_inline_nf_drops(demo: Path) -> None:
    result = run_nf(EXAMPLES / "block_port.c", demo, port=80)
    assert result.verdicts[DROP_FLOW] == result.summary["blocked"] > 0
    same(run_nf(Refuse, demo, port=80), result)


def test_it_edits_packets_and_sees_edits_of_others(small: Any, capture: MakeCapture) -> None:
    editor = small(
        """
        if (event->data_length < 5 || mb_replace_bytes(nf, event, 1, "EL", 2) != 0)
            return MB_PASS;
        mb_edit_packet(nf, event, &(struct mb_edit){.fields = MB_EDIT_IP_TTL, .ip_ttl = 7,
                                                    .tags_pushed = 1, .tags = {{0x8100, 9}}});
        return MB_PASS;
        """,
        '.handlers = {{.name = "see", .types = {"udp.datagram"}, .call = see}}, '
        ".edits = MB_NF_EDITS_PAYLOAD",
    )
    watcher = editor.with_name("watcher.c")
    body = "*value = 1000 * event->data[1] + event->frame_length; return MB_PASS;"
    rest = '.handlers = {{.name = "see", .types = {"udp.datagram"}, .call = see}}'
    watcher.write_text(PRELUDE % (body, rest))
    result = run_nf([editor, watcher], capture([udp(b"hello")]))
    (packet,) = result.output
    assert packet.data[12:16] == bytes.fromhex("81000009")
    assert (packet.data[26], packet.data[-5:]) == (7, b"hELlo")
    assert result.summary == {"value": 1000 * ord("E") + len(packet.data)}


def test_a_drop_of_bytes_drops_the_flow(small: Any, capture: MakeCapture) -> None:
    source = small(
        "return MB_DROP;",
        '.is_inline = true, .handlers = {{.name = "see", .types = {"tcp.data"}, .call = see}}',
    )
    frames = connection([b"one", b"two"])
    result = run_nf(source, capture(frames))
    assert result.verdicts == {DROP_FLOW: 1}
    assert len(result.output) == 3


def test_values_are_written_as_python_writes_them(small: Any, capture: MakeCapture) -> None:
    values = "0.0 -0.0 0.1 1e-4 1e-5 123456.789 1e15 1e16 1.5e300 5e-324 1e22 0.3333333333333333"
    numbers = [float(one) for one in values.split()]
    texts = [
        b'"\\/\b\t\n\f\r\x01\x7f',
        "ä€𝄞".encode(),
        b"\xff\xc0\x80\xed\xa0\x80\xf4\x90\x80\x80a",
    ]
    fields = [f'mb_float("f{i}", {one!r})' for i, one in enumerate(numbers)]
    for i, text in enumerate(texts):
        escaped = "".join(f"\\{octet:03o}" for octet in text)
        fields.append(f'mb_bytes("t{i}", "{escaped}", {len(text)})')
    source = small(f"mb_record(nf, event, {', '.join(fields)}); return MB_PASS;")
    path = capture([udp(b"")])

    class Written(NetworkFunction):
        inline = commands = False

        @on("packet")
        def see(self, event: Event) -> None:
            named = {f"f{i}": one for i, one in enumerate(numbers)}
            self.record(event, **named, **{f"t{i}": one for i, one in enumerate(texts)})

    in_c, in_python = run_nf(source, path).records, run_nf(Written, path).records
    assert [*map(repr, in_c)] == [*map(repr, in_python)]


# --- what goes wrong ---


@pytest.mark.parametrize(
    ("body", "rest", "message"),
    [
        ("return 9;", "", "returned 9: expected a verdict"),
        ("return MB_DROP;", "", "write .is_inline = true"),
        ('mb_fail(nf, "no luck"); return MB_PASS;', "", "no luck"),
        (
            'mb_publish(nf, event, "alert", mb_int("severity", 1)); return MB_PASS;',
            "",
            "add it to .publishes",
        ),
        (
            'mb_publish(nf, event, "alert", mb_int("sevrity", 1)); return MB_PASS;',
            '.publishes = {"alert"},',
            "field 'sevrity' is no field of the type",
        ),
        (
            'mb_publish(nf, event, "alert", mb_int("severity", -1)); return MB_PASS;',
            '.publishes = {"alert"},',
            "field 'severity' cannot hold",
        ),
        ('mb_alert(nf, event, "a", "b", 1); return MB_PASS;', "", '.publishes = {"alert"}'),
        (
            'mb_alert(nf, event, "a", "b", 5); return MB_PASS;',
            '.publishes = {"alert"},',
            "severity is 1, 2, 3 or 4, not 5",
        ),
        ('mb_record(nf, event, mb_int("proto", 1)); return MB_PASS;', "", "line has already"),
        ('mb_record(nf, event, mb_float("f", 0.0 / 0.0)); return MB_PASS;', "", "finite number"),
        ("mb_unsubscribe(nf, event); return MB_PASS;", "", "write .leaves_flows = true"),
        ("mb_flow_state(nf, event); return MB_PASS;", "", "write .flow_state_size"),
        (
            "struct mb_event e = *event; mb_record_fields(nf, &e, NULL, 0); return MB_PASS;",
            "",
            "not the event that is being handled",
        ),
    ],
)
def test_what_cannot_be_done_stops_the_nf_with_a_sentence(
    small: Any, capture: MakeCapture, body: str, rest: str, message: str
) -> None:
    handlers = '.handlers = {{.name = "see", .types = {"packet"}, .call = see}}'
    with pytest.raises(RunFailed) as failed:
        run_nf(small(body, rest + handlers), capture([udp(b"")]))
    assert message in str(failed.value)


def test_with_on_error_skip_it_goes_on_and_the_first_ones_are_told(
    small: Any, capture: MakeCapture
) -> None:
    source = small('++*value; mb_fail(nf, "no luck"); return MB_DROP;')
    result = run_nf(source, capture([udp(b"")] * 8), on_error="skip")
    assert result.summary == {"value": 8}
    assert result.verdicts == {}
    told = [(one.handler, one.error) for one in result.problems]
    assert told == [("see", "no luck")] * 5 + [("see", "failed 8 times in all")]
    assert "packet 1" in result.problems[0].event


def test_all_handlers_of_an_event_are_called_though_one_fails(
    small: Any, capture: MakeCapture
) -> None:
    source = small(
        'if (++*value % 2) mb_fail(nf, "odd"); return MB_PASS;',
        '.handlers = {{.name = "first", .types = {"packet"}, .call = see},'
        '{.name = "second", .types = {"packet.ip.udp"}, .call = see}}',
    )
    result = run_nf(source, capture([udp(b"")] * 2), on_error="skip")
    assert result.summary == {"value": 4}
    assert [one.handler for one in result.problems] == ["first", "first"]


def test_a_start_that_fails_ends_the_nf(small: Any, capture: MakeCapture) -> None:
    rest = '.start = begin, .handlers = {{.name = "see", .types = {"packet"}, .call = see}}'
    source = small("return MB_PASS;", rest)
    begin = 'static void begin(struct mb_nf *nf) { mb_fail(nf, "no licence"); }'
    descriptor = "const struct mb_nf_descriptor"
    text = source.read_text().replace(descriptor, f"{begin}\n{descriptor}")
    source.write_text(text)
    with pytest.raises(RunFailed, match="no licence"):
        run_nf(source, capture([udp(b"")]))


def test_what_is_published_waits_for_readers_and_nothing_is_handled_twice(
    small: Any, demo: Path
) -> None:
    source = small(
        """
        char text[4096] = {0};
        ++*value;
        mb_publish(nf, event, "tcp.data.long", mb_bytes("text", text, sizeof text));
        return MB_PASS;
        """,
        '.publishes = {"tcp.data.long"},'
        '.declares = {{.name = "tcp.data.long", .fields = {{"text", "text"}}}},'
        '.handlers = {{.name = "see", .types = {"tcp.data"}, .call = see}}',
    )
    result = run_nf(source, demo)
    assert result.summary["value"] == len(result.published) > 1000


def test_flows_beyond_the_cap_have_no_state_and_are_counted(
    small: Any, capture: MakeCapture
) -> None:
    source = small(
        "*value += mb_flow_state(nf, event) != NULL; return MB_PASS;",
        ".flow_state_size = 8, .flow_states_max = 2,"
        '.handlers = {{.name = "see", .types = {"tcp.start"}, .call = see}}',
    )
    frames = [connection([], port=1000 + port)[0] for port in range(5)]
    result = run_nf(source, capture(frames))
    assert result.summary == {"value": 2}
    assert [one.error for one in result.problems] == [
        "3 times a flow got no state: 2 had one (flow_states_max)"
    ]


def test_flows_that_have_ended_take_no_state_from_others(small: Any, capture: MakeCapture) -> None:
    source = small(
        "uint64_t *state = mb_flow_state(nf, event);"
        "*value += state != NULL && *state == 0; if (state) *state = 1; return MB_PASS;",
        ".flow_state_size = 8, .flow_states_max = 8,"
        '.handlers = {{.name = "see", .types = {"tcp.start"}, .call = see}}',
    )
    # Each is gone when the next but one comes. Their blocks come back with a later poll, which
    # brings up to 4,096 events where the NF is behind.
    frames = [connection([], port=1000 + port)[0] for port in range(8000)]
    waits = {"tcp_opening_timeout": "1 ms", "tcp_unanswered_timeout": "1 ms"}
    result = run_nf(source, capture(frames), stack=waits)
    assert result.summary["value"] == len(frames)
    assert not result.problems


# --- what is no NF ---


def test_what_the_compiler_says_is_shown_whole(small: Any) -> None:
    with pytest.raises(LoadError, match="small.c does not compile") as error:
        load_class(small("return nothing;"))
    assert "small.c:8" in error.value.traceback
    assert "nothing" in error.value.traceback


def test_without_a_compiler_it_is_said_what_to_install(
    small: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CC", raising=False)
    with pytest.raises(LoadError, match="no C compiler") as error:
        load_class(small("return MB_PASS;"))
    assert "apt-get install gcc" in error.value.hint


def test_cc_says_which_compiler_with_its_options(
    small: Any, capture: MakeCapture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CC", "cc -DVALUE=7")
    result = run_nf(small("*value = VALUE; return MB_PASS;"), capture([udp(b"")]))
    assert result.summary == {"value": 7}
    monkeypatch.setenv("CC", "no_such_compiler")
    with pytest.raises(LoadError, match="'no_such_compiler' cannot be run"):
        load_class(small("return MB_PASS;"))


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        (
            ".abi = MB_NF_ABI",
            ".abi = {7, 1, 2, 3}",
            "it was built for version 7 of microbox_nf.h, this is version 2; build it anew",
        ),
        (".abi = MB_NF_ABI", ".abi = {2, 1, 2, 3}", "structs of 1, 2 and 3 bytes"),
        ("microbox_nf =", "other_name =", "it exports no `const struct mb_nf_descriptor"),
        ('.name = "small"', '.name = "smäll"', "its name is no word"),
        ('{.name = "see",', "{", "it handles nothing"),
        (".call = see}", "}", "a handler has no `call`"),
        ('.types = {"packet"},', "", "either `types` or `every`"),
        ('"packet"', '"paket"', "small.see (small.c:12): unknown event type 'paket'"),
        ('.name = "see"', '.name = "start"', "the name 'start' is taken"),
        (
            ".finish = finish",
            '.parameters = {{.name = "p", .type = MB_PARAMETER_INT, .offset = 4}}',
            "a parameter lies outside the state",
        ),
        (
            ".finish = finish",
            '.parameters = {{.name = "p", .type = MB_PARAMETER_INT, .or_else = "some"}}',
            "small.p: the default is wrong: expected int, got 'some'",
        ),
        (".finish = finish", '.publishes = {"packet"}', "'packet' cannot be published by an NF"),
    ],
)
def test_what_is_wrong_with_a_descriptor_is_said(
    small: Any, before: str, after: str, message: str
) -> None:
    source = small("return MB_PASS;")
    text = source.read_text()
    assert before in text
    source.write_text(text.replace("extern", "").replace(before, after))
    with pytest.raises(LoadError) as error:
        load_class(source)
    assert message in str(error.value)


def test_a_ready_shared_object_is_taken_as_it_is(tmp_path: Path, capture: MakeCapture) -> None:
    made = tmp_path / "count.so"
    command = ["cc", "-shared", "-fPIC", f"-I{include_directory()}", "-o", str(made)]
    subprocess.run([*command, str(EXAMPLES / "count.c")], check=True)
    assert run_nf(made, capture([udp(b"")])).summary["packets"] == 1


def test_it_says_what_it_is() -> None:
    manifest = manifest_of(load_class(EXAMPLES / "block_port.c"))
    assert (manifest.class_name, manifest.is_inline) == ("block_port", True)
    assert manifest.publishes == ["alert"]
    assert [(one.name, one.annotation, one.default) for one in manifest.parameters] == [
        ("port", "int", 23)
    ]


# --- whole chains ---


@pytest.mark.parametrize(("sandbox", "is_taken_in"), [("on", False), ("off", True)])
def test_the_compiler_takes_in_the_files_of_the_nf_alone(
    workbench: Workbench, sandbox: str, is_taken_in: bool
) -> None:
    """What is in the file is not trusted, and the compiler reads what it says."""
    folder = workbench.folder / "nfs"
    folder.mkdir()
    (folder / "beside.h").write_text("#define FOUND 1\n")
    (workbench.folder / "secret").write_text("what the file is not to know")
    source = (EXAMPLES / "count.c").read_text()
    (folder / "count.c").write_text(
        f'#include "beside.h"\n{source}\n__asm__(".incbin \\"{workbench.folder}/secret\\"");\n'
    )
    chain = workbench.folder / "chain.yaml"
    capture = Path(__file__).parents[2] / "captures" / "sample.pcap"
    switch = "\nsandbox: off" if sandbox == "off" else ""
    chain.write_text(f"input: {capture}\nchain: [./nfs/count.c]{switch}\n")
    result = workbench.run("check", chain)
    assert (result.returncode == 0) == is_taken_in, result.stderr
    assert ("secret" in result.stderr) != is_taken_in


def test_a_wrong_parameter_and_a_compile_error_are_said_at_the_chains_lines(
    workbench: Workbench,
) -> None:
    shutil.copy(EXAMPLES / "count.c", workbench.folder)
    (workbench.folder / "broken.c").write_text("int f(void) { return 1 }\n")
    chain = workbench.folder / "chain.yaml"
    capture = Path(__file__).parents[2] / "captures" / "sample.pcap"
    chain.write_text(f"input: {capture}\nchain:\n  - {{nf: ./count.c, least: 3}}\n  - ./broken.c\n")
    result = workbench.run("check", chain)
    assert result.returncode != 0
    assert "chain.yaml:3:" in result.stderr
    assert "did you mean 'least_bytes'?" in result.stderr
    assert "chain.yaml:4:5: 'broken' cannot be loaded: broken.c does not compile" in result.stderr
    assert "expected" in result.stderr


def test_its_parameters_and_event_types_are_shown(workbench: Workbench) -> None:
    shutil.copy(HERE / "chatty.c", workbench.folder)
    shown = workbench.run("nfs", "./chatty.c").stdout
    assert "most: int, must be given" in shown
    assert "share: float, default 0.1" in shown
    chain = workbench.chain({"nf": "./chatty.c", "most": 1})
    shown = workbench.run("events", "tcp.data.said", "--chain", chain).stdout
    assert "begin" in shown
    assert "i64" in shown


def test_it_is_confined_as_one_in_python(workbench: Workbench, small: Any) -> None:
    small("extern int fork(void); *value += fork() < 0; return MB_PASS;")
    result = workbench.run("run", workbench.chain("./small.c"))
    assert result.returncode == 0, result.stderr
    (report,) = workbench.summary()["nfs"]
    assert report["summary"] == {"value": 12}


def test_a_crash_is_reported_with_its_signal_and_handler(workbench: Workbench, small: Any) -> None:
    small("*(volatile int *)0 = 1; return MB_PASS;")
    result = workbench.run("run", workbench.chain("./small.c", "packet_sizes"))
    assert "crashed with SIGSEGV in see, at packet 1" in result.stdout + result.stderr
    assert "small was killed by SIGSEGV" in result.stderr
    outcomes = {one["name"]: one["outcome"] for one in workbench.summary()["nfs"]}
    assert outcomes["packet_sizes"] == "finished"


# --- the header ---


@pytest.mark.parametrize("compiler", ["cc -std=c11 -x c", "c++ -std=c++20 -x c++"])
def test_the_header_stands_alone_without_a_warning(compiler: str) -> None:
    command = [*compiler.split(), "-Wall", "-Wextra", "-Wpedantic", "-Werror", "-fsyntax-only"]
    if shutil.which(command[0]) is None:
        pytest.skip(f"{command[0]} is not installed")
    source = '#include "microbox/include/microbox_nf.h"\n'
    command += [f"-I{include_directory()}", "-"]
    done = subprocess.run(command, input=source, text=True, capture_output=True, check=False)
    assert done.stderr == ""
