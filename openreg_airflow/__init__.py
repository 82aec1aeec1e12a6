"""OpenReg on Airflow: regulatory reports as Apache Airflow Dags."""

__version__ = "0.1.0"
