"""The language of conditions: text in, a tree out. Nothing is known here of what names mean.

From weak to strong; operators of one row group to the left, comparisons do not chain:

    or
    and
    not
    == != < <= > >= in, not in, startswith
    |
    &
    + -
    * / %
    - (sign)
    data[ ]
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_network

from microbox.chain.units import BYTES, NANOSECONDS, parse_duration, parse_size

TEXT_MAX = 4096  # characters
DEPTH_MAX = 40
INTEGER_MAX = (1 << 63) - 1

Network = IPv4Network | IPv6Network


class SyntaxFault(Exception):
    """The text is no condition: what is wrong at `offset`."""

    def __init__(self, offset: int, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.offset = offset
        self.message = message
        self.hint = hint


@dataclass(frozen=True, slots=True)
class Number:
    """An integer; `is_duration`: nanoseconds."""

    offset: int
    value: int
    is_duration: bool = False


@dataclass(frozen=True, slots=True)
class Truth:
    """true or false."""

    offset: int
    value: bool


@dataclass(frozen=True, slots=True)
class Octets:
    """A text in quotes, or bytes as x"16 03"."""

    offset: int
    value: bytes


@dataclass(frozen=True, slots=True)
class Address:
    """An address (a network of one) or a network."""

    offset: int
    value: Network


@dataclass(frozen=True, slots=True)
class Name:
    """A field, a counter, a reason, a state: words joined by dots."""

    offset: int
    text: str


@dataclass(frozen=True, slots=True)
class Index:
    """One byte of `data`."""

    offset: int
    of: Name
    index: Node


@dataclass(frozen=True, slots=True)
class Unary:
    """`not` or `-`."""

    offset: int
    operator: str
    operand: Node


@dataclass(frozen=True, slots=True)
class Binary:
    """Any operator with two operands but `in`. `offset` is the operator's."""

    offset: int
    operator: str
    left: Node
    right: Node


@dataclass(frozen=True, slots=True)
class Range:
    """`low..high`, both included; only behind `in`."""

    offset: int
    low: Node
    high: Node


@dataclass(frozen=True, slots=True)
class Membership:
    """`left in (item, ...)`, or in one network or range. `offset` is the operator's."""

    offset: int
    left: Node
    items: tuple[Node | Range, ...]


Node = Number | Truth | Octets | Address | Name | Index | Unary | Binary | Membership


@dataclass(frozen=True, slots=True)
class Token:
    """`kind`: number, address, text, hex, name, operator, end."""

    kind: str
    text: str
    offset: int


_TOKENS = re.compile(
    r"""
    (?P<space>\s+)
  | (?P<hex>x"[^"]*"|x'[^']*')
  | (?P<text>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')
  | (?P<address>(?=[0-9A-Fa-f]*:[0-9A-Fa-f]*:)[0-9A-Fa-f:.]+(?:/[0-9]+)?
               |[0-9]+\.[0-9]+\.[0-9]+\.[0-9]+(?:/[0-9]+)?)
  | (?P<number>0x[0-9A-Fa-f]+|[0-9]+(?:\.[0-9]+)?[A-Za-z]*)
  | (?P<name>[A-Za-z_][A-Za-z0-9_]*(?:\.[A-Za-z_][A-Za-z0-9_]*)*)
  | (?P<operator>==|!=|<=|>=|\.\.|[<>()\[\],|&+*/%-])
    """,
    re.VERBOSE,
)
_OPERATOR_WORDS = {"and", "or", "not", "in", "startswith"}
WORDS = _OPERATOR_WORDS | {"true", "false"}
_MISTAKES = {"&&": "and", "||": "or", "!": "not", "=": "=="}
_ESCAPES = {"n": b"\n", "r": b"\r", "t": b"\t", "0": b"\0", "\\": b"\\", '"': b'"', "'": b"'"}
_ESCAPE = re.compile(r"\\(x[0-9A-Fa-f]{2}|.)|[^\\]+", re.DOTALL)

