"""The demonstration: sample trades, an inbox of a regulator, and a local Airflow."""
