"""Parquet to Parquet: the sandbox and the runner inside it."""
