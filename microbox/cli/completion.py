"""`microbox completion`: what a shell needs to complete verbs, options and files."""

from __future__ import annotations

from typing import Literal

Shell = Literal["bash", "zsh", "fish"]

# What cyclopts writes for zsh defines a function and leaves it to the file's name to be found.
ZSH_REGISTERS = """
# In a directory of $fpath this file is the body of what completes; sourced, it says who does.
if [[ $zsh_eval_context[-1] == loadautofunc ]]; then
  _cyclopts_microbox "$@"
else
  compdef _cyclopts_microbox microbox
fi
"""


def completion(shell: Shell, /) -> int:
    """Print what makes a shell complete verbs, options, their values and files.

    For example, in ~/.bashrc: source <(microbox completion bash)

    Parameters
    ----------
    shell
        For which shell.
    """
    print(script_for(shell), end="")
    return 0


def script_for(shell: Shell) -> str:
    """The script, which knows all verbs."""
    from microbox.cli.main import make_app

    script = make_app(()).generate_completion(shell=shell)
    return script + ZSH_REGISTERS if shell == "zsh" else script
