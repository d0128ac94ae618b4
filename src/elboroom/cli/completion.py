"""Scripts that complete elboroom's commands, options and values in bash, zsh and fish."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from elboroom.cli.arguments import Argument, arguments
from elboroom.cli.options import Verb
from elboroom.config import preset_names

Verbs = Mapping[str, type[Verb]]
_GROUP = "data"  # the only command whose verbs have two words
_LONGEST = 60  # characters of a description


@dataclass(frozen=True)
class _Word:
    """An option or a command, its description, and the values that it takes, if they can be listed."""

    text: str
    about: str
    values: tuple[str, ...] = ()
    takes_value: bool = False


def script(shell: str, verbs: Verbs) -> str:
    """Return the script that completes these verbs in a shell: "bash", "zsh" or "fish"."""
    return "\n".join(SHELLS[shell](verbs)) + "\n"


def _bash(verbs: Verbs) -> Iterator[str]:
    yield "_elboroom() {"
    yield "    local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]}"
    yield '    local verb=${COMP_WORDS[1]} words=""'
    yield "    COMPREPLY=()"
    yield f"    if ((COMP_CWORD == 1)); then words={shlex.quote(_joined(_commands(verbs)))}"
    yield f"    elif [[ $verb == {_GROUP} ]] && ((COMP_CWORD == 2)); then"
    yield f"        words={shlex.quote(_joined(_commands(verbs, _GROUP)))}"
    yield "    else"
    yield f'        [[ $verb == {_GROUP} ]] && verb="{_GROUP} ${{COMP_WORDS[2]}}"'
    yield '        case "$verb $prev" in'
    for name, word in _with_values(verbs):
        case = shlex.quote(f"{name} {word.text}")
        yield f"            {case}) words={shlex.quote(' '.join(word.values))} ;;"
    yield "        esac"
    yield '        if [[ -z $words && $cur == -* ]]; then case "$verb" in'
    for name, verb in verbs.items():
        yield f"            {shlex.quote(name)}) words={shlex.quote(_joined(_options(verb)))} ;;"
    yield "        esac; fi"
    yield "    fi"
    yield '    [[ -n $words ]] && COMPREPLY=($(compgen -W "$words" -- "$cur"))'
    yield "}"
    yield "complete -o default -F _elboroom elboroom"


def _zsh(verbs: Verbs) -> Iterator[str]:
    yield "#compdef elboroom"
    yield "_elboroom() {"
    yield "    local -a found"
    yield "    local verb=$words[2]"
    yield "    if ((CURRENT == 2)); then"
    yield f"        found=({_described(_commands(verbs))})"
    yield "        _describe command found; return"
    yield "    fi"
    yield f"    if [[ $verb == {_GROUP} ]]; then"
    yield "        if ((CURRENT == 3)); then"
    yield f"            found=({_described(_commands(verbs, _GROUP))})"
    yield "            _describe command found; return"
    yield "        fi"
    yield f'        verb="{_GROUP} $words[3]"'
    yield "    fi"
    yield '    case "$verb $words[CURRENT-1]" in'
    for name, word in _with_values(verbs):
        case = shlex.quote(f"{name} {word.text}")
        yield f"        ({case}) compadd -- {shlex.join(word.values)}; return ;;"
    yield "    esac"
    yield "    if [[ $PREFIX == -* ]]; then"
    yield "        case $verb in"
    for name, verb in verbs.items():
        yield f"            ({shlex.quote(name)}) found=({_described(_options(verb))}) ;;"
    yield "        esac"
    yield "        _describe -o option found; return"
    yield "    fi"
    yield "    _files"
    yield "}"
    yield "if [[ $zsh_eval_context[-1] == loadautofunc ]]; then"
    yield '    _elboroom "$@"'
    yield "else"
    yield "    compdef _elboroom elboroom"
    yield "fi"


def _fish(verbs: Verbs) -> Iterator[str]:
    for word in _commands(verbs):
        yield f"complete -c elboroom -n __fish_use_subcommand -xa {word.text} -d {_quoted(word.about)}"
    within = [word.text for word in _commands(verbs, _GROUP)]
    none = f"__fish_seen_subcommand_from {_GROUP}; and not __fish_seen_subcommand_from {' '.join(within)}"
    for word in _commands(verbs, _GROUP):
        yield f"complete -c elboroom -n '{none}' -xa {word.text} -d {_quoted(word.about)}"
    for name, verb in verbs.items():
        when = "; and ".join(f"__fish_seen_subcommand_from {part}" for part in name.split())
        for word in _options(verb):
            line = (
                f"complete -c elboroom -n '{when}' -l {word.text.removeprefix('--')} -d {_quoted(word.about)}"
            )
            if word.values:
                line += f" -xa {_quoted(' '.join(word.values))}"
            yield line + (" -r" if word.takes_value and not word.values else "")


SHELLS: dict[str, Callable[[Verbs], Iterator[str]]] = {"bash": _bash, "zsh": _zsh, "fish": _fish}


def _commands(verbs: Verbs, group: str = "") -> list[_Word]:
    """First words of the command line, or the second words of a group of verbs, with the options there."""
    prefix = f"{group} " if group else ""
    found = [
        _Word(name.removeprefix(prefix), _first_sentence(verb.__doc__ or ""))
        for name, verb in verbs.items()
        if name.startswith(prefix) and " " not in name.removeprefix(prefix)
    ]
    return found if group else [*found, _Word(_GROUP, "Data sets: list, show, prepare and join them.")]


def _options(verb: type[Verb]) -> list[_Word]:
    """Options of a verb, in the form that changes the default of a switch."""
    found = [_word(one) for one in arguments(verb) if not one.option.positional]
    more = [_Word("--help-all", "Show all options.")] if verb.common else []
    return [*found, _Word("--help", "Show the help."), *more]


def _word(one: Argument) -> _Word:
    flag = one.flag.replace("--", "--no-", 1) if one.is_switch and one.default is True else one.flag
    values = tuple(preset_names()) if one.name == "preset" else one.choices
    return _Word(flag, _first_sentence(one.option.help), values, takes_value=not one.is_switch)


def _with_values(verbs: Verbs) -> Iterator[tuple[str, _Word]]:
    for name, verb in verbs.items():
        yield from ((name, word) for word in _options(verb) if word.values)


def _first_sentence(text: str) -> str:
    sentence = " ".join(text.split()).partition(". ")[0].rstrip(".")
    return sentence if len(sentence) <= _LONGEST else sentence[: _LONGEST - 1].rpartition(" ")[0] + " …"


def _joined(words: list[_Word]) -> str:
    return " ".join(word.text for word in words)


def _described(words: list[_Word]) -> str:
    return " ".join(_quoted_for_zsh(f"{word.text}:{word.about}") for word in words)


def _quoted_for_zsh(text: str) -> str:
    return shlex.quote(text.replace("\\", ""))


def _quoted(text: str) -> str:
    """Quote for fish, whose single quotes know two escapes."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
