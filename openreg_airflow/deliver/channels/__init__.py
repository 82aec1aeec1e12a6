"""One module a protocol; found through the entry points of group ``openreg.channels``."""
