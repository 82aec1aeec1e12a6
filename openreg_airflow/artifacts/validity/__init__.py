"""Finished files held against their schemas."""
