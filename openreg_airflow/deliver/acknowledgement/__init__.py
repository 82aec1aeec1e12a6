"""The authority's answer to a delivery: waited for, fetched, read, matched and kept."""
