"""Every report spec as an Airflow Dag; see ``[openreg] spec_folders`` in the configuration."""

from dag_factory.loader import load_dags

globals().update(load_dags())
