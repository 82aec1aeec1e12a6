"""Parquet to the file that the authority wants: one writer module a format."""
