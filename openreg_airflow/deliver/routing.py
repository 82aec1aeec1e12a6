"""Whether a route is taken: a condition over what is known of the run and its artifact.

Conditions are those of validation rules: Python's syntax, checked against the facts' types,
compiled to SQL and evaluated by a database in memory that reaches nothing else.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from openreg_airflow.errors import DeliveryError, DeliveryRefusedError
from openreg_airflow.language.compiler import BUSINESS_DATE, compile_condition
from openreg_airflow.language.fault import ExpressionError
from openreg_airflow.language.scope import Scope, columns_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from openreg_airflow.deliver.spec import RouteSpec
    from openreg_airflow.records import Artifact, RunKey
    from openreg_airflow.store.deliveries import Deliveries
    from openreg_airflow.store_records import DeliveryAttempt

#: What a condition can speak of, with its type.
FACTS: dict[str, str] = {
    "report": "string",
    "business_date": "date",
    "run_id": "string",
    "run_kind": "string",
    "artifact": "string",
    "format": "string",
    "records": "integer",
    "files": "integer",
    "bytes": "integer",
    "version": "integer",
    "correction": "boolean",
    "status": "string",
    "rules_failed": "integer",
    "schema_check": "string",
}
_TABLE = "facts"
#: How an attempt ends that the receiver has the file after.
_THERE = ("delivered", "already-there")
#: How Airflow begins the ids of its runs.
_RUN_KINDS = ("scheduled", "manual", "backfill", "asset_triggered")


def facts_of(run: RunKey, artifact: Artifact) -> dict[str, Any]:
    """What is known of a run and its artifact, by the names of :data:`FACTS`."""
    rules = artifact.metadata.get("rules")
    failed = int(rules["failed_warning"]) if rules else 0
    return {
        "report": run.report_id,
        "business_date": run.business_date,
        "run_id": run.run_id,
        "run_kind": next((k for k in _RUN_KINDS if run.run_id.startswith(k)), "other"),
        "artifact": artifact.name,
        "format": artifact.format,
        "records": artifact.records,
        "files": len(artifact.files),
        "bytes": sum(file.bytes for file in artifact.files),
        "version": artifact.version,
        "correction": artifact.version > 1,
        "status": "unvalidated" if rules is None else "warnings" if failed else "passed",
        "rules_failed": failed,
        "schema_check": artifact.schema_check,
    }


def not_taken(
    name: str,
    spec: RouteSpec,
    run: RunKey,
    artifact: Artifact,
    store: Deliveries,
    *,
    failed: bool = False,
) -> str | None:
    """Why a route is not taken in a run, or None.

    Args:
        name: the route.
        spec: its section.
        run: the run.
        artifact: what it would deliver.
        store: what was tried before.
        failed: whether the task of the route that it stands in for has failed. A reason not to
            take this one would then hide that nothing was delivered.

    Raises:
        DeliveryRefusedError: the condition cannot be decided, or the route stands in for one that
            was refused, or may have delivered: without a person nothing that the other side
            refused is sent elsewhere, and nothing that it may have. Or nothing was delivered, and
            this one is not taken.
    """
    primary = spec.instead_of
    tries = _tries(primary, run, artifact, store) if primary is not None else []
    if spec.when is not None and not holds(spec.when, facts_of(run, artifact)):
        if failed and not _delivered(tries):
            message = f"route {primary} failed, and this one is not taken: {spec.when}"
            hint = f"Nothing was delivered. Mend route {primary} and clear its task."
            raise DeliveryRefusedError(message, where=f"route {name}", hint=hint)
        return f"the condition does not hold: {spec.when}"
    if primary is None:
        return None
    if not tries:
        if failed:
            message = f"route {primary} failed before it tried to deliver, for what its task says"
            hint = "Nothing was delivered. Mend that and clear its task."
            raise DeliveryRefusedError(message, where=f"route {name}", hint=hint)
        return f"route {primary} was not taken"
    if _delivered(tries):
        return f"route {primary} delivered"
    first = next(attempt for attempt in tries if attempt.result not in _THERE)
    if first.result == "failed" and first.error_class != DeliveryError.__name__:
        message = f"route {primary} was refused, not down: {first.error}"
        hint = "Mend that route and clear its task, or send with openreg deliver."
        raise DeliveryRefusedError(message, where=f"route {name}", hint=hint)
    _refuse_half_way(name, primary, run, artifact, store)
    return None


def _tries(route: str, run: RunKey, artifact: Artifact, store: Deliveries) -> list[DeliveryAttempt]:
    """The last attempts of a run to deliver the files of an artifact over a route.

    Those of a version that the run made before it was cleared say nothing of this one.
    """
    hashes = {file.sha256 for file in artifact.files}
    tries = [
        attempt
        for attempt in store.attempts(run)
        if attempt.route == route and attempt.artifact == artifact.name and attempt.sha256 in hashes
    ]
    last = max((attempt.attempt for attempt in tries), default=0)
    return [attempt for attempt in tries if attempt.attempt == last]


def _delivered(tries: Sequence[DeliveryAttempt]) -> bool:
    """Whether a route has delivered, as far as its last attempts tell."""
    return bool(tries) and all(attempt.result in _THERE for attempt in tries)


def _refuse_half_way(
    name: str, primary: str, run: RunKey, artifact: Artifact, store: Deliveries
) -> None:
    """See that nothing of an artifact went over the route that another one stands in for.

    Raises:
        DeliveryRefusedError: something did, or may have: the authority would have it twice.
    """
    known = store.of_contents(primary, _contents(run, artifact))
    if sent := [entry for entry in known if entry.state == "delivered"]:
        message = (
            f"route {primary} delivered {sent[0].filename} before its destination was down, "
            f"{len(sent)} of {len(artifact.files)} files"
        )
        hint = "Ask the receiver, then send what is wanted with openreg deliver."
    elif open_ := [entry for entry in known if entry.state == "publishing"]:
        message = f"nobody knows yet whether route {primary} delivered {open_[0].filename}"
        hint = (
            "When its destination answers again, clear the task of that route: it finds out. Or "
            "ask the receiver, and say what is so with openreg deliver."
        )
    else:
        return
    raise DeliveryRefusedError(message, where=f"route {name}", hint=hint)


def stood_in_for(
    name: str, stand_ins: Sequence[str], run: RunKey, artifact: Artifact, store: Deliveries
) -> str | None:
    """What another run delivered in the place of a route, or None: the authority has it.

    Args:
        name: the route.
        stand_ins: the routes that deliver when its destination is down.
        run: the run that would deliver now.
        artifact: what it would deliver.
        store: the ledger.

    Raises:
        DeliveryRefusedError: a route delivered, or may have delivered, in the place of this one:
            the authority would have it twice. For what another run delivered there is nothing to
            do, but this run's own task of that route goes on only when this one failed.
    """
    if delivered_over(name, run, artifact, store):
        return None
    contents = _contents(run, artifact)
    for other in stand_ins:
        known = store.of_contents(other, contents)
        if open_ := [one for one in known if one.state == "publishing"]:
            message = f"nobody knows yet whether route {other} delivered {open_[0].filename}"
            hint = "Clear the task of that route: it finds out. Then nothing is sent twice."
            raise DeliveryRefusedError(message, where=f"route {name}", hint=hint)
        if sent := [one for one in known if one.state == "delivered"]:
            said = (
                f"route {other} delivered {sent[0].filename} in its place, "
                f"{len(sent)} of {len(contents)} files, run {sent[0].run_id}"
            )
            if sent[0].run_id != run.run_id and len(sent) == len(contents):
                return said
            hint = (
                "The receiver has it, and nothing is sent again. If it has not, send it with "
                "openreg deliver and a reason."
            )
            raise DeliveryRefusedError(said, where=f"route {name}", hint=hint)
    return None


def delivered_over(name: str, run: RunKey, artifact: Artifact, store: Deliveries) -> bool:
    """Whether all files of an artifact are known to have been delivered over a route."""
    contents = _contents(run, artifact)
    there = {one.content for one in store.of_contents(name, contents) if one.state == "delivered"}
    return there.issuperset(contents)


def _contents(run: RunKey, artifact: Artifact) -> list[str]:
    """How the ledger knows the files of an artifact."""
    from openreg_airflow.store.deliveries import content_of

    return sorted(
        content_of(
            run,
            artifact.name,
            artifact.content or file.document_sha256 or file.sha256,
            file.part,
            file.role,
        )
        for file in artifact.files
    )


def check_condition(text: str) -> ExpressionError | None:
    """What is wrong with a condition, or None."""
    try:
        compile_condition(text, _scope())
    except ExpressionError as error:
        return error
    return None


def holds(text: str, facts: dict[str, Any]) -> bool:
    """Whether a condition is true of the facts.

    Args:
        text: the condition.
        facts: from :func:`facts_of`.

    Raises:
        ExpressionError: the condition is wrong.
        DeliveryRefusedError: it cannot be evaluated, or is neither true nor false: nobody should
            have to guess whether a report went out.
    """
    import duckdb

    from openreg_airflow.column_types import sql_type
    from openreg_airflow.language.library import install

    sql = compile_condition(text, _scope()).sql
    columns = ", ".join(
        f"CAST(${name} AS {sql_type(kind)}) AS {name}" for name, kind in FACTS.items()
    )
    with duckdb.connect(":memory:", config={"threads": 1, "max_memory": "64MB"}) as database:
        database.execute("SET TimeZone = 'UTC'")
        install(database)
        database.execute("SET enable_external_access = false")
        database.execute("SET lock_configuration = true")
        given = dict(facts)
        if f"${BUSINESS_DATE}" in sql:
            given[BUSINESS_DATE] = facts["business_date"]
        try:
            row = database.execute(
                f"SELECT ({sql}) FROM (SELECT {columns}) AS {_TABLE}",  # noqa: S608 - compiled
                given,
            ).fetchone()
        except duckdb.Error as error:
            message = f"the route's condition cannot be evaluated: {error}"
            raise DeliveryRefusedError(message, where=text, hint="Correct `when`.") from error
    answer = row[0] if row else None
    if answer is None:
        message = "the route's condition is neither true nor false for this run"
        hint = "It compares something with nothing; say what holds then, with `is None`."
        raise DeliveryRefusedError(message, where=text, hint=hint)
    return bool(answer)


def _scope() -> Scope:
    return Scope(_TABLE, {_TABLE: columns_of(FACTS)})
