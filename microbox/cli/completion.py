"""`microbox completion`: what a shell needs to complete verbs, options and files."""

from __future__ import annotations

from typing import Literal

from microbox.cli.candidates import BEHIND_OPTIONS

Shell = Literal["bash", "zsh", "fish"]

# What each shell does beside what cyclopts writes: it asks which names there are (candidates.py).

BASH_NAMES = """
_microbox_with_names() {
  local -a said
  mapfile -t said < <("$1" --candidates "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null)
  case "${said[0]}" in
    alone) COMPREPLY=("${said[@]:1}") ;;
    beside) mapfile -t COMPREPLY < <(compgen -f -- "$2"); COMPREPLY+=("${said[@]:1}") ;;
    *) _microbox "$@" ;;
  esac
}

complete -F _microbox_with_names microbox
"""

ZSH_NAMES = """
_microbox_with_names() {
  local -a said
  said=("${(@f)$("${words[1]}" --candidates "${(@Q)words[2,CURRENT]}" 2>/dev/null)}")
  case $said[1] in
    alone) compadd -- "${(@)said[2,-1]}" ;;
    beside) compadd -- "${(@)said[2,-1]}"; _files ;;
    *) _cyclopts_microbox "$@" ;;
  esac
}
"""

FISH_NAMES = """
function __fish_microbox_names
    set -l words (commandline -opc) (commandline -ct)
    $words[1] --candidates $words[2..-1] 2>/dev/null
end

function __fish_microbox_expects
    set -l said (__fish_microbox_names)
    test "$said[1]" = $argv[1]
end

complete -c microbox -n __fish_use_subcommand -f
complete -c microbox -n '__fish_microbox_expects alone' -f -a '(__fish_microbox_names)[2..-1]'
complete -c microbox -n '__fish_microbox_expects beside' -F -a '(__fish_microbox_names)[2..-1]'
"""

# An option's own words are the only ones that fish offers behind it, and for the part behind `=`.
FISH_OPTION = """\
complete -c microbox -n '__fish_microbox_expects alone' -l {0} -x \\
    -a '(__fish_microbox_names | tail -n +2 | string replace -- "--{0}=" "")'
"""

# What cyclopts writes for zsh defines a function and leaves it to the file's name to be found.
ZSH_REGISTERS = """
# In a directory of $fpath this file is the body of what completes; sourced, it says who does.
if [[ $zsh_eval_context[-1] == loadautofunc ]]; then
  _microbox_with_names "$@"
else
  compdef _microbox_with_names microbox
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
    fish = FISH_NAMES + "".join(FISH_OPTION.format(option[2:]) for option in BEHIND_OPTIONS)
    added = {"bash": BASH_NAMES, "zsh": ZSH_NAMES + ZSH_REGISTERS, "fish": fish}
    return script + added[shell]
