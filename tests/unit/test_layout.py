from __future__ import annotations

from textwrap import dedent
from typing import TYPE_CHECKING

import pytest

from openreg_airflow.artifacts.layouts import layout
from openreg_airflow.errors import ArtifactError, SpecError

if TYPE_CHECKING:
    from pathlib import Path

R = 'xmlns:r="urn:openreg:layout:1"'


def faults(text: str) -> list[tuple[int, int, str]]:
    _, found = layout.inspect(dedent(text).encode())
    return [(*fault.place, fault.message) for fault in found]


def test_all_faults_are_found_at_once_with_line_and_column() -> None:
    found = faults(
        f"""\
        <doc {R}>
          <head>{{sender}}</head>
          <rec r:each="rows" r:kye="id">
            <a>{{price:.2}}</a>
            <b Ccy="{{}}">{{price</b>
            <c r:when="action == 'NEW'">x</c>
            <d/>
            <e>text <f>{{x}}</f></e>
          </rec>
        </doc>
        """
    )
    assert [(line, column) for line, column, _ in found] == [
        (2, 9), (3, 29), (4, 8), (5, 13), (5, 17), (6, 24), (7, 5), (8, 8),
    ]  # fmt: skip
    messages = [message for *_, message in found]
    assert messages[0] == "{sender} speaks of a record and stands outside any element with r:each"
    assert messages[1].startswith("r:kye is unknown; known are r:each, r:on, r:key")
    assert messages[2].startswith("{price:.2}: '.2' is not a format")
    assert messages[3].startswith("{} is not a placeholder")
    assert messages[4] == "'{' has no partner; a brace itself is written twice"
    assert messages[5] == "condition: expected a value: 'text', a number, true or false, found ="
    assert messages[6] == "<d> has no content, and empty elements are never written"
    assert messages[7] == "<e> has both text and elements"


@pytest.mark.parametrize(
    ("marked", "message"),
    [
        ("^", "the layout is empty"),
        ("<doc><a></^doc>", "not well-formed XML: mismatched tag"),
        ("<doc>^&unknown;</doc>", "not well-formed XML: undefined entity"),
        ("<doc>^<x:a>1</x:a></doc>", "prefix x is not declared"),
        ("^<doc><a>1</a></doc>", "no element has r:each"),
        (f'<doc {R} r:each="^rows"><a>{{a}}</a></doc>', "the document itself cannot be repeated"),
        (f"<doc {R}>^<r:rec>1</r:rec></doc>", "own namespace has attributes, not elements"),
        (f'<!DOCTYPE d ^[<!ENTITY e SYSTEM "/etc/passwd">]><d {R}/>', "no document type"),
        (f'<doc {R}><a r:each="rows"\n r:when="^x = 1">{{a}}</a></doc>', "would drop records"),
        (f'<doc {R}><l r:choice="^true"><a>1</a><b>2</b></l></doc>', "speaks of a record"),
        (f'<doc {R}><a r:each="rows"><b r:each="^more">{{b}}</b></a></doc>', "needs r:on"),
        (f'<doc {R}><a r:each="rows" r:on="^id">{{b}}</a></doc>', "that is inside another"),
        (f'<doc {R}><a r:each="rows"><b r:on="^id">{{b}}</b></a></doc>', "stands beside r:each"),
        (
            f'<doc {R}><a r:each="rows"><b r:each="more" r:on="^a == b">{{b}}</b></a></doc>',
            "'a == b' does not say",
        ),
        (
            f'<doc {R}><a r:each="rows" r:key=\'k\' r:choice="^maybe">{{b}}</a></doc>',
            "expected true",
        ),
        (f'<doc {R}><a r:each="rows" r:choice="^true"><b>1</b></a></doc>', "needs two elements"),
        (f'<doc {R}><a r:each="rows" r:optional="^Ccy">{{b}}</a></doc>', "r:optional names Ccy"),
        (f'<doc {R}><a r:each="^Rows">{{b}}</a></doc>', "'Rows' is not the name of a table"),
        (f'<doc {R}><a r:key="^id">1</a></doc>', "r:key stands beside r:each"),
        (f'<doc {R}><a r:each="rows">^{{run.clock}}</a></doc>', "{run.clock} is unknown"),
        (f'<doc {R}>^<?php x?><a r:each="rows">{{a}}</a></doc>', "<?php?>"),
        (f'<doc {R}><a r:each="rows">\n  é ^{{1}}</a></doc>', "{1} is not a placeholder"),
    ],
)
def test_fault_has_its_place(marked: str, message: str) -> None:
    before, _, after = marked.partition("^")
    place = before.count("\n") + 1, len(before) - before.rfind("\n")
    found = faults(before + after)
    assert [f[:2] for f in found if message in f[2]] == [place], found


def test_columns_know_their_lines(tmp_path: Path) -> None:
    path = tmp_path / "layout.xml"
    path.write_text(
        f'<doc {R}>\n<rec r:each="rows" r:key="id">\n'
        '<a x="{b:.2f}" r:when="c is not null and d in (\'1\')">{a}</a></rec></doc>'
    )
    read = layout.read(path)
    [(element, way)] = read.each()
    assert way == ("doc", "rec")
    assert list(element.columns()) == [("id", 2), ("a", 3), ("b", 3), ("c", 3), ("d", 3)]
    assert read.tables == {"rows"}


def test_inner_columns_are_those_of_the_inner_table(tmp_path: Path) -> None:
    path = tmp_path / "layout.xml"
    path.write_text(
        f'<doc {R}><rec r:each="rows"><id>{{id}}</id>'
        '<l><i r:each="more" r:on="id, b = a" r:when="z = 1">{x}</i></l></rec></doc>'
    )
    read = layout.read(path)
    [(element, _)] = read.each()
    [inner] = element.inner()
    assert [name for name, _ in element.columns()] == ["id", "id", "a"]
    assert [name for name, _ in inner.columns()] == ["x", "z"]
    assert inner.on == (("id", "id"), ("b", "a"))
    assert read.tables == {"rows", "more"}


def test_reading_a_faulty_layout_names_the_first_fault(tmp_path: Path) -> None:
    path = tmp_path / "layout.xml"
    path.write_text(f'<doc {R}>\n<rec r:each="rows"><a>{{</a><b/></rec></doc>')
    with pytest.raises(ArtifactError, match=r"has no partner.*\(and 1 more") as caught:
        layout.read(path)
    assert caught.value.where == "layout.xml, line 2, column 23"


def test_missing_layout_is_an_error_of_the_spec(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"layout layout\.xml is missing"):
        layout.read(tmp_path / "layout.xml")
