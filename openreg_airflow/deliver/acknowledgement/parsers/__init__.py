"""One module a kind of feedback; found through the entry points of group ``openreg.feedback``."""
