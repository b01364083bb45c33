"""What the plan knows of the core is what the core says."""

from __future__ import annotations

from microbox._core import ffi, lib
from microbox.chain.conditions.compiler import COUNTERS_MAX
from microbox.chain.derived import DERIVED_MAX
from microbox.chain.model import LOG_SLOTS_MIN
from microbox.chain.module_needs import MODULES
from microbox.chain.plan_errors import BITS_MAX, BITS_PER_NF_MAX, NFS_MAX
from microbox.chain.protocols import EVERYTHING, protocols_of
from microbox.chain.stack_settings import (
    CHECKSUMS,
    JUDGEMENTS,
    OVERLAP_POLICIES,
    URGENT_POLICIES,
    StackSettings,
)
from microbox.events.catalog import built_in


def test_limits_are_those_of_the_layout() -> None:
    assert BITS_MAX == lib.MB_SUBSCRIPTIONS_MAX
    assert NFS_MAX == lib.MB_NFS_MAX
    assert LOG_SLOTS_MIN == lib.MB_LOG_SLOTS_MIN
    (bits,) = (
        field.type.length
        for name, field in ffi.typeof("struct mb_reader_config").fields
        if name == "bit"
    )
    assert bits == BITS_PER_NF_MAX


def test_limits_of_derived_types_are_those_of_the_stack() -> None:
    assert DERIVED_MAX == lib.MB_DERIVED_MAX
    assert COUNTERS_MAX == lib.MB_CONDITION_COUNTERS_MAX


def test_settings_are_the_fields_of_the_stacks_configuration() -> None:
    fields = {name for name, _ in ffi.typeof("struct mb_stack_config").fields}
    assert set(StackSettings().as_settings()) == fields - {
        "hash_key",
        "link_type",
        "hosts",
        "host_count",
        "modules",
        "module_count",
        "derived",
        "derived_count",
        "assembled_bytes",
        "assembled_offset",
        "batch_bytes_max",
        "packets_before",
        "worker",
        "workers",
    }
    assert {f"MB_OVERLAP_{name.upper()}": value for name, value in OVERLAP_POLICIES.items()} == {
        name: value
        for value, name in ffi.typeof("enum mb_overlap_policy").elements.items()
        if name != "MB_OVERLAP_POLICIES"
    }
    assert JUDGEMENTS == {
        "ignore": lib.MB_JUDGEMENT_IGNORE,
        "report": lib.MB_JUDGEMENT_REPORT,
        "refuse": lib.MB_JUDGEMENT_REFUSE,
    }
    assert URGENT_POLICIES == {
        "inline": lib.MB_URGENT_INLINE,
        "out_of_band": lib.MB_URGENT_OUT_OF_BAND,
        "drop": lib.MB_URGENT_DROP,
    }
    assert CHECKSUMS == {
        "off": lib.MB_CHECKSUMS_OFF,
        "event": lib.MB_CHECKSUMS_EVENT,
        "drop": lib.MB_CHECKSUMS_DROP,
    }


def test_each_type_of_the_stack_comes_from_a_module_or_needs_none() -> None:
    producers = {one.producer for one in built_in().types if one.is_by_stack}
    assert producers - {"core", "worker", "bus"} == set(MODULES)


def test_each_type_of_the_stack_speaks_of_some_protocol() -> None:
    for one in built_in().types:
        if one.is_by_stack and not one.name.startswith(("timer", "system")):
            assert protocols_of(one.name), one.name
    assert protocols_of("flow.tcp.anomaly.overlap") == {"tcp"}
    assert protocols_of("packet.malformed") == EVERYTHING
