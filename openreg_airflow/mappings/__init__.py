"""Cross-reference sets: versioned data that people maintain, looked up as of a date."""
