"""Rule packs: rules that several reports share, from a file or an installed package."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.metadata import entry_points
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, ValidationError

from openreg_airflow import yaml_source
from openreg_airflow.column_types import ColumnType
from openreg_airflow.errors import SpecError
from openreg_airflow.section import Name, Section
from openreg_airflow.validate.spec import RuleId, RuleSpec

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable

    from openreg_airflow.validate.spec import Include, ValidateSection

#: Entry points of this group name a pack's file: a ``Path`` or a resource of the package.
GROUP = "openreg.rule_packs"
_MAX_BYTES = 8 << 20


class PackError(SpecError):
    """A rule pack cannot be used.

    ``include`` is the place of the pack in the section; ``file``, ``line`` and ``column`` lead to
    the fault inside the pack.
    """

    def __init__(
        self,
        message: str,
        *,
        hint: str | None = None,
        file: Path | None = None,
        line: int = 1,
        column: int = 1,
    ) -> None:
        super().__init__(message, hint=hint, where=str(file) if file else None)
        self.file = file
        self.line = line
        self.column = column


class RulePack(Section):
    """The file of a rule pack.

    Attributes:
        openreg_rules: version of the form.
        table: the table that the rules speak of.
        columns: the types of the columns that the rules expect; examples are made of them.
        rules: as in a report's ``validate`` section; ``table`` may be left out.
    """

    openreg_rules: Literal[1]
    title: str
    description: str = ""
    table: Name
    columns: dict[str, ColumnType] = Field(default_factory=dict)
    rules: dict[RuleId, dict[str, Any]]


@dataclass(frozen=True)
class SharedRule:
    """A rule that came from a pack.

    Attributes:
        spec: the rule, with the report's table and severity.
        include: which of the section's includes brought it.
        columns: the types that the pack declares for its table.
        file: the pack's file, when it is one of the reports' folder.
    """

    spec: RuleSpec
    include: int
    columns: dict[str, str]
    file: Path | None


def shared_rules(spec: ValidateSection, folder: Path) -> dict[str, SharedRule]:
    """The rules of all packs that a section includes, by id.

    Args:
        spec: the section.
        folder: the report's folder; files are looked for beside it.

    Raises:
        PackError: a pack is missing or wrong, or gives an id that is taken.
    """
    found: dict[str, SharedRule] = {}
    for number, include in enumerate(spec.include):
        name = include.pack or include.file
        for rule_id, rule in _rules(include, number, folder).items():
            if rule_id in found or rule_id in spec.rules:
                message = f"the rule {rule_id} of {name} is there already"
                raise PackError(message, hint=f"Add it to leave_out of {name}.")
            found[rule_id] = rule
    return found


def _rules(include: Include, number: int, folder: Path) -> dict[str, SharedRule]:
    source = _named(include.pack) if include.pack else folder.parent / (include.file or "")
    name = include.pack or include.file or ""
    pack, text = _read(source, name)
    for key in (*include.severity, *include.leave_out):
        if key not in pack.rules:
            message = f"{name} has no rule {key!r}"
            raise PackError(message, hint=f"Its rules are: {', '.join(pack.rules)}.")
    file = source if isinstance(source, Path) else None
    rules = {}
    for rule_id, given in pack.rules.items():
        if rule_id in include.leave_out:
            continue
        if "sql_file" in given:
            message = f"{name}: rule {rule_id} has sql_file; a pack's rules stand in its own file"
            raise _fault(source, text, ("rules", rule_id, "sql_file"), message)
        data = {"table": pack.table} | given
        if include.table is not None and data["table"] == pack.table:
            data["table"] = include.table
        if rule_id in include.severity:
            data["severity"] = include.severity[rule_id]
        try:
            spec = RuleSpec.model_validate(data)
        except ValidationError as error:
            raise _invalid(error, source, text, name, ("rules", rule_id)) from error
        rules[rule_id] = SharedRule(spec, number, dict(pack.columns), file)
    return rules


def _named(name: str) -> Traversable:
    own = files("openreg_airflow.validate").joinpath("packs", f"{name}.yaml")
    if name.isidentifier() and own.is_file():
        return own
    installed = {point.name: point for point in entry_points(group=GROUP)}
    if name not in installed:
        listed = ", ".join(packs())
        message = f"there is no rule pack {name!r}"
        raise PackError(message, hint=f"Installed are: {listed}. A file is given as file: ...")
    loaded = installed[name].load()
    return Path(loaded) if isinstance(loaded, str) else loaded


def packs() -> list[str]:
    """The names of the packs that are installed."""
    own = files("openreg_airflow.validate").joinpath("packs").iterdir()
    names = {file.name.removesuffix(".yaml") for file in own if file.name.endswith(".yaml")}
    return sorted(names | {point.name for point in entry_points(group=GROUP)})


def _read(source: Traversable, name: str) -> tuple[RulePack, str]:
    try:
        raw = source.read_bytes()
        if len(raw) > _MAX_BYTES:
            message = f"{name} has {len(raw):,} bytes; 8 MiB are the most"
            raise PackError(message)
        text = raw.decode("utf-8-sig")
        return RulePack.model_validate(yaml_source.parse(text)), text
    except OSError as error:
        message = f"the rule pack {name} cannot be read: {error.strerror}"
        raise PackError(message, hint=f"It is looked for at {source}.") from error
    except UnicodeDecodeError as error:
        message = f"the rule pack {name} is not UTF-8: {error.reason}"
        raise PackError(message) from error
    except yaml_source.YamlError as error:
        message = f"the rule pack {name} is not readable YAML: {error.message}"
        file = source if isinstance(source, Path) else None
        raise PackError(
            message, hint=error.hint, file=file, line=error.line, column=error.column
        ) from error
    except ValidationError as error:
        raise _invalid(error, source, text, name, ()) from error


def _invalid(
    error: ValidationError, source: Traversable, text: str, name: str, keys: tuple[str, ...]
) -> PackError:
    first = error.errors(include_url=False)[0]
    place = (*keys, *first["loc"])
    dotted = ".".join(map(str, place))
    return _fault(source, text, place, f"{name}: {dotted}: {first['msg']}")


def _fault(source: Traversable, text: str, keys: tuple[str | int, ...], message: str) -> PackError:
    place = yaml_source.Places(text).of(keys)
    file = source if isinstance(source, Path) else None
    return PackError(message, file=file, line=place.line, column=place.column)
