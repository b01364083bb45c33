"""100 replays of captures in one process: those of the repository, and a sample of the real ones
beside the checkout; of all of them where MICROBOX_NIGHTLY is set.

    replays_corpus.py REPLAYS CORPUS CAPTURE...
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

REPLAYS = 100
ONE_OF = 40  # captures of the corpus in the sample
# What a thread's cache holds counts as allocated: without, the numbers are exact.
EXACT = {"GLIBC_TUNABLES": "glibc.malloc.tcache_count=0"}


def main() -> int:
    program, corpus, *own = sys.argv[1:]
    captures = sorted(path for path in (Path(corpus) / "dev").glob("*") if path.is_file())
    sample = captures if os.environ.get("MICROBOX_NIGHTLY") else captures[::ONE_OF]
    command = [program, str(REPLAYS), *own, *map(str, sample)]
    environment = {**os.environ, **EXACT}
    return subprocess.run(command, check=False, env=environment).returncode


if __name__ == "__main__":
    sys.exit(main())
