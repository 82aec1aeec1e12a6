"""Parquet to a verdict: rules and their failing rows."""
