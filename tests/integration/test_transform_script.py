"""What a report's author may rely on, the same in the container and in the development mode."""

from __future__ import annotations

import logging
from decimal import Decimal
from typing import TYPE_CHECKING

import pyarrow as pa
import pytest

from openreg_airflow.errors import SandboxLimitError, TransformError
from openreg_airflow.settings import SANDBOX_IMPORTS
from tests.transform_bench import TRADES, Bench, Way, read

if TYPE_CHECKING:
    from pathlib import Path

    from tests.services.docker_engine import DockerEngine


@pytest.fixture(params=["container", "subprocess"])
def bench(request: pytest.FixtureRequest, tmp_path: Path) -> Bench:
    way: Way = request.param
    if way == "subprocess":
        bench = Bench(tmp_path, way)
    else:
        engine: DockerEngine = request.getfixturevalue("docker_engine")
        bench = Bench(tmp_path, way, engine.client, request.getfixturevalue("sandbox_image"))
    bench.source("trades", TRADES)
    return bench


@pytest.fixture(autouse=True)
def _log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "openreg_airflow")


def printed(caplog: pytest.LogCaptureFixture) -> list[tuple[str, str]]:
    return [
        (record.levelname, record.getMessage())
        for record in caplog.records
        if record.name.endswith(".script")
    ]


def test_tables_go_through_unchanged(bench: Bench) -> None:
    tables = bench.run("def transform(inputs, context): return inputs['trades']")

    assert read(tables, "trades").equals(TRADES)
    assert tables["trades"].rows == 3
    assert [(c.name, c.type) for c in tables["trades"].columns] == [
        ("trade_id", "string"),
        ("price", "decimal128(18, 5)"),
        ("quantity", "int64"),
        ("traded_at", "timestamp[us, tz=UTC]"),
    ]


def test_pandas_computes_with_exact_decimals(bench: Bench) -> None:
    tables = bench.run(
        """
        def transform(inputs, context):
            trades = inputs["trades"]
            trades["doubled"] = trades["price"] + trades["price"]
            return trades
        """
    )

    doubled = read(tables, "trades")["doubled"].to_pylist()
    assert doubled == [Decimal("2.20000"), None, Decimal("19999999999999.99998")]


def test_decimals_that_outgrow_their_type_come_with_a_hint(bench: Bench) -> None:
    with pytest.raises(TransformError, match="Decimal precision out of range") as caught:
        bench.run(
            """
            def transform(inputs, context):
                price = inputs["trades"]["price"]
                return (price * price * price).to_frame()
            """
        )

    assert "narrower decimal" in (caught.value.hint or "")


def test_author_may_work_with_arrow_tables(bench: Bench) -> None:
    tables = bench.run(
        """
        import pyarrow.compute as pc

        def transform(inputs, context):
            trades = inputs["trades"]
            return trades.filter(pc.equal(trades["trade_id"], "T2"))
        """,
        frames="arrow",
    )

    assert read(tables, "trades")["quantity"].to_pylist() == [20]


def test_several_tables_come_back_by_name(bench: Bench) -> None:
    tables = bench.run(
        """
        import pyarrow as pa

        def transform(inputs, context):
            return {"totals": pa.table({"n": [len(inputs["trades"])]}), "rows": inputs["trades"]}
        """,
        tables={"rows": {}, "totals": {}},
    )

    assert list(tables) == ["rows", "totals"]
    assert read(tables, "totals")["n"].to_pylist() == [3]


def test_single_table_takes_the_declared_name(bench: Bench) -> None:
    tables = bench.run(
        "def transform(inputs, context): return inputs['trades']", tables={"transactions": {}}
    )

    assert list(tables) == ["transactions"]
    assert bench.stored == ["transactions.parquet"]


def test_single_table_of_several_sources_needs_a_name(bench: Bench) -> None:
    bench.source("prices", TRADES)

    with pytest.raises(TransformError, match=r"without a name.*trades, prices") as caught:
        bench.run("def transform(inputs, context): return inputs['trades']")

    assert "transform.tables" in (caught.value.hint or "")


def test_tables_that_are_not_declared_are_refused(bench: Bench) -> None:
    with pytest.raises(TransformError, match=r"returned the tables rows; .* declares transactions"):
        bench.run(
            "def transform(inputs, context): return {'rows': inputs['trades']}",
            tables={"transactions": {}},
        )

    assert bench.stored == []


