from __future__ import annotations

from typing import TYPE_CHECKING, Any

import duckdb
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lxml import etree

from openreg_airflow.artifacts import writer
from openreg_airflow.artifacts.layouts import inner_rows
from openreg_airflow.errors import ArtifactError, StorageError
from tests.artifact_files import made, spec_of

if TYPE_CHECKING:
    from pathlib import Path

SPEC = spec_of(format="xml", layout="layout.xml")
DEEP = """<doc xmlns:r="urn:openreg:layout:1"><rec r:each="rows" r:key="id"><id>{id}</id>
<ps><p r:each="parties" r:on="id" r:when="role = 'B'" r:key="name"><n>{name}</n>
<a r:each="accounts" r:on="party = name, id">{account}</a></p></ps>
<ps><s r:each="parties" r:on="id" r:when="role = 'S'"><n>{name}</n></s></ps>
</rec></doc>"""


def document(record: str) -> str:
    return f'<doc xmlns:r="urn:openreg:layout:1">{record}</doc>'


def written(folder: Path, record: str, **tables: dict[str, Any]) -> list[str]:
    """The records of a document."""
    arrow = {name: pa.table(columns) for name, columns in tables.items()}
    _, data = made(folder, SPEC, arrow, layout=document(record))
    return data.decode().split("\n")[2:-2]


RECORD = (
    '<rec r:each="rows" r:key="id"><id>{id}</id>'
    '<w r:each="waivers" r:on="trade = id" r:key="code">{code}</w><e>{end}</e></rec>'
)
ROWS = {"id": ["b", "a", "c"], "end": ["1", "2", None]}


def test_inner_rows_stand_in_the_record_they_belong_to(tmp_path: Path) -> None:
    waivers = {"trade": ["a", "b", "a"], "code": ["x&y", "z", "u"]}
    assert written(tmp_path, RECORD, rows=ROWS, waivers=waivers) == [
        "<rec><id>b</id><w>z</w><e>1</e></rec>",
        "<rec><id>a</id><w>x&amp;y</w><w>u</w><e>2</e></rec>",
        "<rec><id>c</id></rec>",
    ]


def test_record_without_its_inner_rows_stops_where_they_are_required(tmp_path: Path) -> None:
    record = RECORD.replace("<w ", '<w r:required="true" r:when="code != \'z\'" ')
    waivers = {"trade": ["a", "b"], "code": ["x", "z"]}
    with pytest.raises(ArtifactError, match="<w> is mandatory and has no value: ") as caught:
        written(tmp_path, record, rows=ROWS, waivers=waivers)
    assert caught.value.message.endswith("no row of waivers with code != 'z' belongs to it")
    assert caught.value.where == "record 1 (id b)"


def test_required_inner_rows_count_only_where_their_parent_is_written(tmp_path: Path) -> None:
    record = (
        '<rec r:each="rows"><id>{id}</id><o r:when="id = \'a\'">'
        '<w r:each="waivers" r:on="trade = id" r:required="true">'
        '<c r:required="true">{code}</c><d>{more}</d></w></o></rec>'
    )
    waivers = {"trade": ["a", "b"], "code": ["x", None], "more": ["1", "2"]}
    assert written(tmp_path, record, rows=ROWS, waivers=waivers) == [
        "<rec><id>b</id></rec>",
        "<rec><id>a</id><o><w><c>x</c><d>1</d></w></o></rec>",
        "<rec><id>c</id></rec>",
    ]
    waivers["code"] = [None, None]
    with pytest.raises(ArtifactError, match="<c> is mandatory") as caught:
        written(tmp_path, record, rows=ROWS, waivers=waivers)
    assert caught.value.where == "record 2, row 1 of its waivers"


@pytest.mark.parametrize("trade", ["nobody", None])
def test_inner_row_without_a_record_is_refused(tmp_path: Path, trade: str | None) -> None:
    waivers = {"trade": ["a", "b", trade], "code": ["x", "z", "u"]}
    with pytest.raises(ArtifactError, match="1 row belongs to no row of rows") as caught:
        written(tmp_path, RECORD, rows=ROWS, waivers=waivers)
    name = trade or "NULL"
    assert caught.value.where == f"table waivers row 3 (trade {name}), layout.xml line 1"


def test_unwritable_inner_value_names_record_and_row(tmp_path: Path) -> None:
    waivers = {"trade": ["a", "b", "a"], "code": ["x", "z", "\x01"]}
    with pytest.raises(ArtifactError, match="XML cannot carry") as caught:
        written(tmp_path, RECORD, rows=ROWS, waivers=waivers)
    where = "record 2 (id a), row 2 of its waivers (code \x01), <w> in layout.xml line 1"
    assert caught.value.where == f"{where}, column code"


