"""How values become text: placeholders, formats, conditions."""