def test_context_tells_the_run_and_the_parameters(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    bench.run(
        """
        def transform(inputs, context):
            print(context.report_id, context.run_id, repr(context.business_date))
            print(dict(context.parameters))
            return inputs["trades"]
        """,
        parameters={"threshold": 5, "since": "2026-01-01", "until": "2026-12-31", "on": True},
    )

    lines = [line for _, line in printed(caplog)]
    assert lines[0] == "demo_report manual__1 datetime.date(2026, 3, 2)"
    assert lines[1] == (
        "{'threshold': 5, 'since': '2026-01-01', 'until': '2026-12-31', 'on': True}"
    )


def test_prints_and_logs_reach_the_task_log_in_order_with_their_level(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    bench.run(
        r"""
        import sys

        def transform(inputs, context):
            print("one")
            context.logger.warning("two\nlines")
            print("three", file=sys.stderr)
            sys.stdout.buffer.write(b"\xff not utf-8 \x1b[31m\n")
            sys.stdout.flush()
            print("surrogate \udc80")
            print("no line end", end="")
            return inputs["trades"]
        """
    )

    assert printed(caplog) == [
        ("INFO", "one"),
        ("WARNING", "two"),
        ("WARNING", "lines"),
        ("INFO", "three"),
        ("INFO", "\N{REPLACEMENT CHARACTER} not utf-8 \\x1b[31m"),
        ("INFO", "surrogate \\udc80"),
        ("INFO", "no line end"),
    ]


def test_traceback_is_the_authors_own(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(TransformError) as caught:
        bench.run(
            """
            def price_of(row):
                return 1 / row

            def transform(inputs, context):
                try:
                    return price_of(0)
                except ZeroDivisionError as error:
                    raise ValueError("no price for T1") from error
            """
        )

    assert caught.value.where == "transform.py line 8"
    assert caught.value.message.splitlines() == [
        "ValueError: no price for T1",
        '    raise ValueError("no price for T1") from error',
    ]
    trace = next(r.getMessage() for r in caplog.records if "Traceback" in r.getMessage())
    assert 'File "transform.py", line 2, in price_of\n    return 1 / row' in trace
    assert "ZeroDivisionError: division by zero" in trace
    assert "runner" not in trace
    assert trace.count('File "') == trace.count('File "transform.py"')


def test_syntax_error_is_named_with_its_line(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(TransformError, match="SyntaxError: expected ':'") as caught:
        bench.run("x = 1\ndef transform(inputs, context)\n    return 1\n")

    assert caught.value.where == "transform.py line 2"
    assert "runner" not in caplog.text


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        ("def transform(inputs, context): inputs.clear()", "returned None"),
        ("def transform(inputs, context): return [1, 2]", "returned a value of type list"),
        ("def transform(inputs, context): yield 1", "yielded a value of type int"),
        ("def transform(inputs, context): yield from ()", "yielded nothing"),
        ("def transform(inputs, context): yield {'a': inputs['trades'], 'b': 1}", "as table b"),
        ("def transform(inputs, context): return {}", "returned an empty dict"),
        ("def transform(inputs, context): return {'a': 1}", "a value of type int as table a"),
        ("def transform(inputs, context): return {'../a': inputs['trades']}", "under the name"),
        ("def transform(inputs, context): return {1: inputs['trades']}", "under the name 1"),
        ("def transform(inputs, context): return {'a\\n': inputs['trades']}", "under the name"),
        (
            "def transform(inputs, context): return inputs['trades'].trade_id",
            "of type pandas.Series",
        ),
        (
            "def transform(inputs): return inputs",
            r"^transform.py: transform\(inputs\) cannot",
        ),
        (
            "async def transform(inputs, context): return inputs",
            "^transform.py: .* is async",
        ),
        ("def other(inputs, context): return inputs", "defines no function transform"),
        ("import sys\ndef transform(inputs, context): sys.exit(3)", r"sys.exit\(3\)"),
        ("import os\ndef transform(inputs, context): os._exit(0)", "ended its process with status"),
        (
            "import os, signal\n"
            "def transform(inputs, context): os.kill(os.getpid(), signal.SIGSEGV)",
            r"by signal 11 \(SIGSEGV\)",
        ),
    ],
)
def test_broken_contract_is_named(bench: Bench, script: str, expected: str) -> None:
    with pytest.raises(TransformError, match=expected):
        bench.run(script)

    assert bench.stored == []


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ("t['mixed'] = [1, 'a', None]", r"column mixed cannot be stored: .*int \(row 0\), str"),
        ("t['n'] = [1, 2**64, 3]", "column n cannot be stored: .* row 1 has more than 64 bits"),
        ("t['span'] = pd.to_timedelta([1, 2, 3], unit='s')", "column span holds time spans"),
        ("t['z'] = [1j, 2j, 3j]", "column z cannot be stored"),
        ("t[5] = 1", "a column is named 5"),
        ("t = pd.concat([t, t], axis=1)", "two columns named"),
        ("t = t.set_index('trade_id')", "has the index trade_id, which would be lost"),
        ("t.index = ['a', 'b', 'c']", "which would be lost"),
        ("t = t[[]]", "has no columns"),
    ],
)
def test_column_that_cannot_be_stored_is_named(bench: Bench, change: str, expected: str) -> None:
    script = f"""
        import pandas as pd

        def transform(inputs, context):
            t = inputs["trades"]
            {change}
            return t
        """

    with pytest.raises(TransformError, match=expected):
        bench.run(script)

    assert bench.stored == []


