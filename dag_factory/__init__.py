"""A report spec becomes a Dag: load, check, build."""
