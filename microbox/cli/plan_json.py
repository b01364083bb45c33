"""A plan for programs: `microbox check --json`."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from microbox.chain.plan import Plan, PlannedNF
    from microbox.channel.messages import HandlerDeclaration


def plan_as_json(plan: Plan) -> dict[str, Any]:
    """The plan with stable keys (docs/guide/cli.md)."""
    from microbox.confine.support import missing_parts

    files = {one.name: str(one.source) for one in plan.chain.modules}
    return {
        "chain": plan.chain.file,
        "errors": [],
        "input": str(plan.chain.input),
        "output": str(plan.chain.output) if plan.chain.output else None,
        "workers": plan.chain.workers,
        "workers_notes": notes_on_workers(plan),
        "nfs": [_nf_as_json(plan, nf) for nf in plan.nfs],
        "stages": [[nf.name for nf in stage] for stage in plan.stages()],
        "modules": [
            {
                "name": one.name,
                "file": files.get(one.name),
                "because": [f"{nf}: {type}" for nf, type in one.because],
            }
            for one in plan.modules
        ],
        "derived": [
            {"name": one.name, "condition": one.condition, "is_read": is_read}
            for one, is_read in plan.derived_types()
        ],
        "user_types": [one.name for one in plan.user_types],
        "settings": plan.settings,
        "confinement_lacks": missing_parts(),
        "hosts": [dataclasses.asdict(host) for host in plan.hosts],
        "memory": _memory_as_json(plan),
    }


def _memory_as_json(plan: Plan) -> dict[str, Any]:
    from microbox.chain.memory import most_memory
    from microbox.runtime.machine import available_memory, warnings_about_memory

    parts = plan.memory()
    return {
        "total": most_memory(parts, plan.chain.workers),
        "limit": plan.chain.memory_max,
        "parts": [
            {
                "part": part.name,
                "nf": part.nf or None,
                "bytes": part.size,
                "keys": list(part.keys),
                "shared": part.is_shared,
            }
            for part in parts
        ],
        "warnings": warnings_about_memory(plan, available_memory()),
    }


def _nf_as_json(plan: Plan, nf: PlannedNF) -> dict[str, Any]:
    names = plan.names
    return {
        "name": nf.name,
        "instance": _instance_as_json(nf),
        "source": nf.source,
        "stage": nf.stage,
        "added_because": nf.added_because,
        "inline": nf.is_inline,
        "shadow": nf.is_shadow,
        "commands": nf.manifest.commands,
        "edits": nf.manifest.edits,
        "fails_closed": nf.fails_closed,
        "on_error": nf.on_error,
        "on_lag": "skip" if nf.skips else "block",
        "parameters": nf.parameters,
        "needs": needs_of(plan, nf),
        "subscriptions": [
            {
                "handler": handler.handler,
                "types": handler.types,
                "filter": handler.filter,
                "per_flow": nf.filters[handler.filter].is_per_flow if handler.filter else None,
                "batch": handler.batch,
                "switch": _switch_as_json(plan, handler),
                "modules": plan.modules_of(handler),
            }
            for handler in nf.manifest.handlers
            if handler.handler.isidentifier()  # not the runtime's own
        ],
        "timers": [timer.period for timer in nf.manifest.timers],
        "publishes": nf.manifest.publishes,
        "reads": [names[index] for index in nf.reads],
        "waits_for": [
            {"nf": names[index], "because": because}
            for index, because in sorted(nf.barrier_because.items())
        ],
        "bits": [bit.bit for bit in nf.bits],
    }


def _instance_as_json(nf: PlannedNF) -> dict[str, Any] | None:
    """Which of several processes that share out an NF's flows; null where it is one."""
    spread = nf.spread
    return dataclasses.asdict(spread) if spread else None


def needs_of(plan: Plan, nf: PlannedNF) -> dict[str, Any]:
    """What it may do beside reading events: as its class says, or the chain instead."""
    sandbox = next(one.sandbox for one in plan.chain.nfs if one.name == nf.name)
    declared = nf.manifest
    return {
        "sandbox": sandbox.is_on,
        "files": declared.files if sandbox.files is None else sandbox.files,
        "writes": declared.writes if sandbox.writes is None else sandbox.writes,
        "network": declared.network if sandbox.network is None else sandbox.network,
    }


def _switch_as_json(plan: Plan, handler: HandlerDeclaration) -> dict[str, Any] | None:
    """Whether it can be switched for a flow: what it is in a new one, and when a switch acts."""
    if not handler.switch:
        return None
    return {"initially": handler.initially, "after_packets": plan.settings["command_delay"]}


def notes_on_workers(plan: Plan) -> list[str]:
    """What is otherwise than with one, or does not fit this machine, a sentence each."""
    from microbox.runtime.machine import processors, warnings_about_workers

    if plan.chain.workers == 1:
        return []
    first = [nf for nf in plan.nfs if nf.is_first]
    notes = [f"{nf.entry}: its timers fire once a worker" for nf in first if nf.manifest.timers]
    notes += [f"{nf.entry}: its batches are each worker's own" for nf in first if nf.cut]
    return notes + [f"warning: {one}" for one in warnings_about_workers(plan, processors())]
