"""Every function of the C library and of others that the core calls is either made to fail by the
test `faults`, or known not to fail in a way that matters.

    core_calls.py NM LIBRARY FALLIBLE...
"""

from __future__ import annotations

import re
import subprocess
import sys

# Cannot fail, or nothing follows from it: sums, words, tidying up.
INFALLIBLE = set(
    """
    memcmp memcpy memmove memset memchr strchr strcmp strncmp strlen strnlen strtol strtoul strtod
    snprintf vsnprintf strerror qsort qsort_r bsearch abort ldexp pow fmod trunc
    free close fclose munmap ferror dlerror dlclose clock_gettime nanosleep sched_yield
    pcap_close pcap_dump pcap_dump_close pcap_dump_file pcap_freecode pcap_geterr
    pcap_offline_filter
    """.split()
)
COMPILERS_OWN = re.compile(r"_|mb_")  # sanitizers, coverage, arithmetic; the core's own functions


def calls(nm: str, library: str) -> set[str]:
    listing = subprocess.run(
        [nm, "--undefined-only", "--format=just-symbols", library],
        capture_output=True,
        check=True,
        text=True,
    ).stdout
    names = {line.strip() for line in listing.splitlines() if not line.endswith(":")} - {""}
    return {name for name in names if not COMPILERS_OWN.match(name)}


def main() -> None:
    nm, library, *fallible = sys.argv[1:]
    unknown = calls(nm, library) - INFALLIBLE - set(fallible)
    if unknown:
        sys.exit(
            f"the core calls {', '.join(sorted(unknown))}: let it fail in failing_calls.c and name "
            "it as `fallible` in tests/core/meson.build, or as infallible in core_calls.py"
        )


if __name__ == "__main__":
    main()