def test_row_numbers_of_a_filter_are_no_index(bench: Bench) -> None:
    tables = bench.run(
        "def transform(inputs, context): t = inputs['trades']; return t[t.trade_id != 'T1']"
    )

    assert read(tables, "trades")["trade_id"].to_pylist() == ["T2", "T3"]


def test_kinds_of_text_are_stored_as_text(bench: Bench) -> None:
    tables = bench.run(
        """
        import pandas as pd

        def transform(inputs, context):
            return pd.DataFrame({
                "category": pd.Categorical(["a", "b", "a"]),
                "object": pd.Series(["x", None, "z"], dtype=object),
                "str": ["x", "y", None],
                "nothing": [None, None, None],
            })
        """
    )

    table = read(tables, "trades")
    assert table.schema.types == [pa.string()] * 4
    assert table["category"].to_pylist() == ["a", "b", "a"]


def test_declared_columns_are_cast_without_loss_and_put_in_order(bench: Bench) -> None:
    tables = bench.run(
        """
        import pandas as pd

        def transform(inputs, context):
            return pd.DataFrame({
                "amount": [1.1, 0.30000, 2e6], "n": [1.0, None, 3.0],
                "day": pd.to_datetime(["2026-01-01", None, "2026-01-03"]),
                "at": pd.to_datetime(["2026-01-01 12:00:00+02:00"] * 3),
                "id": pd.Categorical(["a", "b", "a"]),
            })
        """,
        tables={
            "out": {
                "columns": {
                    "id": "string",
                    "amount": "decimal(18,5)",
                    "n": "integer",
                    "day": "date",
                    "at": "timestamp_utc",
                }
            }
        },
    )

    table = read(tables, "out")
    assert table.column_names == ["id", "amount", "n", "day", "at"]
    assert table["amount"].to_pylist() == [Decimal("1.1"), Decimal("0.3"), Decimal(2_000_000)]
    assert table["n"].to_pylist() == [1, None, 3]
    assert str(table["day"][2]) == "2026-01-03"
    assert table["at"][0].as_py().hour == 10


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        ({"trade_id": "string", "venue": "string"}, "lacks the declared columns: venue"),
        ({"trade_id": "string"}, "columns that are not declared: price, quantity, traded_at"),
    ],
)
def test_columns_must_be_the_declared_ones(
    bench: Bench, columns: dict[str, str], expected: str
) -> None:
    with pytest.raises(TransformError, match=expected):
        bench.run(
            "def transform(inputs, context): return inputs['trades']",
            tables={"out": {"columns": columns}},
        )


