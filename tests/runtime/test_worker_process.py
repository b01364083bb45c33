"""What the worker's process makes of what it is told."""

from __future__ import annotations

import os
from ipaddress import ip_address
from typing import Any

import pytest

from microbox._core import ffi, lib
from microbox.channel.messages import HostNetwork, WorkerDerivedType
from microbox.nf.derivations import derived_rows
from microbox.runtime.processes.worker_process import host_rows
from microbox.testing import sample_capture


@pytest.mark.parametrize(
    ("address", "hops"),
    [("10.200.0.1", 1), ("10.1.255.255", 2), ("11.0.0.0", 0), ("2001:db8::1", 3), ("::", 0)],
)
def test_the_core_finds_hosts_in_the_networks_it_is_told(address: str, hops: int) -> None:
    networks = [
        HostNetwork("10.0.0.0/8", 0, 0, 1),
        HostNetwork("10.1.0.0/16", 0, 0, 2),
        HostNetwork("2001:db8::/32", 0, 0, 3),
    ]
    hosts = ffi.new("struct mb_hosts *")
    assert lib.mb_hosts_create(hosts, host_rows(networks), len(networks)) == 0
    octets = ip_address(address).packed
    mapped = (bytes(10) + b"\xff\xff" + octets)[-16:]
    found = lib.mb_hosts_find(hosts, mapped)
    lib.mb_hosts_destroy(hosts)
    assert found.hops == hops


def test_derived_types_as_the_core_takes_them() -> None:
    first = WorkerDerivedType(
        type=90, parent=0, bases=[3, 70], program=b"abc", step_count=2, counters=1
    )
    second = WorkerDerivedType(
        type=91, parent=90, bases=[3], program=bytes(16), step_count=1, counters=0
    )
    rows, programs = derived_rows([first, second])
    assert [(row.type, row.parent, row.counters) for row in rows] == [(90, 0, 1), (91, 90, 0)]
    assert list(rows[0].bases) == [1 << 3, 1 << 6, 0, 0, 0, 0, 0, 0]
    assert bytes(ffi.buffer(rows[0].program, rows[0].program_size)) == b"abc"
    assert rows[1].step_count == 1
    assert len(programs) == 2


def test_a_program_that_makes_no_sense_starts_no_stack() -> None:
    broken = WorkerDerivedType(
        type=400, parent=0, bases=[3], program=bytes(32), step_count=2, counters=0
    )
    rows, programs = derived_rows([broken])
    config = ffi.new("struct mb_worker_config *")
    config.stack.derived, config.stack.derived_count = rows, len(programs)
    assert (
        refusal(config) == "condition of derived type 400: the program does not end with one value"
    )


def refusal(config: Any) -> str:
    """Why a worker does not take its subscriptions."""
    error = ffi.new("char[]", lib.MB_ERROR_SIZE)
    capture = os.open(sample_capture(), os.O_RDONLY | os.O_CLOEXEC)
    source = lib.mb_source_open(capture, b"sample", error)
    config.log_slots, config.stack.link_type = 4096, 1
    worker = lib.mb_worker_create(config, source, ffi.NULL, error)
    status = lib.mb_worker_subscribe(worker, ffi.NULL, 0, ffi.NULL, 0, error)
    lib.mb_worker_destroy(worker)
    lib.mb_source_close(source)
    os.close(capture)
    assert status != 0
    return str(ffi.string(error).decode())
