"""What is MySQL's and MariaDB's own; what all readers do alike is in the contract."""

from __future__ import annotations

import threading
from datetime import date
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

from openreg_airflow.errors import SourceError, SourceUnavailableError, SpecError
from tests.extraction import columns
from tests.reader_databases import Source, mariadb_source
from tests.waiting import wait_until

if TYPE_CHECKING:
    from pathlib import Path

    from tests.services.mariadb import MariadbServer


@pytest.fixture
def source(mariadb: MariadbServer, tmp_path: Path) -> Source:
    return mariadb_source(mariadb, tmp_path)


def test_types_of_its_own_arrive_exactly(source: Source) -> None:
    source.execute(
        """
        CREATE TABLE t (flag bit, bits bit(12), word bit(64), counter bigint unsigned,
            filled int(6) zerofill, share decimal(18,5) unsigned, longest decimal(65,30),
            born year, side enum('buy','sell'), tags set('a','b'), doc json, id uuid,
            bin varchar(9) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin, code binary(3))
        """
    )
    source.execute(
        "INSERT INTO t VALUES (1, b'111111111111', 18446744073709551615, 18446744073709551615, 7, "
        "1.5, 1234.000000000000000000000000000001, 2026, 'sell', 'a,b', '{\"a\": 1.50}', "
        "'A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11', 'Zoë', 'ab')"
    )

    table = source.database.extract("SELECT t.*, NULL AS nothing, sum(counter) AS s FROM t")

    assert columns(table) == {
        "flag": "bool",
        "bits": "int64",
        "word": "decimal128(20, 0)",
        "counter": "decimal128(20, 0)",
        "filled": "int64",
        "share": "decimal128(18, 5)",
        "longest": "decimal128(38, 30)",
        "born": "int64",
        "side": "string",
        "tags": "string",
        "doc": "string",
        "id": "string",
        "bin": "string",
        "code": "binary",
        "nothing": "string",
        "s": "decimal128(38, 0)",
    }
    assert table.to_pylist() == [
        {
            "flag": True,
            "bits": 4095,
            "word": Decimal(2**64 - 1),
            "counter": Decimal(2**64 - 1),
            "filled": 7,
            "share": Decimal("1.5"),
            "longest": Decimal("1234.000000000000000000000000000001"),
            "born": 2026,
            "side": "sell",
            "tags": "a,b",
            "doc": '{"a": 1.50}',
            "id": "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11",
            "bin": "Zoë",
            "code": b"ab\0",
            "nothing": None,
            "s": Decimal(2**64 - 1),
        }
    ]


@pytest.mark.parametrize(
    ("expression", "declared"),
    [
        ("CAST('838:59:59' AS time)", None),
        ("CAST('-00:00:01' AS time)", None),
        ("CAST('0000-00-00' AS date)", None),
        ("CAST('2026-02-00' AS date)", None),
        ("CAST(2 AS int)", "boolean"),
        ("1e308 * 1", "decimal(18,5)"),
        ("18446744073709551615", "integer"),
        ("repeat('9', 40)", "decimal(38,0)"),
        ("CONVERT(x'ff' USING binary)", "string"),
    ],
)
def test_value_that_cannot_be_carried_is_named(
    source: Source, expression: str, declared: str | None
) -> None:
    source.execute("CREATE TABLE t (v int)")
    source.execute("SET sql_mode = ''")

    with pytest.raises(SourceError, match="does not fit") as caught:
        source.database.extract(
            f"SELECT {expression} AS v", columns={"v": declared} if declared else {}
        )

    assert caught.value.where == "source.sql, column v, row 1"


@pytest.mark.parametrize(
    ("expression", "advised"), [("CAST(1.5 AS float)", 1.5), ("point(1, 2)", "POINT(1 2)")]
)
def test_type_that_cannot_be_carried_is_named_with_a_cast_that_can(
    source: Source, expression: str, advised: Any
) -> None:
    with pytest.raises(SourceError, match=r"column v is of type .* not carried here") as raised:
        source.database.extract(f"SELECT {expression} AS v")

    cast = str(raised.value.hint).partition("for example ")[2].removesuffix(".")
    table = source.database.extract(f"SELECT {cast} AS v FROM (SELECT {expression} AS v) AS t")
    assert table.to_pylist() == [{"v": advised}]


def test_long_concatenations_are_not_cut(source: Source) -> None:
    table = source.database.extract(
        "SELECT length(group_concat(repeat('x', 100))) AS n FROM seq_1_to_20000"
    )

    assert table["n"].to_pylist() == [2_019_999]


def test_value_that_the_server_does_not_give_whole_is_refused(
    source: Source, mariadb: MariadbServer
) -> None:
    [(most,)] = mariadb.execute("SELECT @@global.max_allowed_packet")

    with pytest.raises(SourceError, match="has cut a value") as caught:
        source.database.extract(f"SELECT repeat('x', {most} + 1) AS v")

    assert "max_allowed_packet" in str(caught.value.hint)


def test_warnings_of_the_server_reach_the_log(
    source: Source, caplog: pytest.LogCaptureFixture
) -> None:
    table = source.database.extract("SELECT CAST(99999 AS decimal(3,1)) AS v FROM seq_1_to_70")

    assert table.num_rows == 70
    [line] = [record.getMessage() for record in caplog.records if "warns" in record.getMessage()]
    assert "MariaDB" in line
    assert "warns 70 times of values of source.sql: Out of range value" in line

    caplog.clear()
    source.database.extract("SELECT 1 AS v")
    assert "warns" not in caplog.text


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT 'a\\' INTO OUTFILE '/tmp/f\\' -- '",
        'SELECT 1 AS "a\\" INTO dumpfile \'/tmp/f\' -- "',
    ],
)
def test_string_that_ends_by_the_servers_mode_hides_no_writing(source: Source, sql: str) -> None:
    with pytest.raises(SpecError, match="may then write"):
        source.database.extract(sql)


