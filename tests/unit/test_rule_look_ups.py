"""Look-ups as of a date of the row: a pass joins the sets, and finds what a rule alone finds."""

from __future__ import annotations

from datetime import date, timedelta
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from openreg_airflow.exception_queue.spec import RecordTable
from openreg_airflow.language.compiler import compile_condition
from openreg_airflow.language.look_up import JOINED
from openreg_airflow.language.scope import CodeSet, Scope, columns_of
from openreg_airflow.mapping_records import TypedColumn
from openreg_airflow.validate import joined, passes, sweep
from openreg_airflow.validate.engine import run_rules
from openreg_airflow.validate.job import Job, MappingTable, Rule
from openreg_airflow.validate.joined import DatedSets
from openreg_airflow.validate.passes import Passes
from openreg_airflow.validate.session import mapping_views, open_session
from openreg_airflow.validate.spec import RuleSpec
from tests.unit.rule_jobs import failing_rows, job

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from hypothesis.strategies import SearchStrategy

    from openreg_airflow.records import RuleResult

DATES = pa.date32()
BEGIN = date(2026, 3, 1)
KEYS = ("a", "b", "c")

Row = dict[str, Any]
#: Key, begin, past, and the values.
Entry = tuple[tuple[str, ...], date | None, date | None, tuple[Any, ...]]


class Known:
    """The entries of a set, asked as simply as can be."""

    def __init__(self, entries: list[Entry]) -> None:
        self.entries = entries

    def has(self, day: date | None, *key: str | None) -> bool | None:
        if day is None or None in key:
            return None
        return self._found(day, key) is not None

    def value(self, place: int, day: date | None, *key: str | None) -> Any:
        found = None if day is None or None in key else self._found(day, key)
        return None if found is None else found[place]

    def _found(self, day: date, wanted: tuple[str | None, ...]) -> tuple[Any, ...] | None:
        for key, begin, past, values in self.entries:
            if key == wanted and (begin or date.min) <= day < (past or date.max):
                return values
        return None


def same(one: Any, two: Any) -> bool | None:
    return None if one is None or two is None else one == two


def above(number: Any, least: int) -> bool | None:
    return None if number is None else number > least


def negated(answer: bool | None) -> bool | None:
    return None if answer is None else not answer


def either(one: bool | None, two: bool | None) -> bool | None:
    return True if True in (one, two) else None if None in (one, two) else False


def chosen(test: bool | None, yes: bool | None, no: bool | None) -> bool | None:
    return None if test is None else yes if test else no


#: A condition, and what it is of a row: of the set ``s`` with a key and the values ``v`` and ``n``,
#: and of ``p`` with two keys and a value.
CONDITIONS: dict[str, Callable[[Row, Known, Known], bool | None]] = {
    'mapping("s", k, as_of=d, value="v") == w': lambda r, s, p: same(
        s.value(0, r["d"], r["k"]), r["w"]
    ),
    'mapping("s", k, as_of=d, value="n") is None': lambda r, s, p: (
        s.value(1, r["d"], r["k"]) is None
    ),
    'k in mapping("s", as_of=d)': lambda r, s, p: s.has(r["d"], r["k"]),
    'k not in mapping("s", as_of=e)': lambda r, s, p: negated(s.has(r["e"], r["k"])),
    'mapping("s", k, as_of=d, value="v") == mapping("s", k, as_of=e, value="v")': (
        lambda r, s, p: same(s.value(0, r["d"], r["k"]), s.value(0, r["e"], r["k"]))
    ),
    'mapping("s", k, as_of=d, value="n") > 1 if w == "a" else k in mapping("s", as_of=e)': (
        lambda r, s, p: chosen(
            same(r["w"], "a"), above(s.value(1, r["d"], r["k"]), 1), s.has(r["e"], r["k"])
        )
    ),
    'mapping("s", k, as_of=d, value="n") > 1 or w in mapping("s", as_of=d)': (
        lambda r, s, p: either(above(s.value(1, r["d"], r["k"]), 1), s.has(r["d"], r["w"]))
    ),
    'mapping("s", mapping("s", k, as_of=d, value="v"), as_of=e, value="n") > 0': (
        lambda r, s, p: above(s.value(1, r["e"], s.value(0, r["d"], r["k"])), 0)
    ),
    'mapping("p", k, w, as_of=d) == "a"': lambda r, s, p: same(
        p.value(0, r["d"], r["k"], r["w"]), "a"
    ),
    '(w, k) in mapping("p", as_of=e)': lambda r, s, p: p.has(r["e"], r["w"], r["k"]),
    'coalesce(mapping("p", k, w, as_of=d + 1), "none") == coalesce(w, "none")': lambda r, s, p: (
        (p.value(0, r["d"] and r["d"] + timedelta(1), r["k"], r["w"]) or "none")
        == (r["w"] or "none")
    ),
}


