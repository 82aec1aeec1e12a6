"""Queries that are read in parts, since their driver would keep a whole result in memory."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pyarrow.parquet as pq
import pytest

from openreg_airflow.errors import SourceError, SourceUnavailableError
from openreg_airflow.extract import division
from openreg_airflow.extract.readers import odbc_division, odbc_session
from openreg_airflow.extract.readers.odbc_products import Product, find_product
from openreg_airflow.extract.shared_session import snapshot
from tests.extraction import DAY
from tests.reader_databases import Source, mariadb_source, odbc_source

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import pyarrow as pa

    from tests.services.mariadb import MariadbServer

#: Every type that a driver gives in a way of its own.
_KINDS = {
    "n": "bigint unsigned",
    "tiny": "tinyint",
    "one": "bit(1)",
    "price": "decimal(38,10)",
    "ratio": "double",
    "short": "float",
    "word": "varchar(30)",
    "fixed": "char(6)",
    "long_text": "longtext",
    "raw": "varbinary(30)",
    "day": "date",
    "clock": "time(6)",
    "at": "datetime(6)",
    "stamp": "timestamp(6) NULL",
    "year_of": "year",
    "sort": "enum('z', 'a')",
    "tags": "set('x', 'y')",
    "given": "json",
    "id": "uuid",
}


@pytest.fixture
def source(request: pytest.FixtureRequest, tmp_path: Path) -> Source:
    return odbc_source(mariadb_source(request.getfixturevalue("mariadb"), tmp_path), "mariadb")


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Parts of ten rows."""
    monkeypatch.setattr(division, "USUAL_PART_ROWS", 10)
    monkeypatch.setattr(division, "_LEAST_ROWS", 1)


def whole(source: Source, sql: str, monkeypatch: pytest.MonkeyPatch, **spec: Any) -> pa.Table:
    """The result of a query that is not divided."""

    def undivided(name: str) -> Product:
        return replace(find_product(name), table_facts=None)

    with monkeypatch.context() as patched:
        patched.setattr(odbc_session, "find_product", undivided)
        return source.database.extract(sql, **spec)


def fill(source: Source, rows: int = 45) -> None:
    source.execute(
        "CREATE TABLE trades (trade_id int PRIMARY KEY, business_date date, ref varchar(20),"
        " price decimal(9,2), party int, note text, UNIQUE KEY (ref, business_date), KEY (party))"
    )
    source.execute(
        "INSERT INTO trades SELECT seq * 3, DATE '2026-03-01' + INTERVAL seq % 2 DAY,"
        " concat(char(65 + (seq * 7) % 26), lower(char(65 + seq % 26)), seq), seq / 4,"
        f" IF(seq % 9 = 0, NULL, seq * 5 % 33), concat('n', seq) FROM seq_1_to_{rows}"
    )
    source.execute("CREATE TABLE parties (party int PRIMARY KEY, lei char(4))")
    source.execute("INSERT INTO parties SELECT seq, concat('L', seq) FROM seq_0_to_30")


def is_part(text: str) -> bool:
    """Whether a query, with its parameters by name, is for a part of another."""
    return "_from" in text or "_until" in text


