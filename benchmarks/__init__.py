"""Measurements beside what a user would pick instead; each prints a table and can write JSON."""
