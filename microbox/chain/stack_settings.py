"""`stack` of a chain file: limits, timeouts and policies of the µStack (struct mb_stack_config)."""

from __future__ import annotations

from ipaddress import ip_network
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator

from microbox.chain.units import parse_duration, parse_size
from microbox.chain.written_forms import WRITTEN_AS_DURATION, WRITTEN_AS_SIZE
from microbox.channel.messages import HostNetwork

OVERLAP_POLICIES = {  # enum mb_overlap_policy
    "first": 0,
    "last": 1,
    "bsd": 2,
    "linux": 3,
    "windows": 4,
    "solaris": 5,
}
VERSION_BYTES_MIN, VERSION_BYTES_MAX = 1 << 20, 1 << 29  # bus/version.c
HOST_NETWORKS_MAX = 1000  # what fits into the message that starts a worker
CAP_POLICIES = {  # enum mb_cap_policy
    "evict": 0,
    "drop-packet": 1,
    "drop-flow": 2,
    "bypass": 3,
    "pass": 4,
}
JUDGEMENTS = {"ignore": 1, "report": 2, "refuse": 3}  # enum mb_judgement
URGENT_POLICIES = {"inline": 0, "out_of_band": 1, "drop": 2}  # enum mb_urgent_policy
CHECKSUMS = {"off": 0, "event": 1, "drop": 2}  # enum mb_checksums
FLOW_KEY_PARTS = {"vlan": 1, "tunnel": 2}  # enum mb_flow_key_ignores

U32_MAX = (1 << 32) - 1
_DURATION_MAX = 365 * 24 * 3600 * 1_000_000_000

Duration = Annotated[
    int, BeforeValidator(parse_duration), Field(gt=0, le=_DURATION_MAX), *WRITTEN_AS_DURATION
]
Size = Annotated[int, BeforeValidator(parse_size), Field(gt=0, le=1 << 40), *WRITTEN_AS_SIZE]


class Section(BaseModel):
    """A mapping in which every key is known and no value is bent into another type."""

    # Built when first used: the whole file's validator contains those of its sections.
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, defer_build=True)


def parse_network(value: object) -> str:
    """The network in its shortest spelling. Raises ValueError."""
    if not isinstance(value, str):
        raise ValueError("no text")
    return str(ip_network(value))


Network = Annotated[str, BeforeValidator(parse_network)]
OverlapPolicy = Literal["first", "last", "bsd", "linux", "windows", "solaris"]


class HostSettings(Section):
    """One entry of `stack.hosts`: what is known of the hosts of a network."""

    network: Network = Field(
        description="a network such as 10.0.0.0/8 or 2001:db8::/32, or an address"
    )
    policy: OverlapPolicy = Field(
        default="first", description="first, last, bsd, linux, windows or solaris"
    )
    fragments: OverlapPolicy | None = Field(
        default=None, description="first, last, bsd, linux, windows or solaris"
    )
    hops: Annotated[int, Field(ge=0, le=254)] = Field(
        default=0, description="how many routers lie between here and the hosts, 0 to 254"
    )

    def as_network(self) -> HostNetwork:
        """As the worker is told."""
        return HostNetwork(
            network=self.network,
            segments=OVERLAP_POLICIES[self.policy],
            fragments=OVERLAP_POLICIES[self.fragments or self.policy],
            hops=self.hops,
        )


CapPolicy = Literal["evict", "drop-packet", "drop-flow", "bypass", "pass"]
_AT_CAP = "evict, drop-packet, drop-flow, bypass or pass"
Chance = Annotated[float, Field(ge=0, le=1)]


class ForceSettings(Section):
    """`stack.force`: for tests, how often a cap counts as met although it is not."""

    flows: Chance = Field(default=0.0, description="a chance from 0 to 1, such as 0.01")
    held: Chance = Field(default=0.0, description="a chance from 0 to 1, such as 0.01")
    fragments: Chance = Field(default=0.0, description="a chance from 0 to 1, such as 0.01")
    seed: Annotated[int, Field(ge=0, le=U32_MAX)] = Field(
        default=0, description="a number from 0 to 4294967295"
    )

    def as_settings(self) -> dict[str, int]:
        """Fields of struct mb_stack_config: chances in 2^32."""
        chances = {"flows": self.flows, "held": self.held, "fragments": self.fragments}
        settings = {
            f"force_{cap}": min(round(chance * (1 << 32)), U32_MAX)
            for cap, chance in chances.items()
        }
        return {**settings, "force_seed": self.seed}


