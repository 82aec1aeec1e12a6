"""Gives the references of rejected records free."""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING

from openreg_airflow.references.guard import submission_of
from openreg_airflow.store.references import References, Said

if TYPE_CHECKING:
    from openreg_airflow.records import Artifact, RunKey
    from openreg_airflow.store.acknowledgements import Acknowledgements


def free_rejected(run: RunKey, route: str, artifact: Artifact, store: Acknowledgements) -> None:
    """Note which records an authority rejected, so that they can be reported anew.

    Args:
        run: the run that made the artifact.
        route: the route to the authority.
        artifact: what it answered to.
        store: its answers. Once noted, the same answers change nothing.
    """
    wanted = submission_of(run, artifact)
    if wanted is None:
        return
    references = References(store.url)
    known = references.submissions(
        wanted.scope, wanted.report_id, wanted.business_date, wanted.artifact
    )
    same = (wanted.content, wanted.version)
    own = next((one.id for one in known if (one.content, one.version) == same), None)
    if own is None:
        return
    states = {one.position: one.state for one in store.of_run(run, route, artifact.name)}
    first, files, taken = 0, [], []
    for position, file in enumerate(artifact.reports, 1):
        rows = (first, first + file.records)
        if states.get(position) in ("rejected", "corrupted"):
            files.append(rows)
        elif states.get(position) in ("accepted", "partly accepted"):
            taken.append(rows)
        first += file.records
    if taken and _rejected_elsewhere(run, route, artifact, store):
        taken = []
    said = (
        [Said(one.row, one.reference, one.status == "rejected") for one in batch]
        for batch in store.each_answer(run, route, artifact.name)
    )
    first_batch = next(said, None)
    if first_batch is not None or files or (taken and references.rejected([own])):
        references.reject(own, chain([first_batch or []], said), files, taken)


def _rejected_elsewhere(
    run: RunKey, route: str, artifact: Artifact, store: Acknowledgements
) -> bool:
    """Whether somebody rejects any of it to whom another route leads."""
    known = store.outstanding(
        report_id=run.report_id, business_date=run.business_date, everything=True
    )
    return any(
        one.rejected and one.run_id == run.run_id and one.route != route
        for one in known
        if one.artifact == artifact.name
    )
