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
    refused = {
        standing.position
        for standing in store.of_run(run, route, artifact.name)
        if standing.state in ("rejected", "corrupted")
    }
    first, files = 0, []
    for position, file in enumerate(artifact.reports, 1):
        if position in refused:
            files.append((first, first + file.records))
        first += file.records
    said = (
        [Said(one.row, one.reference, one.status == "rejected") for one in batch]
        for batch in store.each_answer(run, route, artifact.name)
    )
    first_batch = next(said, None)
    if first_batch is not None or files:
        references.reject(own, chain([first_batch or []], said), files)
