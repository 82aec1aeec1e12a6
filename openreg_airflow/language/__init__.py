"""The language of conditions: Python's syntax for expressions, compiled to DuckDB's SQL.

A condition is parsed by :mod:`ast`, checked node by node against a whitelist and the types of the
columns, and becomes one SQL expression. Nothing of it is ever evaluated by Python.
"""
