"""What people write wrong into chain files: the text of the file, and what is said of it.

Beside the file lie `capture.pcap` and `my_nf.py`.
"""

from __future__ import annotations

MISTAKES = {
    "an unknown key": (
        "imput: capture.pcap\ninput: capture.pcap\nchain: [flow_log]\n",
        "chain.yaml:1:1: unknown key 'imput'; expected 'input', 'input_bytes_max', 'input_window', "
        "'memory_max', 'output', 'chain', 'events', 'stack', 'workers', 'log', 'logs', 'metrics', "
        "'sandbox', "
        "'on_worker_failure' or 'include'; "
        "did you mean 'input'?",
    ),
    "an unknown key in a section": (
        "input: capture.pcap\nchain: [flow_log]\nlog: {slot: 4096}\n",
        "chain.yaml:3:7: unknown key 'slot' in `log`; expected 'slots'; did you mean 'slots'?",
    ),
    "a key that stands twice": (
        "input: capture.pcap\nchain: [flow_log]\ninput: capture.pcap\n",
        "chain.yaml:3:1: key 'input' stands here a second time; the first is in line 1",
    ),
    "no input": (
        "chain: [flow_log]\n",
        "chain.yaml:1:1: `input` is missing; expected the path of a capture file (pcap or pcapng), "
        "or of a directory of such",
    ),
    "no chain": (
        "input: capture.pcap\n",
        "chain.yaml:1:1: `chain` is missing; expected a list of NFs: names, paths, or "
        "{nf: NAME, PARAMETER: VALUE}",
    ),
    "an empty chain": (
        "input: capture.pcap\nchain: []\n",
        "chain.yaml:2:8: `chain` is an empty list; expected a list of NFs: names, paths, or "
        "{nf: NAME, PARAMETER: VALUE}",
    ),
    "a chain that is no list": (
        "input: capture.pcap\nchain: flow_log\n",
        "chain.yaml:2:8: `chain` is 'flow_log' (text); expected a list of NFs: names, paths, or "
        "{nf: NAME, PARAMETER: VALUE}; did you mean '[flow_log]'?",
    ),
    "an input that is no text": (
        "input: 17\nchain: [flow_log]\n",
        "chain.yaml:1:8: `input` is 17 (a whole number); expected the path of a capture file "
        "(pcap or pcapng), or of a directory of such",
    ),
    "an input that is not there": (
        "input: captur.pcap\nchain: [flow_log]\n",
        "chain.yaml:1:8: no such file 'captur.pcap'; expected a capture file (pcap or pcapng); "
        "did you mean 'capture.pcap'?",
    ),
    "an output in the directory that is the input": (
        "input: .\noutput: ./capture.pcap\nchain: [flow_log]\n",
        "chain.yaml:2:9: 'capture.pcap' is the input; expected another file to write",
    ),
    "an output that is the input": (
        "input: capture.pcap\noutput: ./capture.pcap\nchain: [flow_log]\n",
        "chain.yaml:2:9: 'capture.pcap' is the input; expected another file to write",
    ),
    "an output nowhere": (
        "input: capture.pcap\noutput: none/out.pcap\nchain: [flow_log]\n",
        "chain.yaml:2:9: 'none' is no directory; expected a capture file to write in one",
    ),
    "an unknown NF": (
        "input: capture.pcap\nchain:\n  - flow_lgo\n",
        "chain.yaml:3:5: no built-in NF is called 'flow_lgo'; expected a name that `microbox nfs` "
        "lists, or a path such as ./my_nf.py; did you mean 'flow_log'?",
    ),
    "an NF that lies beside the file": (
        "input: capture.pcap\nchain:\n  - my_nf\n",
        "chain.yaml:3:5: no built-in NF is called 'my_nf'; expected a name that `microbox nfs` "
        "lists, or a path such as ./my_nf.py; did you mean './my_nf.py'?",
    ),
    "an NF file that is not there": (
        "input: capture.pcap\nchain:\n  - {nf: ./my_fn.py}\n",
        "chain.yaml:3:10: 'my_fn.py' does not exist; expected the file of an NF; "
        "did you mean 'my_nf.py'?",
    ),
    "a name with its parameters below": (
        "input: capture.pcap\nchain:\n  - ids: {rules: web.rules}\n",
        "chain.yaml:3:5: this entry of `chain` has 'ids' but no `nf`; expected `nf: NAME`; "
        "did you mean '{nf: ids, PARAMETER: VALUE}'?",
    ),
    "an entry that is neither name nor mapping": (
        "input: capture.pcap\nchain:\n  - 17\n",
        "chain.yaml:3:5: `chain[0]` is 17 (a whole number); expected the name or path of an NF, "
        "or {nf: NAME, PARAMETER: VALUE}",
    ),
    "a word that is not one of the few": (
        "input: capture.pcap\nchain:\n  - {nf: flow_log, on_error: stopp}\n",
        "chain.yaml:3:30: `chain[0].on_error` is 'stopp' (text); expected stop or skip; "
        "did you mean 'stop'?",
    ),
    "a name that no file can have": (
        "input: capture.pcap\nchain:\n  - {nf: flow_log, name: a/b}\n",
        "chain.yaml:3:26: `chain[0].name` is 'a/b' (text); expected a name of letters, digits and "
        "_ . - that no other NF of the chain has",
    ),
    "a name that no file can have, and an NF without one": (
        "input: capture.pcap\nchain:\n  - {nf: flow_log, name: a/b}\n  - flow_log\n",
        "chain.yaml:3:26: `chain[0].name` is 'a/b' (text); expected a name of letters, digits and "
        "_ . - that no other NF of the chain has",
    ),
    "two NFs of one name": (
        "input: capture.pcap\nchain:\n  - flow_log\n  - flow_log\n",
        "chain.yaml:4:5: two NFs are called 'flow_log', the first in line 3; expected a `name:` "
        "that tells them apart; for example {nf: flow_log, name: flow_log_2}",
    ),
    "a duration without its unit": (
        "input: capture.pcap\nchain: [flow_log]\nstack: {tcp_timeout: 300}\n",
        "chain.yaml:3:22: `stack.tcp_timeout` is 300 (a whole number); expected a duration with "
        "its unit, such as 7440s or 124m; did you mean '300s'?",
    ),
    "a size in no unit": (
        "input: capture.pcap\nchain: [flow_log]\nstack: {held_bytes_per_flow: 1Mib}\n",
        "chain.yaml:3:30: `stack.held_bytes_per_flow` is '1Mib' (text); expected how much a flow "
        "may hold out of order, a size such as 1MiB or 64KiB",
    ),
    "a budget without a unit that there is": (
        "input: capture.pcap\nchain: [flow_log]\nmemory_max: 1 gig\n",
        "chain.yaml:3:13: `memory_max` is '1 gig' (text); expected a size such as 1GiB: the most "
        "that the chain's limits may come to in memory",
    ),
    "more flows than any memory holds": (
        "input: capture.pcap\nchain: [flow_log]\nstack: {flows_max: 4294967295}\n",
        "chain.yaml:3:20: `stack.flows_max` is 4294967295 (a whole number); expected how many "
        "flows are tracked at once, 1 to 67108864",
    ),
    "a number out of range": (
        "input: capture.pcap\nchain: [flow_log]\nstack: {held_segments_per_flow: 501}\n",
        "chain.yaml:3:33: `stack.held_segments_per_flow` is 501 (a whole number); expected how "
        "many out-of-order segments a flow may hold, 1 to 320",
    ),
    "a network that is none": (
        "input: capture.pcap\nchain: [flow_log]\nstack: {hosts: [{network: 10.0.0.1/8}]}\n",
        "chain.yaml:3:27: `stack.hosts[0].network` is '10.0.0.1/8' (text); expected a network such "
        "as 10.0.0.0/8 or 2001:db8::/32, or an address",
    ),
    "hosts of no network": (
        "input: capture.pcap\nchain: [flow_log]\nstack: {hosts: [{policy: linux}]}\n",
        "chain.yaml:3:17: `stack.hosts[0].network` is missing; expected a network such as "
        "10.0.0.0/8 or 2001:db8::/32, or an address",
    ),
    "an unknown key of hosts": (
        "input: capture.pcap\nchain: [flow_log]\n"
        "stack: {hosts: [{network: 10.0.0.0/8, polcy: x}]}\n",
        "chain.yaml:3:39: unknown key 'polcy' in `stack.hosts[0]`; expected 'network', 'policy', "
        "'fragments' or 'hops'; did you mean 'policy'?",
    ),
    "a policy that is none": (
        "input: capture.pcap\nchain: [flow_log]\n"
        "stack: {hosts: [{network: 10.0.0.0/8, policy: minix}]}\n",
        "chain.yaml:3:47: `stack.hosts[0].policy` is 'minix' (text); expected first, last, bsd, "
        "linux, windows or solaris; did you mean 'linux'?",
    ),
    "hosts without their keys": (
        "input: capture.pcap\nchain: [flow_log]\nstack: {hosts: [10.0.0.0/8]}\n",
        "chain.yaml:3:17: `stack.hosts[0]` is '10.0.0.0/8' (text); expected a mapping such as "
        "{network: 10.0.0.0/8, policy: linux}",
    ),
    "a network that is there twice": (
        "input: capture.pcap\nchain: [flow_log]\n"
        "stack: {hosts: [{network: 10.0.0.1}, {network: 10.0.0.1/32}]}\n",
        "chain.yaml:3:16: `stack.hosts` is a list; expected a list such as [{network: 10.0.0.0/8, "
        "policy: linux}], at most 1000, each network once",
    ),
    "a log of an odd size": (
        "input: capture.pcap\nchain: [flow_log]\nlog: {slots: 5000}\n",
        "chain.yaml:3:14: `log.slots` is 5000 (a whole number); expected a power of two from 4096 "
        "to 16777216",
    ),
    "something else for a dead worker": (
        "input: capture.pcap\nchain: [flow_log]\non_worker_failure: again\n",
        "chain.yaml:3:20: `on_worker_failure` is 'again' (text); expected end, restart, or a "
        "mapping such as {attempts: 5, backoff: 100ms}",
    ),
    "another key for a dead worker": (
        "input: capture.pcap\nchain: [flow_log]\non_worker_failure: {attempt: 5}\n",
        "chain.yaml:3:21: unknown key 'attempt' in `on_worker_failure`; expected 'attempts', "
        "'backoff' or 'backoff_max'; did you mean 'attempts'?",
    ),
    "yes for true": (
        "input: capture.pcap\nchain: [flow_log]\nlogs: {utc: yes}\n",
        "chain.yaml:3:13: `logs.utc` is 'yes' (text); expected true or false",
    ),
    "a key that is a number": (
        "input: capture.pcap\nchain: [flow_log]\n[1]: x\n",
        "chain.yaml:3:1: this key is no name; expected a name, then ':'",
    ),
    "a tag": (
        "input: !!python/name:os capture.pcap\nchain: [flow_log]\n",
        "chain.yaml:1:8: tag '!!python/name:os' is not known; expected a plain value",
    ),
    "a number of more than 64 bits": (
        "input: capture.pcap\nchain: [{nf: flow_log, top: 99999999999999999999}]\n",
        "chain.yaml:2:29: 99999999999999999999 is too large; expected at most 64 bits",
    ),
    "a bracket that stays open": (
        "input: capture.pcap\nchain: [flow_log\n",
        "chain.yaml:3:1: while parsing a flow sequence: expected ',' or ']', but got "
        "'<stream end>'",
    ),
    "a tab": (
        "input: capture.pcap\nchain:\n\t- flow_log\n",
        "chain.yaml:3:1: while scanning for the next token: found character '\\t' that cannot "
        "start any token; indent with spaces",
    ),
    "a key without its colon": (
        "input capture.pcap\nchain: [flow_log]\n",
        "chain.yaml:2:6: mapping values are not allowed here; is the ':' after a key missing "
        "above?",
    ),
    "a variable without quotes where YAML asks for them": (
        "input: capture.pcap\nchain: [flow_log]\nlogs: {directory: ${LOGS}}\n",
        "chain.yaml:3:20: while parsing a flow mapping: expected ',' or '}', but got '{'; within "
        '{...} and [...], ${NAME} has to be in quotes: "${NAME}"',
    ),
    "an empty file": (
        "",
        "chain.yaml:1:1: the file holds nothing; expected the keys 'input' and 'chain'",
    ),
    "a file that is a list": (
        "- flow_log\n",
        "chain.yaml:1:1: the file holds a list; expected the keys 'input' and 'chain'",
    ),
}

NOT_OF_SHAPE = {
    "a key that stands twice",
    "an input that is not there",
    "an output in the directory that is the input",
    "an output that is the input",
    "an output nowhere",
    "an NF file that is not there",
    "two NFs of one name",
    "a network that is none",
    "a network that is there twice",
    "a key that is a number",
    "a tag",
    "a number of more than 64 bits",
    "a bracket that stays open",
    "a tab",
    "a variable without quotes where YAML asks for them",
    "a key without its colon",
}
"""Mistakes that a schema cannot see: of syntax, of files, and of what must differ."""