def entries(keys: int, values: SearchStrategy[tuple[Any, ...]]) -> SearchStrategy[list[Entry]]:
    """Entries whose periods do not overlap: the days of some cuts, between which some are held."""

    @st.composite
    def made(draw: st.DrawFn) -> list[Entry]:
        wanted = st.lists(st.tuples(*[st.sampled_from(KEYS)] * keys), max_size=4, unique=True)
        found: list[Entry] = []
        for key in draw(wanted):
            cuts = draw(st.lists(st.integers(0, 9), unique=True, max_size=5))
            days = [None, *(BEGIN + timedelta(cut) for cut in sorted(cuts)), None]
            found += [
                (key, begin, past, draw(values))
                for begin, past in pairwise(days)
                if draw(st.booleans())
            ]
        return found

    return made()


TEXT = st.sampled_from(("a", "b", None))
ROWS = st.lists(
    st.fixed_dictionaries(
        {
            "k": st.sampled_from((*KEYS, "z", None)),
            "w": TEXT,
            "d": st.none() | st.integers(0, 9).map(lambda number: BEGIN + timedelta(number)),
            "e": st.none() | st.integers(0, 9).map(lambda number: BEGIN + timedelta(number)),
        }
    ),
    max_size=12,
)


def rows(given: list[Row]) -> pa.Table:
    kinds = {"k": pa.string(), "w": pa.string(), "d": DATES, "e": DATES}
    columns = {name: pa.array([row[name] for row in given], kind) for name, kind in kinds.items()}
    # Backwards, so that an order by values is not the order of the table.
    numbers = pa.array(range(len(given), 0, -1), pa.int64())
    return pa.table({"id": numbers, **columns})


def held(
    keys: Mapping[str, str], values: Mapping[str, str], known: Sequence[Entry], path: Path
) -> MappingTable:
    """A set as a file, with its entries in the order in which they are given."""
    arrow = {"string": pa.string(), "integer": pa.int64()}
    columns = {
        name: pa.array([key[place] for key, *_ in known], arrow[kind])
        for place, (name, kind) in enumerate(keys.items())
    } | {
        name: pa.array([found[place] for *_, found in known], arrow[kind])
        for place, (name, kind) in enumerate(values.items())
    }
    columns["effective_from"] = pa.array([begin for _, begin, _, _ in known], DATES)
    columns["effective_to"] = pa.array([past for *_, past, _ in known], DATES)
    pq.write_table(pa.table(columns), path)
    kinds = [
        tuple(TypedColumn(name=name, type=kind) for name, kind in one.items())
        for one in (keys, values)
    ]
    return MappingTable(path=path, keys=kinds[0], values=kinds[1])


def asking(
    folder: Path,
    conditions: Mapping[str, str | dict[str, Any]],
    given: pa.Table,
    single: list[Entry],
    pairs: Sequence[Entry] = (),
    **limits: Any,
) -> Job:
    rules = []
    for name, condition in conditions.items():
        fields = {"condition": condition} if isinstance(condition, str) else condition
        spec = RuleSpec(**{"title": "A", "table": "trades", "message": "wrong"} | fields)
        rules.append(Rule(rule_id=name, spec=spec))
    text = {"key": "string"}
    sets = {
        "s": held(text, {"v": "string", "n": "integer"}, single, folder / "s.parquet"),
        "p": held(text | {"other": "string"}, {"v": "string"}, pairs, folder / "p.parquet"),
    }
    made = job(folder, *rules, tables={"trades": given}, **limits)
    return made.model_copy(update={"mappings": sets})


