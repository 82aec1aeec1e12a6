"""The difference of two runs as lines and as an HTML page."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from openreg_airflow.artifacts.looking.difference import Change, Difference, Summary

_CELL = 60
_STYLE = """
body { font-family: system-ui, sans-serif; margin: 2rem; color: #1a1a1a; background: #fff }
table { border-collapse: collapse; margin-top: 1rem }
th, td { border: 1px solid #bbb; padding: .25rem .5rem; text-align: left; vertical-align: top }
th { background: #eee; position: sticky; top: 0 }
td { font-variant-numeric: tabular-nums; white-space: pre-wrap; overflow-wrap: anywhere }
tr.added td:first-child { background: #d7f0d7 } tr.removed td:first-child { background: #f6d6d6 }
tr.changed td:first-child { background: #faeec0 } .null { color: #666; font-style: italic }
"""


def sentence(summary: Summary) -> str:
    """What changed, in one line."""
    return (
        f"{summary.before:,} records before, {summary.after:,} after: {summary.added:,} added, "
        f"{summary.removed:,} removed, {summary.changed:,} changed"
    )


def lines(difference: Difference, key: Sequence[str], most: int) -> Iterator[str]:
    """The difference for a terminal.

    Args:
        difference: what changed.
        key: the columns of the key.
        most: how many records are shown.
    """
    summary = difference.summary
    yield sentence(summary)
    for name in summary.only_before:
        yield f"column {name} is only in the first run"
    for name in summary.only_after:
        yield f"column {name} is only in the second run"
    for name, count in summary.fields:
        yield f"  {name}: {count:,} times"
    rows = [("what", ", ".join(key), "field", "before", "after")]
    for change in difference.changes(most):
        rows += [tuple(map(_short, row)) for row in _rows(change)]  # type: ignore[misc]
    if len(rows) > 1:
        yield ""
        widths = [max(len(row[place]) for row in rows) for place in range(5)]
        for row in rows:
            cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
            yield "  ".join(cells).rstrip()
    total = summary.added + summary.removed + summary.changed
    if total > most:
        yield f"... and {total - most:,} more records; --limit shows more, --html writes a page"


def write_html(
    difference: Difference, key: Sequence[str], file: TextIO, title: str, most: int
) -> None:
    """Write the difference as a page that needs nothing else; nothing of the data is markup.

    Args:
        difference: what changed.
        key: the columns of the key.
        file: where to write.
        title: what is compared.
        most: how many records are written.
    """
    summary = difference.summary
    file.write(
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        f"<title>{escape(title)}</title><style>{_STYLE}</style></head><body>\n"
        f"<h1>{escape(title)}</h1>\n<p>{escape(sentence(summary))}</p>\n"
    )
    for names, which in ((summary.only_before, "first"), (summary.only_after, "second")):
        for name in names:
            file.write(f"<p>Column {escape(name)} is only in the {which} run.</p>\n")
    if summary.fields:
        file.write("<table><tr><th>field</th><th>changed in records</th></tr>\n")
        for name, count in summary.fields:
            file.write(f"<tr><td>{escape(name)}</td><td>{count:,}</td></tr>\n")
        file.write("</table>\n")
    head = "".join(
        f"<th>{escape(name)}</th>" for name in ("what", *key, "field", "before", "after")
    )
    file.write(f"<table><tr>{head}</tr>\n")
    for change in difference.changes(most):
        for kind, _, field, before, after in _rows(change):
            cells = "".join(map(_cell, (*change.key, field, before, after)))
            file.write(f'<tr class="{change.kind}"><td>{kind}</td>{cells}</tr>\n')
    file.write("</table>\n")
    total = summary.added + summary.removed + summary.changed
    if total > most:
        file.write(f"<p>{total - most:,} more records changed.</p>\n")
    file.write("</body></html>\n")


def _rows(change: Change) -> Iterator[tuple[str, str, str | None, str | None, str | None]]:
    key = ", ".join("NULL" if value is None else value for value in change.key)
    if change.kind != "changed":
        yield change.kind, key, "", "", ""
    for name, before, after in change.fields:
        yield change.kind, key, name, before, after


def _short(text: str | None) -> str:
    if text is None:
        return "NULL"
    plain = "".join(
        letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in text
    )
    return plain if len(plain) <= _CELL else plain[: _CELL - 1] + "…"


def _cell(text: str | None) -> str:
    return '<td class="null">NULL</td>' if text is None else f"<td>{escape(text)}</td>"
