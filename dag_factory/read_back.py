"""How a report's artifacts can be read back, from the sections that say how they are written."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from openreg_airflow.problem import Problem
from openreg_airflow.validate.finished.form import FileForm, FixedPlace, fault
from openreg_airflow.validate.finished.spec import ReadBack
from openreg_airflow.validate.phases import of_artifacts, read_artifacts

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dag_factory.report import ReportSpec
    from openreg_airflow.artifacts.spec import ArtifactSpec


def file_form(spec: ArtifactSpec) -> FileForm:
    """What is known of an artifact's files from its section."""
    encrypted = spec.package.encrypt is not None
    if spec.format == "fixed":
        return _fixed_form(spec, encrypted=encrypted)
    if spec.format not in ("csv", "excel"):
        return FileForm(format=spec.format, encrypted=encrypted)
    columns = getattr(spec, "columns", None) or {}
    return FileForm(
        format=spec.format,
        delimiter=getattr(spec, "delimiter", ","),
        quote=getattr(spec, "quote", '"'),
        quoted=getattr(spec, "quoting", "minimal") != "none",
        encoding=getattr(spec, "encoding", "utf-8"),
        null=getattr(spec, "null", ""),
        decimal_mark=getattr(spec, "decimal_mark", "."),
        header=getattr(spec, "header", True),
        names=tuple(column.title or name for name, column in columns.items()),
        before=len(getattr(spec, "header_records", ())),
        after=len(getattr(spec, "trailer_records", ())),
        encrypted=encrypted,
    )


def _fixed_form(spec: Any, *, encrypted: bool) -> FileForm:
    """The places of the columns, and how long records are."""
    from openreg_airflow.artifacts.formats.fixed_spec import FixedField, width_of

    records = (spec.fields,) if spec.fields else tuple(one.fields for one in spec.record_types)
    around = (*spec.header_records, *spec.trailer_records)
    shortest = spec.record_length or 0
    # Without ends, records can be told apart only when all have one length.
    alike = (*records, *around) if spec.line_end == "none" else records
    places = []
    start = 0
    for field in spec.fields or ():
        if isinstance(field, FixedField):
            places.append(
                FixedPlace(
                    name=field.column,
                    start=start,
                    width=field.width,
                    null=field.null,
                    pad=field.pad,
                    decimals=field.decimals,
                    decimal_mark=field.decimal_mark,
                    sign=field.sign,
                    plus=field.plus,
                )
            )
        start += width_of(field)
    return FileForm(
        format="fixed",
        encoding=spec.encoding,
        before=len(spec.header_records),
        after=len(spec.trailer_records),
        line_end={"lf": "\n", "crlf": "\r\n", "none": ""}[spec.line_end],
        lengths=frozenset(max(shortest, sum(map(width_of, one))) for one in alike),
        places=tuple(places),
        encrypted=encrypted,
    )


def forms(spec: ReportSpec) -> dict[str, FileForm]:
    """The artifacts that rules need read back, with their form; empty when no rule does."""
    if spec.validate_ is None or not of_artifacts(spec.validate_):
        return {}
    wanted = read_artifacts(spec.validate_, spec.artifacts)
    return {name: file_form(spec.artifacts[name]) for name in wanted}


def check(spec: ReportSpec) -> Iterator[Problem]:
    """Faults in what is to be read back."""
    section = spec.validate_
    if section is None:
        return
    known = ", ".join(spec.artifacts)
    for name in section.read_back:
        if name not in spec.artifacts:
            message, keys = f"there is no artifact {name!r}", ("validate", "read_back", name)
            yield Problem(message=message, hint=f"The artifacts are {known}.", keys=keys)
    for name, form in forms(spec).items():
        if why := fault(form, section.read_back.get(name, ReadBack())):
            place = ("validate", "read_back", name) if name in section.read_back else ("validate",)
            message = f"artifact {name} cannot be read back: {why}"
            hint = f"See validate.read_back.{name}, or take out its rules of phase: artifact."
            yield Problem(message=message, hint=hint, keys=place)
    there = [f"{name}_{kind}" for name in spec.artifacts for kind in ("records", "files")]
    for rule_id, rule in of_artifacts(section).items():
        if rule.table not in there:
            yield Problem(
                message=f"rule {rule_id}: there is no table {rule.table!r} of an artifact",
                hint=f"Rules of phase: artifact speak of {', '.join(there)}.",
                keys=("validate", "rules", rule_id, "table"),
            )
    for name in set(there) & set(spec.tables() or ()):
        yield Problem(
            message=f"the table {name!r} of the report hides what is read back of an artifact",
            hint="Give the table or the artifact another name.",
            keys=("artifacts", name.rpartition("_")[0]),
        )