def outcome(work: Job) -> tuple[tuple[RuleResult, ...], dict[str, list[int]]]:
    """The results, and the numbers of the failing rows by rule, in order."""
    results = run_rules(work)
    found: dict[str, list[int]] = {rule.rule_id: [] for rule in work.rules}
    for row in failing_rows(work):
        found[row["rule_id"]].append(int(row["values"]["id"]))
    return results, found


@pytest.fixture
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(passes, "as_filter", lambda _: None)


@settings(max_examples=15, deadline=None)
@given(
    given_rows=ROWS,
    sets=st.tuples(
        entries(1, st.tuples(TEXT, st.sampled_from((0, 1, 2, None)))), entries(2, st.tuples(TEXT))
    ),
    unknown=st.sampled_from(("fail", "pass")),
    how=st.tuples(st.sampled_from((0, 2, 64)), st.booleans()),
)
def test_rules_find_what_a_simple_model_finds(
    tmp_path_factory: pytest.TempPathFactory,
    given_rows: list[Row],
    sets: tuple[list[Entry], list[Entry]],
    unknown: str,
    how: tuple[int, bool],
) -> None:
    (single, pairs), (few, backwards) = sets, how
    one, two = Known(single), Known(pairs)
    breaks = (False,) if unknown == "pass" else (False, None)
    expected = {
        text: [
            len(given_rows) - number
            for number, row in enumerate(given_rows)
            if says(row, one, two) in breaks
        ]
        for text, says in CONDITIONS.items()
    }
    references = {
        number: {"columns": columns, "mapping": name, "as_of": "d"}
        for number, (name, columns) in enumerate({"s": ["k"], "p": ["w", "k"]}.items())
    }
    for number, known in enumerate((one, two)):
        columns = references[number]["columns"]
        expected[f"references {number}"] = [
            len(given_rows) - place
            for place, row in enumerate(given_rows)
            if known.has(row["d"], *(row[column] for column in columns)) is False
        ]
    if backwards:
        single, pairs = single[::-1], pairs[::-1]
    conditions: dict[str, dict[str, Any]] = {
        text: {"condition": text, "unknown": unknown} for text in CONDITIONS
    }
    conditions |= {f"references {number}": {"references": references[number]} for number in (0, 1)}
    folder = tmp_path_factory.mktemp("look_ups")
    work = asking(folder, conditions, rows(given_rows), single, pairs)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(joined, "FEW_PERIODS", few)
        results, found = outcome(work)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(passes, "as_filter", lambda _: None)
        _, found_alone = outcome(work)

    assert {result.rule_id: result.error for result in results} == dict.fromkeys(expected)
    assert found == expected
    assert {name: sorted(ids) for name, ids in found_alone.items()} == {
        name: sorted(ids) for name, ids in expected.items()
    }
    assert [result.failed for result in results] == [len(ids) for ids in expected.values()]


SOME = rows(
    [
        {"k": "a", "w": "a", "d": BEGIN, "e": BEGIN + timedelta(8)},
        {"k": "b", "w": "2026-03-01", "d": BEGIN + timedelta(5), "e": None},
        {"k": None, "w": None, "d": BEGIN, "e": BEGIN},
        {"k": "z", "w": "b", "d": None, "e": BEGIN},
    ]
)
HELD: list[Entry] = [
    (("a",), None, BEGIN + timedelta(2), ("a", 1)),
    (("a",), BEGIN + timedelta(2), None, ("b", 2)),
    (("b",), BEGIN, None, ("529900T8BM49AURSDO55", None)),
]


def swept(work: Job) -> list[bool]:
    """Whether each rule of a job is evaluated in a pass."""
    from openreg_airflow.validate.written import written

    work = written(work)
    tables = {name: table.path for name, table in work.tables.items()}
    views = mapping_views(work.mappings, work.business_date)
    with open_session(tables, work.limits, work.scratch, views) as session:
        made = Passes(work, 5)
        return [made.sweep(rule.rule_id, session) is not None for rule in work.rules]


