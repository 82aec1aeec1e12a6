"""The task that brings one artifact to one destination."""

from __future__ import annotations

import logging
from functools import partial
from typing import TYPE_CHECKING, Any

from openreg_airflow.errors import (
    BlockingRulesError,
    DeliveryRefusedError,
    OpenRegError,
    PermanentError,
)
from openreg_airflow.stage import StageOperator

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow.sdk import Context

    from openreg_airflow.deliver.connection import Connection
    from openreg_airflow.deliver.spec import RouteSpec
    from openreg_airflow.deliver.windows import RowsOnce
    from openreg_airflow.records import RunKey

log = logging.getLogger(__name__)


class DeliverOperator(StageOperator):
    """Deliver one artifact over one route; returns a ``Receipt`` for each of its files.

    The task is skipped where the route's condition does not hold, where it stands in for another
    route that delivered, and where it is not required and cannot deliver.

    Args:
        route: name of the route in the spec.
        spec: the route.
        artifact: the ``Artifact`` record, usually the output of the artifact's task.
        stands_in_for: id of the task whose place this one takes when its destination is down;
            the trigger rule must then be ``all_done``.
        stand_ins: the routes that take the place of this one: what one of them delivered is not
            sent once more when this task is cleared, or by another run of the same content.
        rows_once: what is delivered of incremental sources: no two business dates deliver the
            same rows.
        checked: the verdict on the finished files, or None where no rule speaks of them. Nothing
            is delivered when there should be one and is none.
    """

    stage = "deliver"
    template_fields: Sequence[str] = (*StageOperator.template_fields, "artifact", "checked")
    ui_color = "#d5e8d4"

    def __init__(
        self,
        *,
        route: str,
        spec: RouteSpec,
        artifact: Any,
        stands_in_for: str | None = None,
        stand_ins: Sequence[str] = (),
        rows_once: RowsOnce | None = None,
        checked: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.stands_in_for = stands_in_for
        self.stand_ins = tuple(stand_ins)
        self.rows_once = rows_once
        self.checked = checked
        #: Known before the verdict is: somebody may mark the check as succeeded.
        self.is_checked = checked is not None
        self.route = route
        self.spec = spec
        self.artifact = artifact

    def run_stage(self, context: Context, run: RunKey) -> list[dict[str, Any]]:
        """Deliver; see :func:`openreg_airflow.deliver.delivery.deliver`."""
        from airflow.sdk.exceptions import AirflowSkipException

        from openreg_airflow.deliver.delivery import Delivery, deliver
        from openreg_airflow.deliver.routing import not_taken, stood_in_for
        from openreg_airflow.records import Artifact
        from openreg_airflow.store.deliveries import Deliveries

        if why := self._not_needed(context):
            raise AirflowSkipException(why)
        if self.is_checked and self.checked is None:
            message = "the check of the finished files left no verdict: it failed, or somebody "
            message += "marked it as succeeded"
            raise BlockingRulesError(message, hint="Clear the task check; nothing was sent.")
        store = Deliveries(self.settings.store_url)
        artifact = Artifact.model_validate(self.artifact)
        failed = self.stands_in_for is not None
        if why := not_taken(self.route, self.spec, run, artifact, store, failed=failed):
            log.info("route %s is not taken: %s", self.route, why)
            raise AirflowSkipException(why)
        if said := stood_in_for(self.route, self.stand_ins, run, artifact, store):
            log.info("nothing is sent: %s", said)
            return []
        try:
            receipts = deliver(
                Delivery(
                    run=run,
                    route=self.route,
                    spec=self.spec,
                    artifact=artifact,
                    rows_once=self.rows_once,
                ),
                connect=self.connect,
                workspace=self.workspace,
                store=store,
            )
        except OpenRegError as error:
            # What stands in for a route that failed is all that is left.
            needed = self.spec.required or failed
            if needed or not self._is_last_try(context, error):
                raise
            log.exception("route %s is not required, so the run goes on without it", self.route)
            raise AirflowSkipException(error.message) from error
        if standing := self.standing(run):
            log.info("Delivered %s.", standing)
        return [receipt.model_dump(mode="json") for receipt in receipts]

    def _not_needed(self, context: Context) -> str | None:
        """Why there is nothing to do, seen from the tasks before this one.

        Raises:
            DeliveryRefusedError: one of them failed, and not for a destination that is down: this
                task must fail too, or the run would look well.
        """
        state = "failed"
        if self.stands_in_for is not None:
            run = context["dag_run"].run_id
            states = context["ti"].get_task_states(
                dag_id=self.dag_id, task_ids=[self.stands_in_for], run_ids=[run]
            )
            state = str(states.get(run, {}).get(self.stands_in_for))
        if state in ("success", "skipped"):
            return f"task {self.stands_in_for} ended with {state}"
        if state != "failed":
            message = f"task {self.stands_in_for} ended with {state}: something before it failed"
            raise DeliveryRefusedError(message, hint="Mend that first.")
        return "no artifact was written" if self.artifact is None else None

    def _is_last_try(self, context: Context, error: OpenRegError) -> bool:
        ti = context["ti"]
        return isinstance(error, PermanentError) or ti.try_number > ti.max_tries

    def connect(self) -> Connection:
        """The route's Airflow connection; see :func:`airflow_connection`."""
        return airflow_connection(self.spec.connection)


def airflow_connection(name: str) -> Connection:
    """An Airflow connection as a plain object.

    Raises:
        DeliveryRefusedError: there is no such connection, or its extra is not JSON.
    """
    from airflow.sdk import BaseHook
    from airflow.sdk.exceptions import AirflowNotFoundException

    from openreg_airflow.deliver.connection import Connection
    from openreg_airflow.errors import DeliveryRefusedError

    try:
        found = BaseHook.get_connection(name)
    except AirflowNotFoundException as error:
        message = f"there is no Airflow connection {name}"
        raise DeliveryRefusedError(
            message, hint=f"Make it: airflow connections add {name} --conn-type ..."
        ) from error
    extra = found.extra_dejson
    if not extra and (found.extra or "").strip() not in ("", "{}", "null"):
        message = f"the extra of connection {name} is not a JSON object"
        raise DeliveryRefusedError(message, hint="Correct it in the connection.")
    return Connection(
        id=name,
        type=found.conn_type or "",
        host=found.host,
        port=found.port,
        login=found.login,
        password=found.password,
        schema=found.schema,
        extra=extra,
        s3=partial(_s3_client, name) if found.conn_type == "aws" else None,
    )


def _s3_client(name: str, timeout_seconds: float) -> Any:
    """A boto3 client by the provider's hook, which knows roles, tokens and endpoints."""
    from airflow.providers.amazon.aws.hooks.s3 import S3Hook
    from botocore.config import Config

    hook = S3Hook(aws_conn_id=name)
    silence = Config(connect_timeout=timeout_seconds, read_timeout=timeout_seconds)
    return hook.get_client_type(config=hook.config.merge(silence))
