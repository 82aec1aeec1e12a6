"""Finished files read back into tables, so that rules can speak of what is delivered."""
