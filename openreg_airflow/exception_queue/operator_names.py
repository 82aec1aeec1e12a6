"""Names that the queue's tasks and its commands share; imports nothing."""

#: The Dag's parameter that makes a run a resubmission.
RESUBMIT = "resubmit"
