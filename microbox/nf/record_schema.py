"""The JSON Schema of an NF's log, drawn from what its class says of its lines.

    records = {
        "flow": {
            "reason": "text: why it ended",
            "pkts_toserver": "u32: packets of the originator",
            "round_trip_toserver": "u32?: in microseconds; only of TCP",
        }
    }

The key is the `event_type` of the lines, "" where they have none. Kinds are those of `declares`,
and `bool` and `texts` (a list); with a question mark not every line has the field.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from microbox.nf.errors import DefinitionError

if TYPE_CHECKING:
    from microbox.nf.function import NetworkFunction

DIALECT = "https://json-schema.org/draft/2020-12/schema"
Schema = dict[str, Any]
Fields = Mapping[str, str]

KINDS: dict[str, Schema] = {
    **{
        f"u{bits}": {"type": "integer", "minimum": 0, "maximum": 2**bits - 1}
        for bits in (8, 16, 32, 64)
    },
    "i64": {"type": "integer"},
    "f64": {"type": "number"},
    "text": {"type": "string"},
    "texts": {"type": "array", "items": {"type": "string"}},
    "bool": {"type": "boolean"},
}
_FIELD = re.compile(r"(?P<kind>\w+)(?P<optional>\??)(?:: (?P<doc>.+))?", re.DOTALL)

_SECONDS: Schema = {"type": "number", "description": "seconds since the epoch, to the nanosecond"}
_WORDS: Schema = {"type": "string", "format": "date-time", "description": "with --utc"}
_JSON_HEADER: Fields = {
    "flow_id": "u64?: number of the flow's first packet",
    "src_ip": "text?: the flow's originator; of a packet without a flow, who sent it",
    "src_port": "u16?: 0 where the protocol has none; of ICMP echo the identifier",
    "dest_ip": "text?: the other end",
    "dest_port": "u16?: likewise",
    "proto": "text?: TCP, UDP, ICMP, ICMPv6, ..., or the protocol's number",
}
_EVE_HEADER: Fields = {
    "flow_id": "u64?: number of the flow's first packet",
    "pcap_cnt": "u64?: number of the packet that caused the line",
    "src_ip": "text?: the flow's originator; of a packet without a flow, who sent it",
    "src_port": "u16?: of TCP, UDP and SCTP",
    "dest_ip": "text?: the other end",
    "dest_port": "u16?: likewise",
    "proto": "text?: TCP, UDP, ICMP, IPv6-ICMP, ..., or the protocol's number",
}
_EVE_TIME: Schema = {
    "type": "string",
    "pattern": r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}\+0000$",
    "description": "of the packet that caused the line",
}
_VLAN: Schema = {
    "type": "array",
    "items": {"type": "integer", "minimum": 1, "maximum": 4095},
    "description": "the outermost VLAN",
}
_COMMUNITY_ID: Schema = {
    "type": "string",
    "pattern": "^1:[A-Za-z0-9+/]{27}=$",
    "description": "Community ID; not of ICMP",
}


def check_records(owner: type[NetworkFunction]) -> None:
    """What the class says of its lines can be read. Raises DefinitionError."""
    records: Any = owner.records
    if not isinstance(records, Mapping) or not all(
        isinstance(fields, Mapping) for fields in records.values()
    ):
        raise DefinitionError(
            f"{owner.__name__}.records maps each event_type to its fields: write "
            'records = {"flow": {"reason": "text: why it ended"}}'
        )
    for kind, fields in records.items():
        for name, written in fields.items():
            found = isinstance(written, str) and _FIELD.fullmatch(written)
            if not found or found["kind"] not in KINDS:
                raise DefinitionError(
                    f'{owner.__name__}.records["{kind}"]["{name}"] is {written!r:.60}; expected '
                    f"{', '.join(KINDS)}, with ? where not every line has it: write "
                    '"text?: what it says"'
                )


def log_schema(nf: str, records: Mapping[str, Fields], form: str) -> Schema:
    """The schema of a line of an NF's log in one of FORMATS (record_forms.py), a document of its
    own. Where the class says nothing of its lines, only what all lines have is checked."""
    line = _eve_line if form == "eve" else _json_line
    lines = [line(nf, event_type, fields) for event_type, fields in records.items()]
    if not lines:
        lines = [{**line(nf, "", {}), "additionalProperties": True}]
    whole = lines[0] if len(lines) == 1 else {"anyOf": lines}
    return {"$schema": DIALECT, "title": f"A line of the log of {nf}", **whole}


def object_schema(fields: Fields) -> Schema:
    """Of an object with these fields, and no others. They are written as those of `records`."""
    properties, required = {}, []
    for name, written in fields.items():
        field = _FIELD.fullmatch(written)
        assert field is not None
        doc = {"description": field["doc"]} if field["doc"] else {}
        properties[name] = {**KINDS[field["kind"]], **doc}
        if not field["optional"]:
            required.append(name)
    return {
        "type": "object",
        "properties": properties,
        "required": required,
        "additionalProperties": False,
    }


def _json_line(_nf: str, event_type: str, fields: Fields) -> Schema:
    line = object_schema({**_JSON_HEADER, **fields})
    line["properties"] = {"timestamp": {"anyOf": [_SECONDS, _WORDS]}, **line["properties"]}
    line["required"].insert(0, "timestamp")
    if event_type:
        line["properties"]["event_type"] = {"const": event_type}
        line["required"].append("event_type")
    return line


def _eve_line(nf: str, event_type: str, fields: Fields) -> Schema:
    kind = event_type or nf
    own = object_schema(fields)
    if not fields:
        own["additionalProperties"] = True
    line = object_schema(_EVE_HEADER)
    line["properties"] = {
        "timestamp": _EVE_TIME,
        **line["properties"],
        "vlan": _VLAN,
        "community_id": _COMMUNITY_ID,
        "event_type": {"const": kind},
        kind: own,
    }
    line["required"] = ["timestamp", "event_type", kind]
    return line
