# SPDX-License-Identifier: GPL-2.0-or-later
"""The command `pybridge`: its group, and the commands that have no module of their own.

Commands import modules that need pyarrow or pandas themselves, because these take longer to load than most captures take to read.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

import click
from click.shell_completion import CompletionItem

from pybridge import atomic_file, examples
from pybridge.cli.completion import completion_command
from pybridge.cli.options import CAPTURE_PATH, check_ending
from pybridge.cli.process import run, say, stopping
from pybridge.cli.report_commands import annotate_command, ladder_command, report_command, summary_command
from pybridge.cli.table_commands import connections_command, segments_command
from pybridge.cli.verify_command import verify_command
from pybridge.errors import OutputError
from pybridge.live.monitor import Limits
from pybridge.version import __version__
from pybridge.wireshark import plugin_files
from pybridge.wireshark.capture_source import STANDARD_INPUT, SourceKind, kind_of
from pybridge.wireshark.installation import tshark_version


class _Group(click.Group):
    """A group of commands that takes the name of a capture in place of a command, and prints its summary."""

    def resolve_command(self, ctx: click.Context, args: list[str]) -> tuple[str | None, click.Command | None, list[str]]:
        """Return the command that the arguments name; the summary if they begin with the name of a capture."""
        if args and self.get_command(ctx, args[0]) is None and _is_capture(args[0]):
            return summary_command.name, summary_command, args
        return super().resolve_command(ctx, args)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Return commands and options; once a name is begun, the shell adds those of files (zsh else shows nothing but files)."""
        files = [CompletionItem(incomplete, type="file")] if incomplete else []
        return [*files, *super().shell_complete(ctx, incomplete)]


def _is_capture(name: str) -> bool:
    """Whether a word that is no command is the name of a capture, though perhaps of one that is missing."""
    return kind_of(name) is not SourceKind.ABSENT or name == STANDARD_INPUT or os.sep in name or "." in name


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="pybridge")
def cli() -> None:
    """TCP handshakes and teardowns of captures: who opened, who closed, who refused, where it stalled.

    pybridge FILE prints a summary.

    FILE is any capture that Wireshark reads, or - for standard input. A folder or a quoted pattern ('ring/*.pcapng') is one
    capture if its files are those of a ring, else a capture for each file.
    """


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the `pybridge` command, and exit."""
    run(cli, arguments)


for each in (summary_command, report_command, connections_command, segments_command, ladder_command, verify_command):
    cli.add_command(each)
cli.add_command(annotate_command)
cli.add_command(completion_command)


@cli.command("live")
@click.argument("source", metavar="INTERFACE", type=CAPTURE_PATH)
@click.option("--filter", "bpf", default="", metavar="BPF", help="Capture filter, e.g. 'tcp port 443'.")
@click.option(
    "--format",
    "form",
    type=click.Choice(("events", "csv")),
    default="events",
    show_default=True,
    help="Print events as they happen, or a CSV row for each connection when it is forgotten.",
)
@click.option(
    "--answer-timeout",
    default=Limits.answer_timeout,
    show_default=True,
    metavar="SECONDS",
    help="Count an opening without answer as failed after SECONDS.",
)
@click.option(
    "--close-timeout",
    default=Limits.close_timeout,
    show_default=True,
    metavar="SECONDS",
    help="Forget a closed connection after SECONDS.",
)
@click.option(
    "--idle-timeout",
    default=Limits.idle_timeout,
    show_default=True,
    metavar="SECONDS",
    help="Forget an idle connection after SECONDS.",
)
@click.option(
    "--max-connections",
    default=Limits.max_connections,
    show_default=True,
    metavar="N",
    help="Track at most N connections.",
)
def live_command(
    source: str,
    bpf: str,
    form: str,
    answer_timeout: float,
    close_timeout: float,
    idle_timeout: float,
    max_connections: int,
) -> None:
    """Print handshakes, failures and closes as they happen, until Ctrl-C; then a table by server.

    INTERFACE may also be - for standard input (ssh host tcpdump -U -w - | pybridge live -), a named pipe, or a file.
    """
    from pybridge.cli import live_view

    limits = Limits(
        answer_timeout=answer_timeout,
        close_timeout=close_timeout,
        idle_timeout=idle_timeout,
        max_connections=max_connections,
    )
    if form == "events":
        live_view.follow(source, bpf, limits, stopping)
        return
    from pybridge.tables import schema
    from pybridge.tables.text_writers import write_csv

    write_csv(live_view.rows(source, bpf, limits, stopping), schema.CONNECTIONS, sys.stdout)


@cli.command("notebook")
@click.option("-o", "--output", "out", type=click.Path(path_type=Path), default=Path("explore.ipynb"), show_default=True)
def notebook_command(out: Path) -> None:
    """Copy the example notebook to this folder; open it in Jupyter."""
    check_ending(out, ("ipynb",))
    if out.exists():
        raise OutputError(f"{out} exists: name another file with -o.")
    with atomic_file.replacing(out) as temporary:
        temporary.write_bytes(examples.notebook().read_bytes())
    click.echo(out)
    say("open it with: jupyter lab " + str(out) + " (pip install jupyterlab ipywidgets)")


@cli.group("plugin")
def plugin_group() -> None:
    """Install the Wireshark plugin, or remove it."""


@plugin_group.command("install")
def plugin_install() -> None:
    """Copy the plugin and its profile into Wireshark's personal folders, and check that tshark loads the plugin."""
    click.echo(plugin_files.install())
    click.echo(plugin_files.install_profile())
    loaded = plugin_files.check()
    say(f"tshark {tshark_version()} loads version {loaded}; for its columns and colours: wireshark -C '{plugin_files.PROFILE}'.")


@plugin_group.command("uninstall")
def plugin_uninstall() -> None:
    """Remove the plugin and its profile from Wireshark's personal folders."""
    removed = plugin_files.uninstall()
    for path in removed:
        click.echo(path)
    if not removed:
        say("the plugin is not installed.")


@plugin_group.command("profile")
@click.option("-o", "--output", default=f"{plugin_files.PROFILE}.zip", show_default=True, type=Path, help="The file to write.")
def plugin_profile(output: Path) -> None:
    """Write the profile as a zip file for Edit > Configuration Profiles > Import."""
    check_ending(output, ("zip",))
    plugin_files.pack_profile(output)
    click.echo(output)


@plugin_group.command("path")
def plugin_path() -> None:
    """Print the path of the plugin's file, for tshark -X lua_script:FILE."""
    click.echo(plugin_files.path())
    if plugin_files.is_stale():
        say(f"{plugin_files.installed()} is another version: run pybridge plugin install.")