_NO_NUMBERS = {"flow_key", "force", "hosts", "midstream", "modules", "suspicious"}
Judgement = Literal["ignore", "report", "refuse"]
_JUDGEMENT = "ignore, report or refuse"


class SuspiciousSettings(Section):
    """`stack.suspicious`: what becomes of segments that receivers may not see, or not take."""

    bad_checksum: Judgement = Field(default="report", description=_JUDGEMENT)
    low_ttl: Judgement = Field(default="refuse", description=_JUDGEMENT)
    unusual_ttl: Judgement = Field(default="report", description=_JUDGEMENT)
    unexpected_signature: Judgement = Field(default="refuse", description=_JUDGEMENT)
    old_timestamp: Judgement = Field(default="refuse", description=_JUDGEMENT)
    ack_out_of_window: Judgement = Field(default="refuse", description=_JUDGEMENT)
    unsent_acknowledgment: Judgement = Field(default="report", description=_JUDGEMENT)
    beyond_window: Judgement = Field(default="report", description=_JUDGEMENT)

    def as_settings(self) -> dict[str, int]:
        """Fields of struct mb_stack_config."""
        return {kind: JUDGEMENTS[judgement] for kind, judgement in self.model_dump().items()}


class StackSettings(Section):
    """`stack`: limits and timeouts of the µStack (struct mb_stack_config)."""

    flows_max: Annotated[int, Field(ge=1, le=1 << 26)] = Field(
        default=1_000_000, description="how many flows are tracked at once, 1 to 67108864"
    )
    held_segments_per_flow: Annotated[int, Field(ge=1, le=320)] = Field(
        default=256, description="how many out-of-order segments a flow may hold, 1 to 320"
    )
    held_segments_max: Annotated[int, Field(ge=1, le=U32_MAX)] = Field(
        default=262_144,
        description="how many out-of-order segments all flows may hold together, from 1",
    )
    held_bytes_per_flow: Size = Field(
        default=1 << 20,
        description="how much a flow may hold out of order, a size such as 1MiB or 64KiB",
    )
    held_bytes_max: Size = Field(
        default=256 << 20,
        description="how much all flows may hold out of order together, a size such as 256MiB",
    )
    judged_bytes_max: Size = Field(
        default=64 << 20,
        description="how much of streams that inline NFs read is kept until it is acknowledged, "
        "a size such as 64MiB",
    )
    compared_segments_max: Annotated[int, Field(ge=1, le=U32_MAX)] = Field(
        default=65_536,
        description="how many segments that were given out are kept for comparison, from 1",
    )
    gap_acknowledgments: Annotated[int, Field(ge=1, le=255)] = Field(
        default=3,
        description="how many packets must acknowledge missing bytes before they are given up, "
        "1 to 255",
    )
    gap_timeout: Duration = Field(
        default=30_000_000_000, description="a duration with its unit, such as 30s or 1m"
    )
    tcp_timeout: Duration = Field(
        default=7_440_000_000_000, description="a duration with its unit, such as 7440s or 124m"
    )
    tcp_unanswered_timeout: Duration = Field(
        default=7_440_000_000_000, description="a duration with its unit, such as 7440s or 124m"
    )
    tcp_opening_timeout: Duration = Field(
        default=240_000_000_000, description="a duration with its unit, such as 240s or 4m"
    )
    tcp_closed_timeout: Duration = Field(
        default=240_000_000_000, description="a duration with its unit, such as 240s or 4m"
    )
    tcp_reset_timeout: Duration = Field(
        default=2_000_000_000, description="a duration with its unit, such as 2s or 500ms"
    )
    udp_timeout: Duration = Field(
        default=120_000_000_000, description="a duration with its unit, such as 120s or 2m"
    )
    udp_unanswered_timeout: Duration = Field(
        default=120_000_000_000, description="a duration with its unit, such as 120s or 2m"
    )
    icmp_timeout: Duration = Field(
        default=60_000_000_000, description="a duration with its unit, such as 60s or 1m"
    )
    fragmented_datagrams_max: Annotated[int, Field(ge=1, le=1 << 20)] = Field(
        default=8192, description="how many datagrams may wait for fragments, 1 to 1048576"
    )
    fragments_per_datagram: Annotated[int, Field(ge=2, le=256)] = Field(
        default=128, description="how many fragments a datagram may have, 2 to 256"
    )
    fragment_bytes_max: Size = Field(
        default=64 << 20, description="how much may wait in fragments, a size such as 64MiB"
    )
    fragment_timeout: Duration = Field(
        default=60_000_000_000, description="a duration with its unit, such as 60s or 1m"
    )
    assembled_datagrams_max: Annotated[int, Field(ge=2, le=1 << 16)] = Field(
        default=256, description="how many whole datagrams are kept at once, 2 to 65536"
    )
    version_bytes: Size = Field(
        default=16 << 20,
        description="how much room each NF that edits packets has for edited frames, a power of "
        "two from 1MiB to 512MiB",
    )
    icmp_unanswered_timeout: Duration = Field(
        default=60_000_000_000, description="a duration with its unit, such as 60s or 1m"
    )
    flows_at_cap: CapPolicy = Field(default="evict", description=_AT_CAP)
    held_at_cap: CapPolicy = Field(default="evict", description=_AT_CAP)
    fragments_at_cap: CapPolicy = Field(default="evict", description=_AT_CAP)
    force: ForceSettings = Field(
        default_factory=ForceSettings, description="a mapping such as {flows: 0.01, seed: 7}"
    )
    modules: list[Annotated[str, Field(min_length=1)]] = Field(
        default=[], description="a list of paths of shared objects such as ./response_time.so"
    )
    command_delay: Annotated[int, Field(ge=1, le=1 << 20)] = Field(
        default=8192,
        description="after how many packets a command of an NF takes effect, 1 to 1048576",
    )
    checksums: Literal["off", "event", "drop"] = Field(
        default="off", description="off, event or drop"
    )
    suspicious: SuspiciousSettings = Field(
        default_factory=SuspiciousSettings, description="a mapping such as {low_ttl: refuse}"
    )
    midstream: bool = Field(default=True, description="true or false")
    urgent: Literal["inline", "out_of_band", "drop"] = Field(
        default="inline", description="inline, out_of_band or drop"
    )
    hosts: Annotated[tuple[HostSettings, ...], Field(max_length=HOST_NETWORKS_MAX)] = Field(
        default=(),
        description=f"a list such as [{{network: 10.0.0.0/8, policy: linux}}], "
        f"at most {HOST_NETWORKS_MAX}, each network once",
    )

    @field_validator("hosts", mode="before")
    @classmethod
    def _is_a_sequence(cls, hosts: object) -> object:
        return tuple(hosts) if isinstance(hosts, list) else hosts

    @field_validator("hosts")
    @classmethod
    def _each_once(cls, hosts: tuple[HostSettings, ...]) -> tuple[HostSettings, ...]:
        if len({host.network for host in hosts}) < len(hosts):
            raise ValueError("a network is there twice")
        return hosts

    @field_validator("version_bytes")
    @classmethod
    def _is_a_power_of_two(cls, size: int) -> int:
        if not VERSION_BYTES_MIN <= size <= VERSION_BYTES_MAX or size & (size - 1):
            raise ValueError("no power of two from 1MiB to 512MiB")
        return size

    tunnels_max: Annotated[int, Field(ge=1, le=16)] = Field(
        default=4, description="how many packets in packets are followed, 1 to 16"
    )
    flow_key: list[Literal["vlan", "tunnel"]] = Field(
        default=["vlan", "tunnel"],
        description="what tells flows with equal five-tuples apart: a list of vlan and tunnel",
    )

    def as_settings(self) -> dict[str, int]:
        """The fields of struct mb_stack_config that are numbers."""
        settings: dict[str, Any] = self.model_dump(exclude=_NO_NUMBERS)
        for cap in ("flows", "held", "fragments"):
            settings[f"{cap}_at_cap"] = CAP_POLICIES[settings[f"{cap}_at_cap"]]
        settings.update(self.force.as_settings())
        settings.update(self.suspicious.as_settings())
        settings["checksums"] = CHECKSUMS[self.checksums]
        settings["flow_key_ignores"] = sum(
            bit for part, bit in FLOW_KEY_PARTS.items() if part not in self.flow_key
        )
        settings["urgent"] = URGENT_POLICIES[self.urgent]
        settings["needs_handshake"] = int(not self.midstream)
        return settings

    def host_networks(self) -> tuple[HostNetwork, ...]:
        """`hosts`, as the worker is told."""
        return tuple(host.as_network() for host in self.hosts)
