# SPDX-License-Identifier: GPL-2.0-or-later
"""Completion by the shell: click writes the scripts, and answers what the shell asks."""

from __future__ import annotations

import os

import click
from click.shell_completion import get_completion_class, shell_complete

PROGRAM = "pybridge"
VARIABLE = "_PYBRIDGE_COMPLETE"
"""Set by the shell when it asks how a command line can go on."""

FISH_SPLIT = ('string split ","', 'string split --max 1 ","')
"""In click's script for fish: it would end a completion, or its description, at the first comma."""

SHELLS = ("bash", "zsh", "fish")


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
