from __future__ import annotations

from pathlib import Path

from typer.testing import CliRunner

from openreg_airflow.language.functions import FUNCTIONS
from openreg_airflow.language.library import MACROS
from openreg_airflow.language.manual import reference
from openreg_airflow.validate.rules_commands import app

MANUAL = Path(__file__).parents[2] / "docs" / "expressions.md"


def test_the_manual_is_current() -> None:
    """``openreg rules functions`` prints what belongs behind the mark."""
    _, mark, kept = MANUAL.read_text(encoding="utf-8").partition("<!-- functions -->\n\n")
    assert mark
    assert kept == reference()


def test_the_command_prints_the_reference() -> None:
    result = CliRunner().invoke(app, ["functions"])
    assert result.exit_code == 0
    assert result.stdout == reference()
    assert CliRunner().invoke(app, ["packs"]).stdout == "mifir_transactions\n"


def test_every_function_has_a_page_with_examples() -> None:
    text = reference()
    for function in FUNCTIONS.values():
        assert f"#### `{function.spelled}`" in text
        assert function.about.endswith(".")
        assert function.examples


def test_the_manual_names_the_functions_for_rules_in_sql() -> None:
    text = MANUAL.read_text(encoding="utf-8")
    names = (head.partition("(")[0] for head in MACROS if not head.startswith("openreg_"))
    assert [name for name in names if f"`{name}(" not in text] == []
