"""The examples of the documents are right: each fenced block is read as its reader would use it."""

from __future__ import annotations

import re
import shlex
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
from pydantic import ValidationError
from typer.exceptions import TyperException
from typer.main import get_command

from dag_factory.report import ReportSpec
from openreg_airflow.artifacts.layouts import layout
from openreg_airflow.cli import app
from openreg_airflow.transform.runner.context import Context
from openreg_airflow.validate.check import check
from openreg_airflow.validate.pack import RulePack
from openreg_airflow.validate.spec import RuleSpec
from openreg_airflow.yaml_source import parse

if TYPE_CHECKING:
    from collections.abc import Iterator

PROJECT = Path(__file__).resolve().parents[2]
DOCUMENTS = sorted(path for folder in (".", "docs", "docker/*", "benchmarks")
                   for path in PROJECT.glob(f"{folder}/*.md"))  # fmt: skip
#: What every report has, so that an example need not show it.
REPORT: dict[str, Any] = {
    "openreg": 1,
    "id": "example",
    "title": "Example",
    "extract": {"sources": {"trades": {"connection": "warehouse", "sql": "trades.sql"}}},
    "artifacts": {"out": {"format": "csv", "table": "trades", "filename": "out.csv"}},
}
RULE = {"title": "Example", "table": "trades", "message": "wrong"}
PACK = PROJECT / "openreg_airflow" / "validate" / "packs" / "mifir_transactions.yaml"
#: Stands for lines that an example leaves out.
LEFT_OUT = re.compile(r"^ *\.\.\.\n", re.MULTILINE)
COMMANDS: Any = get_command(app)
PROMPT = re.compile(r"^\$ ", re.MULTILINE)


class Block(NamedTuple):
    """A fenced block; its text begins with its first word."""

    place: str
    kind: str
    text: str
    indent: int


def blocks(*kinds: str) -> list[Any]:
    found = []
    for document in DOCUMENTS:
        text = document.read_text(encoding="utf-8")
        for fence in re.finditer(r"^```(\w+)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
            line = text[: fence.start()].count("\n") + 1
            place = f"{document.relative_to(PROJECT)}:{line}"
            inner = fence[2]
            indent = len(inner) - len(inner.lstrip(" "))
            one = Block(place, fence[1], textwrap.dedent(inner), indent)
            if one.kind in kinds:
                found.append(pytest.param(one, id=place))
    return found


def faults(document: dict[str, Any], *, whole: bool) -> list[str]:
    """What is wrong with a spec; where lines were left out, nothing is missing."""
    try:
        spec = ReportSpec.model_validate(REPORT | document)
    except ValidationError as error:
        wrong = [one for one in error.errors() if whole or one["type"] != "missing"]
        return [f"{one['loc']}: {one['msg']}" for one in wrong]
    if spec.validate_ is None:
        return []
    # The pack of a house is a file of the house.
    kept = tuple(include for include in spec.validate_.include if include.pack)
    rules = spec.validate_.model_copy(update={"include": kept})
    declared = {"transactions": columns()} if kept else None
    found = [problem.message for problem in check(rules, PROJECT, declared)]
    return [message for message in found if "No such file" not in message]


def columns() -> dict[str, str]:
    """Those of the table of transactions, as a report that includes the pack declares them."""
    pack = RulePack.model_validate(parse(PACK.read_text(encoding="utf-8")))
    return pack.columns | {"fx_rate": "decimal(18,5)"}


def readings(block: Block) -> Iterator[list[dict[str, Any]]]:
    """The specs that an example may be a piece of, one way after the other."""
    found = parse(LEFT_OUT.sub("", block.text))
    source = REPORT["extract"]["sources"]["trades"]
    artifact = REPORT["artifacts"]["out"]
    if block.indent == 0:
        yield [found]
    elif block.indent == 4:
        yield [{"extract": {"sources": found}}]
        for written in (artifact, artifact | {"format": "xml", "layout": "layout.xml"}):
            yield [{"artifacts": {"out": written | found}}]
    else:
        yield [{"extract": {"sources": {"trades": source | found}}}]


@pytest.mark.parametrize("block", blocks("yaml"))
def test_yaml_is_of_a_spec(block: Block) -> None:
    whole = not LEFT_OUT.search(block.text)
    if block.text.startswith("# yaml-language-server: $schema=../../"):
        [schema] = re.findall(r"\.\./\.\./(\S+)", block.text)
        assert (PROJECT / schema).is_file()
        return
    if block.text.startswith("openreg_rules:"):
        pack = RulePack.model_validate(parse(block.text))
        for rule in pack.rules.values():
            RuleSpec.model_validate({"table": pack.table} | rule)
        return
    if block.text.startswith("unique:"):
        # Each line is one way to write a rule's body.
        for line in block.text.splitlines():
            rules = {"example": RULE | parse(line)}
            assert faults({"validate": {"rules": rules}}, whole=True) == [], line
        return
    told = [[fault for spec in specs for fault in faults(spec, whole=whole)]
            for specs in readings(block)]  # fmt: skip
    assert [] in told, told


@pytest.mark.parametrize("block", blocks("sh", "bash", "console"))
def test_commands_can_be_called_so(block: Block) -> None:
    text = block.text
    if block.kind == "console":
        # What is not behind the prompt is what the command says, or goes on with the line above.
        text = "\n".join(PROMPT.sub("", line) for line in re.findall(
            r"^\$ (?:[^\n]*\\\n)*[^\n]*", text, re.MULTILINE))  # fmt: skip
    for line in text.replace("\\\n", " ").splitlines():
        words = shlex.split(line.partition(">")[0], comments=True)
        if "openreg" not in [Path(word).name for word in words[:2]]:
            continue
        while Path(words[0]).name != "openreg":
            words.pop(0)
        command, name = COMMANDS, "openreg"
        called = words[1:]
        while hasattr(command, "commands"):
            name = called.pop(0)
            command = command.commands[name]
        if fault := refusal(command, name, called):
            # The files are the reader's.
            assert re.search(r"'[\w.]+' does not exist\.$", fault), (line, fault)


def refusal(command: Any, name: str, words: list[str]) -> str | None:
    """Why a command line is refused before anything is done."""
    try:
        command.make_context(name, words)
    except TyperException as error:
        return str(error)
    return None


@pytest.mark.parametrize("block", blocks("python"))
def test_scripts_use_what_a_script_has(block: Block) -> None:
    made: dict[str, Any] = {}
    exec(compile(block.text, block.place, "exec"), made)
    assert callable(made["transform"])
    known = set(dir(Context)) | set(Context.__annotations__)
    assert set(re.findall(r"\bcontext\.(\w+)", block.text)) <= known


@pytest.mark.parametrize("block", blocks("xml"))
def test_layouts_have_no_faults(block: Block) -> None:
    root, found = layout.inspect(block.text.encode())
    assert root is not None
    assert found == []


def test_every_other_block_is_read_elsewhere_or_is_no_code() -> None:
    """JSON: the pages of deliveries and formats; SQL: the search of mapping sets in PostgreSQL."""
    kinds = {kind for document in DOCUMENTS
             for kind in re.findall(r"^```(\w+)$", document.read_text(), re.MULTILINE)}  # fmt: skip
    read = {"yaml", "sh", "bash", "console", "python", "xml", "json", "sql"}
    assert kinds <= read | {"text"}
