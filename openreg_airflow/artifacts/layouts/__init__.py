"""Documents by a layout: what it is made of, and the records written by it."""
