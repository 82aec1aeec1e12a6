"""SQL source to Parquet: one reader module a database."""
