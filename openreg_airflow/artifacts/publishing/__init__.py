"""From a finished file to one that is published: packed, hashed, described, kept."""
