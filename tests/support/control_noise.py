"""What is no request: random bytes, and real requests that were damaged, by seed."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from typing import Any

import msgpack

from microbox.runtime.control.request import SIZE_LIMIT

VERBS = {"status": "", "events": "", "stop": "", "detach": "nf", "reload": "nf", "promote": "nf"}
VERBS |= {"why": "flow", "trace": "flow", "reload_chain": "file"}
"""Those that there are, and the key for what they are about."""

Mutator = Callable[[random.Random], bytes]


def requests(nf: str) -> list[dict[str, Any]]:
    """One of each kind that a run carries out."""
    return [
        {"version": 1, "verb": verb, **({key: "compare" if key == "file" else nf} if key else {})}
        for verb, key in VERBS.items()
    ]


def is_request(payload: bytes) -> bool:
    """Read apart from the code under test, and more generously: what may be one is one."""
    try:
        wire = msgpack.unpackb(payload, strict_map_key=False)
    except Exception:
        return False
    if not isinstance(wire, dict) or not isinstance(wire.get("verb"), str):
        return False
    return wire.get("version") == 1 and wire["verb"] in VERBS


def noise(seed: int, count: int, nf: str) -> Iterator[bytes]:
    """So many messages, none of which is a request. `nf` is the name of one that there is."""
    chance = random.Random(seed)
    kinds = _kinds(requests(nf))
    while count:
        payload = chance.choice(kinds)(chance)
        if not is_request(payload) or _is_wrong(payload):
            count -= 1
            yield payload


def _is_wrong(payload: bytes) -> bool:
    """Of what may be a request: true where it has a value that none may have."""
    wire = msgpack.unpackb(payload, strict_map_key=False)
    names = wire.keys() - {"version", "verb", "nf", "flow"}
    is_named = all(
        isinstance(wire.get(key, ""), str) and bool(wire.get(key)) == (VERBS[wire["verb"]] == key)
        for key in ("nf", "flow")
    )
    return bool(names) or type(wire["version"]) is not int or not is_named


def _kinds(real: list[dict[str, Any]]) -> list[Mutator]:
    packed = [msgpack.packb(each) for each in real]

    def of(change: Callable[[random.Random, dict[str, Any]], Any]) -> Mutator:
        return lambda chance: msgpack.packb(change(chance, dict(chance.choice(real))))

    def bytes_of(change: Callable[[random.Random, bytearray], bytes]) -> Mutator:
        return lambda chance: change(chance, bytearray(chance.choice(packed)))

    return [
        lambda chance: chance.randbytes(chance.randrange(64)),
        lambda chance: chance.randbytes(SIZE_LIMIT + chance.randrange(8192)),
        lambda chance: msgpack.packb(_any_value(chance, depth=4)),
        lambda chance: b"\x91" * chance.randrange(1, SIZE_LIMIT) + b"\xc0",  # lists in lists
        lambda chance: b"\x81\xa1a" * chance.randrange(1, 1300) + b"\xc0",  # maps in maps
        lambda chance: b"\xdf" + chance.randbytes(4) + chance.choice(packed)[1:],  # huge maps
        lambda chance: msgpack.packb({f"k{n}": n for n in range(chance.randrange(3, 400))}),
        bytes_of(_bits_turned),
        bytes_of(_cut),
        bytes_of(_with_a_tail),
        bytes_of(_spliced),
        of(_another_version),
        of(_another_verb),
        of(_another_nf),
        of(_one_more_key),
        of(_one_key_less),
        of(_keys_that_are_no_text),
        of(lambda _, request: [request]),
        of(lambda _, request: {**request, "nf": "" if request.get("nf") else "flow_log"}),
        of(lambda chance, request: {**request, "nf": "n" * chance.randrange(SIZE_LIMIT, 9000)}),
    ]


def _any_value(chance: random.Random, depth: int) -> Any:
    leaves: list[Any] = [
        None,
        True,
        1,
        -1,
        2**63,
        1.5,
        "",
        "stop",
        b"\xff",
        msgpack.ExtType(5, b"x"),
    ]
    if depth == 0 or chance.random() < 0.3:
        return chance.choice(leaves)
    values = [_any_value(chance, depth - 1) for _ in range(chance.randrange(4))]
    if chance.random() < 0.5:
        return values
    return {chance.choice(["version", "verb", "nf", "x"]): each for each in values}


def _bits_turned(chance: random.Random, message: bytearray) -> bytes:
    for _ in range(chance.randint(1, 4)):
        message[chance.randrange(len(message))] ^= 1 << chance.randrange(8)
    return bytes(message)


def _cut(chance: random.Random, message: bytearray) -> bytes:
    return bytes(message[: chance.randrange(len(message))])


def _with_a_tail(chance: random.Random, message: bytearray) -> bytes:
    return bytes(message) + chance.randbytes(chance.randint(1, 16))


def _spliced(chance: random.Random, message: bytearray) -> bytes:
    at = chance.randrange(len(message))
    return bytes(message[:at]) + chance.randbytes(chance.randint(1, 4)) + bytes(message[at:])


def _another_version(chance: random.Random, request: dict[str, Any]) -> Any:
    return {**request, "version": chance.choice([0, 2, -1, 2**40, 1.0, True, "1", None, [1]])}


def _another_verb(chance: random.Random, request: dict[str, Any]) -> Any:
    words = ["", "rob", "STOP", "stop ", "stop\0", "__class__", "answer", "close", b"stop", 1, None]
    return {**request, "verb": chance.choice([*words, ["stop"], {"stop": 1}])}


def _another_nf(chance: random.Random, request: dict[str, Any]) -> Any:
    return {**request, "nf": chance.choice([1, None, b"flow_log", ["flow_log"], {}, 1.5, True])}


def _one_more_key(chance: random.Random, request: dict[str, Any]) -> Any:
    return {**request, chance.choice(["now", "", "Verb", "\0", "version "]): chance.randrange(9)}


def _one_key_less(chance: random.Random, request: dict[str, Any]) -> Any:
    del request[chance.choice(["version", "verb"])]
    return request


def _keys_that_are_no_text(chance: random.Random, request: dict[str, Any]) -> Any:
    return {**request, chance.choice([0, 1, -1, b"verb", None, 1.5, True]): "stop"}