@pytest.mark.parametrize(
    ("waivers", "message"),
    [
        ({"trade": [1], "code": ["x"]}, "column trade of waivers is int64, but id is string"),
        ({"tread": ["a"], "code": ["x"]}, "table waivers has no column trade"),
        (
            {"trade": ["a"], "code": pa.array([1], pa.decimal256(40, 0))},
            "column code of waivers has more than 38 digits",
        ),
    ],
)
def test_tables_that_cannot_be_joined_are_refused(
    tmp_path: Path, waivers: dict[str, Any], message: str
) -> None:
    with pytest.raises(ArtifactError, match=message) as caught:
        written(tmp_path, RECORD, rows=ROWS, waivers=waivers)
    assert caught.value.where == "layout.xml, line 1"


ids = st.integers(0, 12)


@settings(deadline=None, max_examples=60)
@given(
    order=st.permutations(range(13)),
    parties=st.lists(st.tuples(ids, st.sampled_from("BS")), max_size=40),
    accounts=st.lists(st.integers(0, 39), max_size=60),
    most=st.integers(1, 20),
    batch=st.integers(1, 9),
)
def test_every_inner_row_is_written_once_in_its_place(
    *,
    tmp_path_factory: pytest.TempPathFactory,
    order: list[int],
    parties: list[tuple[int, str]],
    accounts: list[int],
    most: int,
    batch: int,
) -> None:
    names = [f"P{number}" for number in range(len(parties))]
    owners = [number % len(parties) for number in accounts] if parties else []
    tables = {
        "rows": pa.table({"id": pa.array(order, pa.int64())}),
        "parties": pa.table(
            {
                "id": pa.array([owner for owner, _ in parties], pa.int64()),
                "role": pa.array([role for _, role in parties], pa.string()),
                "name": pa.array(names, pa.string()),
            }
        ),
        "accounts": pa.table(
            {
                "id": pa.array([parties[owner][0] for owner in owners], pa.int64()),
                "party": pa.array([names[owner] for owner in owners], pa.string()),
                "account": pa.array([f"A{place}" for place in range(len(owners))], pa.string()),
            }
        ),
    }
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(inner_rows, "_MOST_ROWS", most)
        patch.setattr(inner_rows, "_READ_ROWS", 3)
        patch.setattr(writer, "_MAX_BATCH_ROWS", batch)
        _, data = made(tmp_path_factory.mktemp("xml"), SPEC, tables, layout=DEEP)
    found = [
        (
            int(str(record.findtext("id"))),
            [(p.findtext("n"), [a.text for a in p.findall("a")]) for p in record.findall("ps/p")],
            [s.findtext("n") for s in record.findall("ps/s")],
        )
        for record in etree.fromstring(data).findall("rec")
    ]
    expected = []
    for number in order:
        mine = [(name, role) for name, (o, role) in zip(names, parties, strict=True) if o == number]
        buyers = [
            (name, [f"A{n}" for n, owner in enumerate(owners) if names[owner] == name])
            for name, role in mine
            if role == "B"
        ]
        expected.append((number, buyers, [name for name, role in mine if role == "S"]))
    assert found == expected


def test_full_disk_while_sorting_is_worth_another_try(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        message = "No space left on device"
        raise duckdb.IOException(message)

    monkeypatch.setattr(inner_rows._Sorter, "below", refuse)
    with pytest.raises(StorageError, match=r"inner tables of rows cannot be sorted: .*No space"):
        written(tmp_path, RECORD, rows=ROWS, waivers={"trade": ["a"], "code": ["x"]})


def test_inner_rows_are_not_lost_where_there_are_no_records(tmp_path: Path) -> None:
    spec = spec_of(format="xml", layout="layout.xml", when_empty="write")
    none = pa.array([], pa.string())
    tables = {
        "rows": pa.table({"id": none, "end": none}),
        "waivers": pa.table({"trade": none, "code": none}),
    }
    _, data = made(tmp_path, spec, tables, layout=document(f"<n>1</n>{RECORD}"))
    assert data.endswith(b"<doc><n>1</n></doc>\n")
    tables["waivers"] = pa.table({"trade": ["a"], "code": ["x"]})
    with pytest.raises(ArtifactError, match="1 row belongs to no row of rows"):
        made(tmp_path, spec, tables, layout=document(RECORD))