def test_progress_reaches_the_task_log_without_flooding_it(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    bench.run(
        """
        def transform(inputs, context):
            for done in range(100_001):
                context.progress(done, 100_000)
            context.progress(100_000, 100_000)
            return inputs["trades"]
        """
    )

    lines = [line for _, line in printed(caplog)]
    assert lines[-1] == "progress: 100,000 of 100,000 (100 %)"
    assert len(lines) < 10


def test_set_that_the_spec_does_not_name_is_said_not_to_be_there(bench: Bench) -> None:
    with pytest.raises(TransformError, match="the report uses no mapping set 'venues'") as caught:
        bench.run("def transform(inputs, context):\n    return context.mapping('venues')")
    assert "mappings: {sets: [NAME]}" in str(caught.value)


@pytest.mark.parametrize(
    "script",
    [
        "import json\nimport subprocess\ndef transform(inputs, context): return inputs['trades']",
        "def transform(inputs, context):\n    __import__('subprocess')\n",
        "def transform(inputs, context):\n    exec('import subprocess')\n",
    ],
)
def test_import_that_is_not_allowed_is_refused_with_its_line(bench: Bench, script: str) -> None:
    with pytest.raises(TransformError, match="subprocess may not be imported") as caught:
        bench.run(script, imports=SANDBOX_IMPORTS.split())

    assert caught.value.where == "transform.py line 2"
    assert "[openreg] sandbox_imports" in (caught.value.hint or "")


def test_allowed_libraries_may_import_what_they_like(bench: Bench) -> None:
    tables = bench.run(
        """
        import datetime, decimal, json, re, zoneinfo
        import lxml.etree, numpy, pandas, pyarrow.compute
        from dateutil import relativedelta

        def transform(inputs, context):
            from urllib.parse import quote
            return inputs["trades"]
        """,
        imports=SANDBOX_IMPORTS.split(),
    )

    assert tables["trades"].rows == 3


def test_thread_that_hangs_after_the_return_does_not_hold_the_task(bench: Bench) -> None:
    tables = bench.run(
        """
        import threading, time

        def transform(inputs, context):
            threading.Thread(target=time.sleep, args=(600,)).start()
            return inputs["trades"]
        """,
        limits={"seconds": 60},
    )

    assert tables["trades"].rows == 3


def test_process_left_behind_does_not_hold_the_task(bench: Bench) -> None:
    tables = bench.run(
        """
        import subprocess

        def transform(inputs, context):
            subprocess.Popen(["sleep", "600"])
            return inputs["trades"]
        """,
        limits={"seconds": 60},
    )

    assert tables["trades"].rows == 3


def test_time_limit_is_named(bench: Bench) -> None:
    with pytest.raises(SandboxLimitError, match="stopped at its time limit of 2 s; see transform"):
        bench.run("def transform(inputs, context):\n  while True: pass", limits={"seconds": 2})

    assert bench.stored == []


def test_memory_limit_is_named(bench: Bench) -> None:
    with pytest.raises(SandboxLimitError, match="stopped at its memory limit of 256 MiB; see"):
        bench.run(
            "def transform(inputs, context): return len(bytearray(1 << 30).replace(b'0', b'1'))",
            limits={"memory_mb": 256},
        )


def test_environment_holds_nothing_of_the_task(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("AIRFLOW__DATABASE__SQL_ALCHEMY_CONN", "postgresql://a:hunter2@host/db")
    monkeypatch.setenv("REGULATOR_TOKEN", "hunter2")

    bench.run(
        """
        import os

        def transform(inputs, context):
            print(sorted(os.environ))
            print(open("/proc/self/environ").read().replace(chr(0), " "))
            print(os.environ["PYTHONHASHSEED"], os.environ["TZ"], hash("openreg"))
            return inputs["trades"]
        """
    )

    text = "\n".join(line for _, line in printed(caplog))
    assert "hunter2" not in text
    assert "AIRFLOW" not in text
    assert "0 UTC" in text


def test_same_bytes_in_the_container_and_in_the_development_mode(
    tmp_path: Path, docker_engine: DockerEngine, sandbox_image: str
) -> None:
    script = """
        import pandas as pd

        def transform(inputs, context):
            rows = pd.concat([inputs["trades"]] * 100_000, ignore_index=True)
            rows["n"] = range(len(rows))
            rows["ratio"] = rows["n"] / 7
            rows["tag"] = rows["n"].map(lambda n: hash(str(n)) % 1000)
            kept = {"T1", "T3"}
            return {
                "rows": rows[rows.trade_id.isin(kept)],
                "totals": rows.groupby("trade_id")["ratio"].sum().reset_index(),
                "order": pd.DataFrame({"id": list(kept)}),
            }
        """
    made = []
    ways: tuple[Way, ...] = ("container", "copying container", "subprocess", "subprocess")
    for number, way in enumerate(ways):
        folder = tmp_path / str(number)
        folder.mkdir()
        bench = Bench(folder, way, docker_engine.client, sandbox_image)
        bench.source("trades", TRADES)
        tables = bench.run(script)
        made.append({name: table.sha256 for name, table in tables.items()})

    assert made[0] == made[1] == made[2] == made[3]