# operator → how strongly it binds
_COMPARISON = 4
_BINDING = {
    "or": 1,
    "and": 2,
    **dict.fromkeys(("==", "!=", "<", "<=", ">", ">=", "in", "not", "startswith"), _COMPARISON),
    "|": 5,
    "&": 6,
    **dict.fromkeys("+-", 7),
    **dict.fromkeys("*/%", 8),
}
_NOT, _SIGN = 3, 9


def parse(text: str) -> Node:
    """The condition's tree. Raises SyntaxFault at the first thing that is wrong."""
    if len(text) > TEXT_MAX:
        raise SyntaxFault(0, f"{len(text)} characters; expected at most {TEXT_MAX}")
    return _Parser(_tokens(text)).condition()


def _tokens(text: str) -> list[Token]:
    tokens = []
    offset = 0
    while offset < len(text):
        found = _TOKENS.match(text, offset)
        wrong = next((one for one in ("&&", "||") if text.startswith(one, offset)), "")
        if found is None or wrong:
            raise _no_token(text, offset)
        kind = str(found.lastgroup)
        if kind == "name" and found[0] in _OPERATOR_WORDS:
            kind = "operator"
        if kind != "space":
            tokens.append(Token(kind, found[0], offset))
        offset = found.end()
    return [*tokens, Token("end", "", len(text))]


def _no_token(text: str, offset: int) -> SyntaxFault:
    if text[offset] in "\"'":
        return SyntaxFault(offset, "this text does not end; expected a closing quote")
    for wrong, right in _MISTAKES.items():
        if text.startswith(wrong, offset):
            return SyntaxFault(offset, f"'{wrong}' means nothing here", f"did you mean '{right}'?")
    return SyntaxFault(offset, f"'{text[offset]}' means nothing here")


class _Parser:
    """Precedence climbing."""

    def __init__(self, tokens: list[Token]) -> None:
        self._tokens = tokens
        self._next = 0
        self._depth = 0
        self._literals: dict[str, Callable[[Token], Node]] = {
            "number": _number,
            "address": _address,
            "text": _text,
            "hex": _hex,
        }

    def condition(self) -> Node:
        if self._peek().kind == "end":
            raise SyntaxFault(0, "the condition is empty", "for example 'source_port == 80'")
        node = self._expression(0)
        rest = self._peek()
        if rest.kind != "end":
            raise SyntaxFault(
                rest.offset, f"{_shown(rest)} does not belong here; expected an operator or the end"
            )
        return node

    def _peek(self) -> Token:
        return self._tokens[self._next]

    def _take(self) -> Token:
        token = self._tokens[self._next]
        self._next += token.kind != "end"
        return token

    def _is_at(self, text: str) -> bool:
        token = self._peek()
        return token.kind == "operator" and token.text == text

    def _expect(self, text: str, what: str) -> None:
        token = self._take()
        if token.text != text:
            raise SyntaxFault(token.offset, f"{_shown(token)} comes; expected '{text}' {what}")

    def _expression(self, weakest: int) -> Node:
        self._depth += 1
        if self._depth > DEPTH_MAX:
            raise SyntaxFault(self._peek().offset, f"nested more than {DEPTH_MAX} deep")
        left = self._prefix()
        while True:
            token = self._peek()
            binding = _BINDING.get(token.text, 0) if token.kind == "operator" else 0
            if binding == 0 or binding < weakest:
                break
            left = self._infix(left, self._take(), binding)
        self._depth -= 1
        return left

    def _prefix(self) -> Node:
        token = self._take()
        if token.kind == "operator":
            return self._prefix_operator(token)
        if token.kind == "name":
            return self._name(token)
        literal = self._literals.get(token.kind)
        if literal is None:
            raise SyntaxFault(token.offset, "the condition ends here; expected a field or a value")
        return literal(token)

    def _prefix_operator(self, token: Token) -> Node:
        if token.text == "not":
            return Unary(token.offset, "not", self._expression(_NOT))
        if token.text == "-":
            return Unary(token.offset, "-", self._expression(_SIGN))
        if token.text == "(":
            inside = self._expression(0)
            self._expect(")", "to close the parenthesis")
            return inside
        raise SyntaxFault(token.offset, f"{_shown(token)} comes; expected a field or a value")

    def _name(self, token: Token) -> Node:
        if token.text in ("true", "false"):
            return Truth(token.offset, token.text == "true")
        name = Name(token.offset, token.text)
        if not self._is_at("["):
            return name
        self._take()
        index = self._expression(0)
        self._expect("]", "behind the index")
        return Index(token.offset, name, index)

    def _infix(self, left: Node, token: Token, binding: int) -> Node:
        operator = token.text
        if binding != _COMPARISON:
            return Binary(token.offset, operator, left, self._expression(binding + 1))
        node: Node
        if operator == "not":
            self._expect("in", "behind 'not'")
            node = Unary(token.offset, "not", self._membership(left, token))
        elif operator == "in":
            node = self._membership(left, token)
        else:
            node = Binary(token.offset, operator, left, self._expression(binding + 1))
        after = self._peek()
        if after.kind == "operator" and _BINDING.get(after.text) == _COMPARISON:
            raise SyntaxFault(
                after.offset, "comparisons do not chain; expected 'and' and a second comparison"
            )
        return node

    def _membership(self, left: Node, token: Token) -> Membership:
        if not self._is_at("("):
            return Membership(token.offset, left, (self._item(),))
        self._take()
        items = [self._item()]
        while self._is_at(","):
            self._take()
            items.append(self._item())
        self._expect(")", "or ',' in the list")
        return Membership(token.offset, left, tuple(items))

    def _item(self) -> Node | Range:
        low = self._expression(_COMPARISON + 1)
        if not self._is_at(".."):
            return low
        dots = self._take()
        return Range(dots.offset, low, self._expression(_COMPARISON + 1))