@pytest.mark.parametrize(
    ("condition", "failing"),
    [
        ('mapping("s", k, as_of=business_day.add(d, 1), value="n") == 1', [3, 2, 1]),
        ('lei.valid(mapping("s", k, as_of=d, value="v"))', [4, 2, 1]),
        ('mapping("s", k, as_of=d, value="v") in table("trades").w', [3, 2, 1]),
        ('mapping("s", mapping("s", "a", as_of=e, value="v"), as_of=d, value="v") != "x"', [3, 1]),
        ('k in mapping("s", as_of=business_date)', [2, 1]),
        ('mapping("s", k, as_of=business_date, value="n") == 2', [3, 2, 1]),
        # What a branch that is not taken cannot make of a row does not matter.
        ('k in mapping("s", as_of=date(w)) if k == "b" else k == "a"', [2, 1]),
        ('mapping("s", str(date(w)), as_of=d, value="n") is None if k == "b" else True', [2]),
        (
            'True if k != "b" else (k in mapping("s", as_of=date(w)) if d is not None else False)',
            [2],
        ),
    ],
)  # fmt: skip
def test_look_up_is_made_in_a_pass(tmp_path: Path, condition: str, failing: list[int]) -> None:
    work = asking(tmp_path, {"rule": condition}, SOME, HELD)

    [result], found = outcome(work)

    assert result.error is None
    assert found == {"rule": failing}
    assert swept(work) == [True]


@pytest.mark.parametrize(
    "condition",
    [
        'k in mapping("s", as_of=date(w)) if k == "b" else k == "a"',
        'mapping("s", str(date(w)), as_of=d, value="n") is None if k == "b" else k == "a"',
        'k == "a" if k != "b" else (k in mapping("s", as_of=date(w)) if date(w) < d else False)',
        'str(date(w)) not in mapping("s") if k == "b" else k == "a"',
        'str(date(w)) not in table("trades").k if k == "b" else k == "a"',
        'not lei.valid(str(date(w))) if k == "b" else k == "a"',
        'business_day.valid(date(w)) is not None if k == "b" else k == "a"',
        'k == "a" if k != "b" else (business_day.add(date(w), 1) > d if d is None else True)',
        'mapping("s", k, as_of=business_day.add(d, 1), value="v") is not None',
    ],
)
@pytest.mark.usefixtures("alone")
def test_branch_that_is_not_taken_is_not_evaluated(tmp_path: Path, condition: str) -> None:
    [result], found = outcome(asking(tmp_path, {"rule": condition}, SOME, HELD))

    assert result.error is None
    assert sorted(found["rule"]) == [1, 2]


def test_when_looks_up_too(tmp_path: Path) -> None:
    spec = {
        "condition": 'mapping("s", k, as_of=e, value="n") == 1',
        "when": 'k in mapping("s", as_of=d)',
        "unknown": "pass",
    }
    work = asking(tmp_path, {"rule": spec}, SOME, HELD)

    _, found = outcome(work)

    assert found == {"rule": [4]}
    assert swept(work) == [True]


def test_error_of_a_look_up_is_that_of_its_rule_alone(tmp_path: Path) -> None:
    conditions = {
        "good": 'mapping("s", k, as_of=d, value="n") == 1',
        "erring": 'mapping("s", str(date(w)), as_of=d, value="n") is None',
        "also": 'k in mapping("s", as_of=d)',
    }
    work = asking(tmp_path, conditions, SOME, HELD)

    (good, erring, also), found = outcome(work)

    assert swept(work) == [True, False, True]
    assert (good.error, also.error) == (None, None)
    assert (found["good"], found["also"]) == ([3, 2, 1], [2, 1])
    assert erring.error is not None
    assert "invalid date field format" in erring.error
    assert "first at row 1" in erring.error


@pytest.mark.parametrize(
    ("condition", "failing"),
    [
        ('k not in mapping("s", as_of=d)', [4, 3, 2, 1]),
        # Of two entries the one that began last counts, as it does for map steps and scripts.
        ('mapping("s", k, as_of=d, value="n") > 0', [4, 3, 2, 1]),
        ('mapping("s", k, as_of=d, value="n") == 0', [2, 1]),
    ],
)
def test_overlapping_entries_double_no_row(
    tmp_path: Path, condition: str, failing: list[int]
) -> None:
    twice: list[Entry] = [
        (("a",), None, None, ("a", 1)),
        (("a",), BEGIN, None, ("a", 0)),
        (("b",), BEGIN, None, ("b", 0)),
        (("b",), BEGIN, None, ("b", 0)),
        # One that ends before it begins holds on no date, and hides no other.
        (("b",), BEGIN + timedelta(3), BEGIN + timedelta(1), ("b", 3)),
    ]
    work = asking(tmp_path, {"rule": condition}, SOME, twice)

    [result], found = outcome(work)

    assert found["rule"] == failing
    assert result.failed == len(failing)
    assert swept(work) == [True]


