# SPDX-License-Identifier: GPL-2.0-or-later
"""Completion by the shell: click writes the scripts, and answers what the shell asks."""

from __future__ import annotations

import os

import click
from click.shell_completion import (
    BashComplete,
    CompletionItem,
    FishComplete,
    ShellComplete,
    ZshComplete,
    add_completion_class,
    get_completion_class,
    shell_complete,
)

PROGRAM = "pybridge"
VARIABLE = "_PYBRIDGE_COMPLETE"
"""Set by the shell when it asks how a command line can go on."""

FISH_SPLIT = ('string split ","', 'string split --max 1 ","')
"""In click's script for fish: it would end a completion, or its description, at the first comma."""

SHELLS = ("bash", "zsh", "fish")


class _WithJoinedValues(ShellComplete):
    """Completes also the value in ``--option=value``, where click repeats what was typed, or finds nothing."""

    def get_completions(self, args: list[str], incomplete: str) -> list[CompletionItem]:
        """Return how the word can go on; bash takes the option and the equals sign for words of their own."""
        before = ""
        if incomplete.startswith("--") and "=" in incomplete:
            name, _, incomplete = incomplete.partition("=")
            args, before = [*args, name], f"{name}="
        elif args[-1:] == ["="]:
            args = args[:-1]
        else:
            return super().get_completions(args, incomplete)
        minus = "-" if incomplete.startswith("-") else ""  # of --sort; click would look for an option
        found = super().get_completions(args, incomplete.removeprefix(minus))
        return [CompletionItem(before + minus + item.value, item.type, item.help) for item in found]


for each in (BashComplete, ZshComplete, FishComplete):
    add_completion_class(type(each.__name__, (_WithJoinedValues, each), {}))


@click.command("completion")
@click.argument("shell", type=click.Choice(SHELLS))
@click.pass_context
def completion_command(ctx: click.Context, shell: str) -> None:
    """Print the script that lets a shell complete commands, options, columns and files.

    bash, in ~/.bashrc: eval "$(pybridge completion bash)"

    zsh, in ~/.zshrc, after compinit: eval "$(pybridge completion zsh)"

    fish: pybridge completion fish > ~/.config/fish/completions/pybridge.fish
    """
    kind = get_completion_class(shell)
    if kind is not None:
        script = kind(ctx.find_root().command, {}, PROGRAM, VARIABLE).source()
        click.echo(script.replace(*FISH_SPLIT))


def answer(command: click.Command) -> int | None:
    """Print how the command line can go on, and return the exit status; return None if no shell asks."""
    instruction = os.environ.get(VARIABLE)
    return shell_complete(command, {}, PROGRAM, VARIABLE, instruction) if instruction else None