def _shown(token: Token) -> str:
    return f"'{token.text}'" if token.text else "the end"


def _number(token: Token) -> Node:
    digits = token.text
    if digits.startswith("0x"):
        return Number(token.offset, _in_range(int(digits, 16), token))
    unit = digits.lstrip("0123456789.")
    if not unit:
        if "." in digits:
            raise SyntaxFault(token.offset, f"'{digits}' is no whole number")
        return Number(token.offset, _in_range(int(digits), token))
    if unit in NANOSECONDS:
        return Number(token.offset, _in_range(parse_duration(digits), token), is_duration=True)
    if unit in BYTES:
        return Number(token.offset, _in_range(parse_size(digits), token))
    units = ", ".join((*NANOSECONDS, *BYTES))
    raise SyntaxFault(token.offset, f"'{unit}' is no unit; expected one of {units}")


def _in_range(value: int, token: Token) -> int:
    if value > INTEGER_MAX:
        raise SyntaxFault(token.offset, f"{token.text} is too large; expected at most 2^63 - 1")
    return value


def _address(token: Token) -> Node:
    try:
        return Address(token.offset, ip_network(token.text))
    except ValueError as error:
        hint = ""
        if "host bits" in str(error):
            hint = f"did you mean '{ip_network(token.text, strict=False)}'?"
        raise SyntaxFault(
            token.offset, f"'{token.text}' is no address and no network", hint
        ) from None


def _text(token: Token) -> Node:
    value = b""
    for part in _ESCAPE.finditer(token.text, 1, len(token.text) - 1):
        escape = part[1]
        if escape is None:
            value += part[0].encode()
        elif escape in _ESCAPES:
            value += _ESCAPES[escape]
        elif len(escape) > 1:
            value += bytes.fromhex(escape[1:])
        else:
            raise SyntaxFault(
                token.offset + part.start(),
                f"'{part[0]}' is no escape; expected \\n, \\r, \\t, \\0, \\\\, \\\", \\' or \\xNN",
            )
    return Octets(token.offset, value)


def _hex(token: Token) -> Node:
    try:
        return Octets(token.offset, bytes.fromhex(token.text[2:-1]))
    except ValueError:
        raise SyntaxFault(
            token.offset, f'{token.text} is no row of bytes; expected hex, as in x"16 03 01"'
        ) from None
