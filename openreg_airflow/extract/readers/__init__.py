"""The readers that come with the package: one module a database."""
