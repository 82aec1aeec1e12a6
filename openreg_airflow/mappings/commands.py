"""``openreg mappings``: sets, their entries and their files on the command line."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from openreg_airflow.mappings import entry_commands, file_commands, set_commands, unmapped_command

if TYPE_CHECKING:
    from collections.abc import Callable

app = typer.Typer(
    help="Mapping sets: versioned cross-references, true as of a date.", no_args_is_help=True
)
_COMMANDS: dict[str, Callable[..., None]] = {
    "list": set_commands.list_command,
    "create": set_commands.create_command,
    "describe": set_commands.describe_command,
    "rename": set_commands.rename_command,
    "archive": set_commands.archive_command,
    "restore": set_commands.restore_command,
    "reference": set_commands.reference_command,
    "verify": set_commands.verify_command,
    "show": entry_commands.show_command,
    "add": entry_commands.add_command,
    "change": entry_commands.change_command,
    "end": entry_commands.end_command,
    "delete": entry_commands.delete_command,
    "history": entry_commands.history_command,
    "diff": entry_commands.diff_command,
    "import": file_commands.import_command,
    "export": file_commands.export_command,
    "unmapped": unmapped_command.unmapped_command,
}
for _name, _command in _COMMANDS.items():
    app.command(_name)(_command)
