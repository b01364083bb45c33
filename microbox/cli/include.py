"""`microbox include`: for the compilers of those who write against `microbox.h`."""

from __future__ import annotations


def include() -> int:
    """Print the directory that C files find `microbox/include/microbox.h` in.

    For example: cc -shared -fPIC -O2 -I"$(microbox include)" -o my_module.so my_module.c
    """
    from pathlib import Path

    import microbox

    print(Path(microbox.__file__).parent.parent)
    return 0