def test_more_rows_than_a_pass_may_fetch_come_in_the_order_of_the_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sweep, "MOST_FETCHED", 0)
    work = asking(tmp_path, {"rule": 'mapping("s", k, as_of=d, value="n") == 1'}, SOME, HELD)

    _, found = outcome(work)

    assert found["rule"] == [3, 2, 1]


def test_rows_that_a_pass_found_are_those_that_are_set_aside(tmp_path: Path) -> None:
    # A rule by itself would take either entry, and the pass takes the one that began last.
    twice: list[Entry] = [(("a",), None, None, ("a", 1)), (("a",), BEGIN, None, ("a", 0))]
    condition = 'mapping("s", k, as_of=d, value="n") == 0'
    spec = {"condition": condition, "severity": "correctable", "message": "row {id}"}
    work = asking(tmp_path, {"rule": spec}, SOME, twice)
    reasons = tmp_path / "reasons.parquet"
    records = {"trades": RecordTable(key=("id",))}

    _, found = outcome(work.model_copy(update={"records": records, "reasons": reasons}))

    aside = pq.read_table(reasons).to_pylist()
    assert found["rule"] == [3, 2, 1]
    assert [(one["key"], one["message"]) for one in aside] == [
        (["1"], "row 1"),
        (["2"], "row 2"),
        (["3"], "row 3"),
    ]


def test_table_with_a_column_of_our_names_is_judged_rightly(tmp_path: Path) -> None:
    scope = Scope(
        "trades",
        {"trades": columns_of({"k": "string", "d": "date"})},
        mappings={"s": CodeSet("s", columns_of({"key": "string"}), columns_of({"n": "integer"}))},
    )
    condition = 'mapping("s", k, as_of=d, value="n") == 1'
    [look_up] = compile_condition(condition, scope).look_ups
    taken = SOME.append_column(look_up.column, pa.array([7, 1, 1, 1], pa.int64()))
    taken = taken.append_column("openreg_value", pa.array([7, 1, 1, 1], pa.int64()))

    [result], found = outcome(asking(tmp_path, {"rule": condition}, taken, HELD))

    assert result.error is None
    assert found["rule"] == [1, 2, 3]


def test_rules_in_sql_see_no_column_of_a_look_up(tmp_path: Path) -> None:
    work = asking(tmp_path, {"looking": 'k in mapping("s", as_of=d)'}, SOME, HELD)
    sql = "SELECT * FROM trades WHERE (SELECT count(*) FROM (SELECT DISTINCT * FROM trades)) = 4"
    fields = {"title": "A", "table": "trades", "message": "wrong", "sql": sql}
    own = Rule(rule_id="own", spec=RuleSpec(**fields), sql=sql)

    _, found = outcome(work.model_copy(update={"rules": (*work.rules, own)}))

    values = failing_rows(work)[-1]["values"]
    assert found["own"] == [4, 3, 2, 1]
    assert list(values) == ["id", "k", "w", "d", "e"]