def parts_of(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [
        one.message
        for one in caplog.records
        if one.message.startswith("Reading ") and "parts" in one.message
    ]


@pytest.mark.parametrize(
    ("sql", "ordered"),
    [
        ("SELECT * FROM trades", False),
        ("SELECT * FROM trades -- all of them", False),
        ("SELECT note, trade_id AS `order` FROM trades WHERE price > 1 OR price < 1", False),
        ("SELECT note, price * 2 FROM trades AS `a``b`", False),
        ("SELECT note FROM trades ORDER BY trade_id DESC", True),
        ("SELECT t.ref, p.lei FROM trades t JOIN (SELECT * FROM parties) p USING (party)", False),
        ("WITH p AS (SELECT * FROM parties) SELECT ref FROM p JOIN trades t USING (party)", False),
        ("SELECT * FROM trades ORDER BY trade_id DESC", True),
        ("SELECT * FROM trades ORDER BY ref, trade_id", True),
        ("SELECT * FROM trades t ORDER BY t.party DESC, t.trade_id", True),
        ("SELECT ref AS r, party FROM trades ORDER BY party, 1 DESC", True),
        ("SELECT ref, price FROM trades WHERE :business_date = business_date ORDER BY 1", True),
        ("SELECT ref FROM trades t WHERE t.business_date = '2026-03-02' ORDER BY 1 DESC", True),
        ("SELECT ref FROM trades WHERE business_date = '20260302' ORDER BY business_date, 1", True),
        ("SELECT t.*, p.lei FROM trades t LEFT JOIN parties p ON p.party = t.party", False),
        ("SELECT t.*, p.lei FROM parties p LEFT JOIN trades t USING (party) ORDER BY ref, 7", True),
        ("SELECT t.ref, p.lei FROM parties p JOIN trades t ON p.party = t.party ORDER BY 1", True),
        ("SELECT trade_id FROM trades WHERE party IN (SELECT party FROM parties)", False),
    ],
)  # fmt: skip
@pytest.mark.usefixtures("few")
def test_divided_query_gives_the_rows_and_the_order_of_the_whole(
    source: Source,
    monkeypatch: pytest.MonkeyPatch,
    sql: str,
    ordered: bool,
) -> None:
    fill(source)
    expected = whole(source, sql, monkeypatch)
    asked = asked_of(monkeypatch)

    table = source.database.extract(sql)

    assert table.schema == expected.schema
    rows, wanted = table.to_pylist(), expected.to_pylist()
    assert rows == wanted if ordered else sorted(map(str, rows)) == sorted(map(str, wanted))
    assert sum(is_part(text) for text in asked) >= 2


@pytest.mark.usefixtures("few")
def test_every_type_arrives_as_from_the_whole(
    source: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    listed = ", ".join(f"`{name}` {word}" for name, word in _KINDS.items())
    source.execute(f"CREATE TABLE kinds (k int PRIMARY KEY, {listed})")
    source.execute(
        "INSERT INTO kinds SELECT seq, seq, -seq % 100, seq % 2, seq + 0.0000000001, seq / 3, 0.1,"
        " concat('ä', seq), 'EUR', repeat('€', seq), concat('b', seq), DATE '2026-03-01',"
        " '23:59:59.999999', '2026-03-01 12:00:00.000001', '2026-03-01 12:00:00.000001', 2026, 'a',"
        " 'x,y', '{\"a\": 1}', '123e4567-e89b-12d3-a456-426655440000' FROM seq_1_to_25"
    )
    source.execute("INSERT INTO kinds (k) VALUES (26)")

    expected = whole(source, "SELECT * FROM kinds", monkeypatch)
    table = source.database.extract("SELECT * FROM kinds")

    assert table == expected
    assert table.num_rows == 26


def asked_of(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The queries that sessions are asked for, as they come."""
    asked: list[str] = []
    start = odbc_session.OdbcSession._start

    def started(self: Any, query: Any, **more: Any) -> Any:
        asked.append(query.render(str).text)
        return start(self, query, **more)

    monkeypatch.setattr(odbc_session.OdbcSession, "_start", started)
    return asked


def test_result_of_one_part_is_read_as_it_is_asked_for(
    source: Source, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    fill(source)
    asked = asked_of(monkeypatch)

    assert source.database.extract("SELECT trade_id FROM trades ORDER BY 1").num_rows == 45

    assert asked[-1] == "SELECT trade_id FROM trades ORDER BY 1"
    assert not parts_of(caplog)
    assert "keeps the whole result" not in caplog.text


@pytest.mark.usefixtures("few")
def test_empty_result_has_its_columns(source: Source) -> None:
    fill(source)

    table = source.database.extract("SELECT * FROM trades WHERE trade_id < 0")

    assert table.num_rows == 0
    assert table.column_names[:2] == ["trade_id", "business_date"]


@pytest.mark.usefixtures("few")
def test_query_that_cannot_be_divided_is_read_whole_and_says_why(
    source: Source, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    fill(source)

    table = source.database.extract("SELECT DISTINCT party FROM trades")

    assert table.num_rows > 10
    assert "source.sql is read as a whole: it has DISTINCT" in caplog.text
    assert "keeps the whole result of source.sql in memory" in caplog.text


@pytest.mark.usefixtures("few")
def test_column_with_too_many_ties_gives_way_to_the_next(
    source: Source, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    source.execute("CREATE TABLE legs (trade_id int, leg int, PRIMARY KEY (trade_id, leg))")
    source.execute("INSERT INTO legs SELECT seq, seq % 2 FROM seq_1_to_60")
    source.execute("CREATE TABLE flags (a int, b int, c int, UNIQUE KEY (a, b, c))")
    source.execute("INSERT INTO flags SELECT seq % 2, seq % 2, NULL FROM seq_1_to_60")

    assert source.database.extract("SELECT * FROM legs").num_rows == 60
    assert parts_of(caplog) == ["Reading 6 parts by `legs`.`trade_id`, in turn, for the driver"]
    caplog.clear()
    assert source.database.extract("SELECT * FROM flags").num_rows == 60
    assert not parts_of(caplog)
    assert "is read as a whole: 60 rows have no `flags`.`c`" in caplog.text


@pytest.mark.usefixtures("few")
def test_column_that_the_database_refuses_gives_way_to_the_next(
    source: Source, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    fill(source)
    known = odbc_division.dividers

    def with_another(*given: Any) -> Any:
        found = known(*given)
        return [replace(found[0], column="`trades`.`nothere`"), *found]

    monkeypatch.setattr(odbc_division, "dividers", with_another)

    assert source.database.extract("SELECT * FROM trades").num_rows == 45
    assert parts_of(caplog) == ["Reading 5 parts by `trades`.`trade_id`, in turn, for the driver"]


def write_before_parts(
    source: Source, monkeypatch: pytest.MonkeyPatch, write: Callable[[], Any]
) -> None:
    """Do something between the count of the rows and the first part."""
    parts = odbc_division.sized_parts

    def written(*given: Any) -> Any:
        found = parts(*given)
        write()
        return found

    monkeypatch.setattr(odbc_division, "sized_parts", written)


def test_server_opens_no_table_but_the_one_it_is_asked_about(mariadb: MariadbServer) -> None:
    """It would open all of all databases, for lack of one condition."""
    facts = str(find_product("MariaDB").table_facts)
    marks = facts.count("?")
    with mariadb.connect() as connection, connection.cursor() as cursor:
        cursor.execute("SET @asked = %s, @schema = '', @name = 'trades'", [f"EXPLAIN {facts}"])
        cursor.execute("PREPARE facts FROM @asked")
        cursor.execute(f"EXECUTE facts USING {', '.join(['@schema, @name'] * (marks // 2))}")
        plan = [str(row[-1]) for row in cursor.fetchall()]

    assert sum("Scanned 0 databases" in step for step in plan) == marks // 2 == 3
    assert not any("Scanned all" in step or "Scanned 1" in step for step in plan)


@pytest.mark.usefixtures("few")
def test_all_parts_are_of_one_state(source: Source, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(source)
    write_before_parts(
        source,
        monkeypatch,
        lambda: source.execute("UPDATE trades SET trade_id = trade_id + 1000 WHERE trade_id < 60"),
    )

    table = source.database.extract("SELECT trade_id FROM trades")

    assert table["trade_id"].to_pylist() == [3 * n for n in range(1, 46)]


@pytest.mark.usefixtures("few")
def test_snapshot_of_a_run_is_kept_by_its_parts(source: Source) -> None:
    fill(source)
    one = source.database
    with snapshot(one.connection, timeout_seconds=60) as session:
        first = one.extraction("SELECT trade_id FROM trades", reader=session).run(one.file)
        source.execute("DELETE FROM trades WHERE trade_id < 90")
        again = one.extraction("SELECT trade_id, ref FROM trades", reader=session).run(one.file)

    assert (first.rows, again.rows) == (45, 45)


@pytest.mark.usefixtures("few")
def test_lost_connection_between_parts_may_be_tried_again(
    source: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(source)
    write_before_parts(source, monkeypatch, source.break_sessions)

    with pytest.raises(SourceUnavailableError):
        source.database.done("SELECT * FROM trades")


@pytest.mark.usefixtures("few")
def test_part_that_has_other_rows_than_counted_is_refused(
    source: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(source)
    parts = odbc_division.sized_parts

    def miscounted(*given: Any) -> Any:
        first, second, *rest = parts(*given)
        return [first, replace(second, rows=9), *rest]

    monkeypatch.setattr(odbc_division, "sized_parts", miscounted)

    with pytest.raises(SourceError, match="part 2 has 10 rows, and 9 were counted") as caught:
        source.database.done("SELECT * FROM trades")

    assert "partition: {column" in str(caught.value.hint)


@pytest.mark.usefixtures("few")
def test_preview_reads_one_part(source: Source, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(source)
    asked = asked_of(monkeypatch)

    head = source.database.extraction("SELECT * FROM trades").head(3)

    assert head.table.num_rows == 3
    assert head.more
    assert sum(is_part(text) for text in asked) <= 2


@pytest.mark.usefixtures("few")
def test_parameters_are_bound_in_every_part(source: Source) -> None:
    fill(source)

    table = source.database.extract(
        "SELECT trade_id FROM trades WHERE business_date = :business_date AND trade_id IN (:ids)",
        parameters={"ids": {"type": "integer", "values": list(range(200))}},
    )

    assert table["trade_id"].to_pylist() == [3 * n for n in range(1, 46) if n % 2]
    assert str(DAY) == "2026-03-02"


@pytest.mark.usefixtures("few")
def test_incremental_window_is_divided(source: Source) -> None:
    fill(source)

    done = source.database.done(
        "SELECT trade_id FROM trades WHERE trade_id > :since AND trade_id <= :until",
        incremental={"column": "trade_id", "type": "integer", "start": 30},
    )

    assert (done.rows, done.mark) == (35, "135")
    assert pq.read_table(source.database.file)["trade_id"].to_pylist()[0] == 33
