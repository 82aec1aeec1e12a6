"""Looking at artifacts: the head of a file, the difference of two."""
