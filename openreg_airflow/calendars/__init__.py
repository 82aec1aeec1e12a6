"""Business days, and the instants by which reports must have arrived."""
