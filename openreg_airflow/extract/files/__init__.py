"""Files as sources: where they lie, one module a place, and how they are written, one a format."""
