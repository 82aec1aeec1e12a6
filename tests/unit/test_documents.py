"""What the documents name is there: links, commands with their options, targets, settings."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from typer.main import get_command
from typer.testing import CliRunner

from dag_factory.report import ReportSpec
from openreg_airflow.cli import app
from openreg_airflow.provider import get_provider_info

if TYPE_CHECKING:
    from collections.abc import Iterator

PROJECT = Path(__file__).resolve().parents[2]
DOCS = PROJECT / "docs"
DOCUMENTS = [*sorted(PROJECT.glob("*.md")), *sorted(DOCS.glob("*.md"))]
IDS = [str(document.relative_to(PROJECT)) for document in DOCUMENTS]
COMMAND = re.compile(r"(?:`|^\$? ?|/)openreg ((?:[^`\n#]|\\\n)+)", re.MULTILINE)


def words(text: str) -> str:
    return re.sub(r"[^\w\- ]", "", text.lower()).strip().replace(" ", "-")


def anchors(document: Path) -> set[str]:
    return {words(title) for title in re.findall(r"^#+ (.*)$", document.read_text(), re.MULTILINE)}


def commands(root: Any, name: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every command of the command line with the words that call it."""
    for word, command in root.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, (*name, word))
        else:
            yield (*name, word), command


COMMANDS = dict(commands(get_command(app)))
GROUPS = {name[:1] for name in COMMANDS if len(name) == 2}


@pytest.mark.parametrize("document", DOCUMENTS, ids=IDS)
def test_links_lead_somewhere(document: Path) -> None:
    for target in re.findall(r"\]\(([^)]+)\)", document.read_text()):
        if target.startswith("http"):
            continue
        path, _, anchor = target.partition("#")
        file = (document.parent / path).resolve() if path else document
        assert file.exists(), target
        assert not anchor or anchor in anchors(file), target


@pytest.mark.parametrize("document", DOCUMENTS, ids=IDS)
def test_commands_and_options_that_are_named_are_there(document: Path) -> None:
    for line in COMMAND.findall(document.read_text()):
        called = line.split()
        name = tuple(called[:1])
        if name in GROUPS and len(called) > 1:
            name = tuple(called[:2])
        if not re.fullmatch(r"[a-z-]+", called[0]) or name in GROUPS:
            continue
        assert name in COMMANDS, line
        known = {option for one in COMMANDS[name].params for option in one.opts}
        options = re.findall(r"(?<![\w-])--[a-z][a-z-]*", line)
        assert set(options) <= known | {"--help"}, line


@pytest.mark.parametrize("document", DOCUMENTS, ids=IDS)
def test_targets_of_make_that_are_named_are_there(document: Path) -> None:
    makefile = (PROJECT / "Makefile").read_text()
    told = re.findall(r"`make ([a-z0-9-]+)|^make ([a-z0-9-]+) +#", document.read_text(), re.M)
    for target in filter(None, (word for pair in told for word in pair)):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target


def test_every_setting_is_told_of_and_no_other() -> None:
    known = get_provider_info()["config"]["openreg"]["options"]
    texts = [document.read_text() for document in DOCUMENTS]
    named = {name for text in texts for name in re.findall(r"`\[openreg\] ([a-z_]+)", text)}
    assert named <= set(known)
    table = (DOCS / "admin.md").read_text()
    assert not [name for name in known if f"`{name}`" not in table]


def test_every_field_of_a_spec_is_told_of() -> None:
    told = {word for page in DOCS.glob("*.md") for word in re.findall(r"\w+", page.read_text())}
    sections = ReportSpec.model_json_schema()["$defs"]
    fields = [
        (name, field) for name, one in sections.items() for field in one.get("properties", ())
    ]
    assert len(fields) > 200
    assert [pair for pair in fields if pair[1] not in told] == []


def test_every_page_and_every_command_is_in_the_index() -> None:
    index = (DOCS / "README.md").read_text()
    pages = {page.name for page in DOCS.glob("*.md")} - {"README.md"}
    assert pages <= set(re.findall(r"\]\(([a-z]+\.md)", index))
    told = {name[0] for name in COMMANDS}
    assert told == set(re.findall(r"^\| `openreg ([a-z]+)`", index, re.MULTILINE))


def test_every_command_argument_and_option_has_a_help_in_sentences() -> None:
    for name, command in COMMANDS.items():
        assert (command.help or "").strip().endswith("."), name
        for one in command.params:
            if one.name != "help":
                assert (one.help or "").endswith("."), (name, one.name)


def test_the_example_of_the_readme_is_a_report(tmp_path: Path) -> None:
    [example] = re.findall(r"```yaml\n(.*?)```", (PROJECT / "README.md").read_text(), re.DOTALL)
    folder = tmp_path / "my_report"
    folder.mkdir()
    (folder / "report.yaml").write_text(example)
    (folder / "trades.sql").write_text("SELECT * FROM trades WHERE day = :business_date")
    (folder / "transform.py").write_text("def transform(inputs, context):\n    return inputs\n")
    done = CliRunner().invoke(app, ["check", str(folder)])
    assert done.exit_code == 0, done.output
