"""The task that brings one artifact to one destination."""

from __future__ import annotations

import logging
from functools import partial
from typing import TYPE_CHECKING, Any

from openreg_airflow.stage import StageOperator

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow.sdk import Context

    from openreg_airflow.deliver.connection import Connection
    from openreg_airflow.deliver.spec import RouteSpec
    from openreg_airflow.records import RunKey

log = logging.getLogger(__name__)


class DeliverOperator(StageOperator):
    """Deliver one artifact over one route; returns a ``Receipt`` for each of its files.

    Args:
        route: name of the route in the spec.
        spec: the route.
        artifact: the ``Artifact`` record, usually the output of the artifact's task.
    """

    stage = "deliver"
    template_fields: Sequence[str] = (*StageOperator.template_fields, "artifact")
    ui_color = "#d5e8d4"

    def __init__(self, *, route: str, spec: RouteSpec, artifact: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.route = route
        self.spec = spec
        self.artifact = artifact

    def run_stage(self, context: Context, run: RunKey) -> list[dict[str, Any]]:  # noqa: ARG002
        """Deliver; see :func:`openreg_airflow.deliver.delivery.deliver`."""
        from openreg_airflow.deliver.delivery import Delivery, deliver
        from openreg_airflow.records import Artifact
        from openreg_airflow.store.deliveries import Deliveries

        delivery = Delivery(
            run=run,
            route=self.route,
            spec=self.spec,
            artifact=Artifact.model_validate(self.artifact),
        )
        receipts = deliver(
            delivery,
            connect=self.connect,
            workspace=self.workspace,
            store=Deliveries(self.settings.store_url),
        )
        if standing := self.standing(run):
            log.info("Delivered %s.", standing)
        return [receipt.model_dump(mode="json") for receipt in receipts]

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