def test_rules_that_look_nothing_up_are_not_joined_with_anything(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[set[str]] = []

    def noted(*given: Any, **named: Any) -> sweep.Sweep:
        made.append(set(named["filters"]))
        return sweep.Sweep(*given, **named)

    monkeypatch.setattr(passes, "Sweep", noted)
    conditions = {
        "plain": 'w == "a"',
        "looking": 'k in mapping("s", as_of=d)',
        "also": 'mapping("s", k, as_of=d, value="n") == 1',
        "today": 'k in mapping("s")',
    }

    outcome(asking(tmp_path, conditions, SOME, HELD))

    assert made == [{"plain", "today"}, {"looking", "also"}]


VALUES = columns_of({"v": "string", "n": "integer"})
SCOPE = Scope(
    "trades",
    {"trades": columns_of({"k": "string", "w": "string", "d": "date", "e": "date"})},
    mappings={"s": CodeSet("s", columns_of({"key": "string"}), VALUES)},
)


@pytest.fixture
def session() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as made:
        made.execute(
            "CREATE TABLE dated_mapping_s AS SELECT 'a' AS key, 'x' AS v, 1 AS n, "
            "CAST(NULL AS DATE) AS effective_from, CAST(NULL AS DATE) AS effective_to"
        )
        yield made


@pytest.mark.parametrize(
    ("conditions", "joins"),
    [
        # A value, another value and the entry itself, in several rules, are one look-up.
        (
            (
                'mapping("s", k, as_of=d, value="n") > 0 and k in mapping("s", as_of=d)',
                'mapping("s", k, as_of=d, value="v") == "x"',
                'mapping("s", k, as_of=d, value="v") == "y"',
            ),
            1,
        ),
        (('k in mapping("s", as_of=d)', 'k in mapping("s", as_of=e)'), 2),
        (('k in mapping("s", as_of=d)', 'w in mapping("s", as_of=d)'), 2),
        (('mapping("s", mapping("s", k, as_of=d, value="v"), as_of=d, value="n") > 0',), 2),
        # As of the business date, the set is a table of the session.
        (('k in mapping("s") and mapping("s", k, value="n") > 0',), 0),
    ],
)
def test_shared_look_up_is_joined_once(
    session: duckdb.DuckDBPyConnection, conditions: tuple[str, ...], joins: int
) -> None:
    found = [compile_condition(text, SCOPE).look_ups for text in conditions]

    sql = DatedSets().joined(session, "trades", "trades", [one for each in found for one in each])

    assert sql.count("JOIN") == joins


def test_distinct_values_of_a_look_up_are_asked_of_the_joined_table() -> None:
    text = 'lei.valid(mapping("s", k, as_of=d, value="v")) and lei.valid(w)'

    condition = compile_condition(text, SCOPE)

    # Of the table itself, each row would be asked for the values of all others.
    assert condition.joined.count(f"FROM {JOINED}") == 1
    assert condition.joined.count('FROM "trades"') == 1
    assert JOINED not in condition.sql


@pytest.mark.parametrize(
    ("periods", "asof"),
    [
        ("SELECT 'a', range, range + 1 FROM range(64)", False),
        ("SELECT 'a', range, range + 1 FROM range(65)", True),
        ("SELECT 'a', range, range + 1 FROM range(64) ORDER BY range DESC", False),
        ("SELECT 'a', range, range + 1 FROM range(65) ORDER BY range DESC", True),
        ("SELECT range, 0, 1 FROM range(200) ORDER BY range", False),
        ("VALUES ('a', 0, 5), ('b', 0, 9), ('a', 5, 9)", False),
        ("VALUES ('a', 0, 5), ('b', 0, 9), ('a', 4, 9)", True),
        ("VALUES ('a', 0, 9), ('a', 5, 3), ('a', 7, 8)", True),
        ("VALUES ('a', 0, 5), (NULL, 0, 9), ('a', 4, 9)", True),
        ("VALUES ('a', NULL, 5), ('a', 5, NULL)", False),
        ("VALUES ('a', NULL, 5), ('a', NULL, 3)", True),
        ("VALUES ('a', 1, NULL), ('a', 5, NULL)", True),
    ],
)
def test_keys_of_many_or_overlapping_periods_are_joined_by_asof(
    session: duckdb.DuckDBPyConnection, periods: str, *, asof: bool
) -> None:
    session.execute(
        "CREATE OR REPLACE TABLE dated_mapping_s AS SELECT key, 'x' AS v, 1 AS n, "
        "DATE '2026-01-01' + CAST(begins AS INTEGER) AS effective_from, "
        "DATE '2026-01-01' + CAST(past AS INTEGER) AS effective_to "
        f"FROM ({periods}) AS periods(key, begins, past)"
    )
    look_ups = compile_condition('k in mapping("s", as_of=d)', SCOPE).look_ups

    sql = DatedSets().joined(session, "trades", "trades", look_ups)

    assert ("ASOF JOIN" in sql) == asof
