from __future__ import annotations

from datetime import date

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from openreg_airflow.yaml_source import Place, Places, YamlError, parse

SCALARS = st.one_of(
    st.text(alphabet=st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), max_size=20),
    st.integers(-(10**12), 10**12),
    st.booleans(),
    st.none(),
    st.dates(min_value=date(1900, 1, 1)),
)
DATA = st.dictionaries(
    st.from_regex(r"\A[a-z][a-z0-9_]{0,8}\Z"),
    st.recursive(
        SCALARS,
        lambda inner: (
            st.lists(inner, max_size=4)
            | st.dictionaries(st.from_regex(r"\A[a-z][a-z0-9_]{0,8}\Z"), inner, max_size=4)
        ),
        max_leaves=10,
    ),
    max_size=5,
)


class WithoutAliases(yaml.SafeDumper):
    def ignore_aliases(self, data: object) -> bool:
        return True


@given(DATA)
def test_plain_data_reads_back_as_it_was_written(data: dict[str, object]) -> None:
    text = yaml.dump(data, allow_unicode=True, Dumper=WithoutAliases)
    assert parse(text) == data


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("no", "no"),
        ("on", "on"),
        ("12:30", "12:30"),
        ("1e5", "1e5"),
        ("0x10", "0x10"),
        ("007", "007"),
        ("9" * 5000, "9" * 5000),
        ("true", True),
        ("~", None),
        ("2026-09-30", date(2026, 9, 30)),
        ("1.50", 1.5),
    ],
)
def test_scalars_follow_yaml_1_2(text: str, value: object) -> None:
    assert parse(f"key: {text}") == {"key": value}


@pytest.mark.parametrize(
    ("text", "line", "column", "words"),
    [
        ("a: 1\nb:\n  c: 1\n  c: 2\n", 4, 3, "given twice"),
        ("a: &anchor 1\nb: *anchor\n", 2, 4, "aliases"),
        ("a: 1\nb: 2026-02-31\n", 2, 4, "not a day of the calendar"),
        ("a: [1,\n", 2, 1, "flow"),
        ("a: 1\n\tb: 2\n", 2, 1, "tab"),
        ("a: !!python/object:os.system x\n", 1, 4, "constructor"),
        ("a: 1\nb: \x07\n", 2, 1, "not allowed"),
        ("a: 1\n---\nb: 1\n", 2, 1, "another document"),
        ("? [a]\n: 1\n", 1, 3, "plain text"),
    ],
)
def test_an_error_names_its_place(text: str, line: int, column: int, words: str) -> None:
    with pytest.raises(YamlError) as caught:
        parse(text)
    assert (caught.value.line, caught.value.column) == (line, column)
    assert words in caught.value.message


def test_nested_aliases_are_refused_before_they_multiply() -> None:
    bomb = "a0: &a0 [x]\n" + "".join(
        f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}, *a{n - 1}]\n" for n in range(1, 40)
    )
    with pytest.raises(YamlError, match="aliases"):
        parse(bomb)


def test_places_point_at_values_and_keys() -> None:
    places = Places("a: 1\nb:\n  - name: x\n    sql: y\n")
    assert places.of(["a"]) == Place(1, 4)
    assert places.of(["a"], key=True) == Place(1, 1)
    assert places.of(["b", 0, "sql"]) == Place(4, 10)


def test_a_step_that_is_not_in_the_text_is_passed_over() -> None:
    places = Places("artifacts:\n  main:\n    layout: 7\n")
    assert places.of(["artifacts", "main", "xml", "layout"]) == Place(3, 13)


def test_a_key_may_be_named_null() -> None:
    assert parse("null: '-'\nother: null\n") == {"null": "-", "other": None}
