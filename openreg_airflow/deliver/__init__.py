"""From an artifact to the regulator: one channel module a protocol."""