def test_session_reads_one_snapshot_in_utc(source: Source) -> None:
    [row] = source.database.extract(
        "SELECT @@time_zone AS zone, @@tx_isolation AS isolation, "
        "@@max_statement_time AS seconds, @@character_set_connection AS charset",
        timeout_seconds=77,
    ).to_pylist()

    assert row == {
        "zone": "+00:00",
        "isolation": "REPEATABLE-READ",
        "seconds": 77.0,
        "charset": "utf8mb4",
    }


def test_function_that_writes_is_refused_by_the_server(source: Source) -> None:
    source.execute("CREATE TABLE t (v int)")
    source.execute(
        "CREATE FUNCTION writes() RETURNS int BEGIN INSERT INTO t VALUES (1); RETURN 1; END"
    )
    source.execute("GRANT EXECUTE ON *.* TO openreg_reader@'%'")

    with pytest.raises(SourceError, match="READ ONLY") as caught:
        source.database.extract("SELECT writes() AS v")

    assert "may only read" in str(caught.value)
    assert source.execute("SELECT * FROM t") == []


def test_place_of_a_syntax_error_is_a_line_of_the_file(source: Source) -> None:
    with pytest.raises(SourceError, match="You have an error in your SQL syntax") as caught:
        source.database.extract("-- a comment\nSELECT 1 AS a,\n  :business_date d e f\n")

    assert caught.value.where == "source.sql, line 3"


@pytest.mark.parametrize(
    ("extra", "said"),
    [
        ({"ssl_mode": "REQUIRED"}, "does not speak TLS"),
        ({"ssl_mode": "perhaps"}, "ssl_mode"),
        ({"ssl": '{"ca": "/nowhere/ca.pem"}'}, "does not speak TLS"),
        ({"ssl_ca": "/nowhere/ca.pem"}, "does not speak TLS"),
    ],
)
def test_tls_that_cannot_be_had_fails_at_once(
    source: Source, extra: dict[str, Any], said: str
) -> None:
    with pytest.raises(SourceError, match=said) as caught:
        source.elsewhere(extra=extra).extract("SELECT 1 AS a")

    assert caught.value.where == "connection trades"


def test_tls_options_that_are_no_json_are_named(source: Source) -> None:
    with pytest.raises(SpecError, match="`ssl` of its extra is not JSON"):
        source.elsewhere(extra={"ssl": "{"}).extract("SELECT 1 AS a")


def test_too_many_sessions_are_worth_another_try(source: Source) -> None:
    source.execute("GRANT USAGE ON *.* TO openreg_reader@'%' WITH MAX_QUERIES_PER_HOUR 1")

    with pytest.raises(SourceUnavailableError, match="max_queries_per_hour"):
        source.database.extract("SELECT 1 AS a")


def test_deadlock_is_worth_another_try(source: Source, mariadb: MariadbServer) -> None:
    with mariadb.connect() as other, other.cursor() as cursor:
        cursor.execute("SELECT get_lock('b', 0)")

        def cross() -> None:
            wait_until(lambda: bool(mariadb.execute("SELECT is_used_lock('a')")[0][0]))
            cursor.execute("SELECT get_lock('a', 20)")

        crossing = threading.Thread(target=cross)
        crossing.start()
        # Whoever closes the circle is refused: ours, since it lets the other wait first.
        with pytest.raises(SourceUnavailableError, match="Deadlock found"):
            source.database.extract(
                "SELECT get_lock('a', 0) AS a, sleep(1) AS s, get_lock('b', 20) AS b"
            )
        crossing.join(20)


def test_restart_of_the_server_in_the_middle_is_worth_another_try(
    source: Source, mariadb: MariadbServer
) -> None:
    def restart() -> None:
        wait_until(lambda: source.active() > 0)
        mariadb.restart()

    restarting = threading.Thread(target=restart)
    restarting.start()
    with pytest.raises(SourceUnavailableError):
        source.database.extract(source.spelling.sleep)
    restarting.join()

    assert source.database.extract("SELECT 1 AS a").num_rows == 1


def test_memory_does_not_grow_with_rows_or_their_width(source: Source) -> None:
    import pyarrow as pa

    pool = pa.default_memory_pool()
    before = pool.bytes_allocated()
    for rows, width in ((20_000, 1_000), (100_000, 1_000), (100, 1_000_000)):
        done = source.database.done(
            f"SELECT seq, repeat(md5(seq), {width // 32}) AS t FROM seq_1_to_{rows} ORDER BY seq"
        )
        assert done.rows == rows
    assert pool.bytes_allocated() - before < 1 << 20
    assert pool.max_memory() - before < 300 << 20


def test_days_of_a_backfill_are_bound_as_dates(source: Source) -> None:
    table = source.database.extract(
        "SELECT :business_date + INTERVAL 1 DAY AS d, :amount AS a",
        parameters={"amount": {"type": "decimal", "value": "0.00000000000000000001"}},
    )

    assert table.to_pylist() == [{"d": date(2026, 3, 3), "a": Decimal("0.00000000000000000001")}]
