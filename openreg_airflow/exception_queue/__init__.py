"""The exception queue: records that were set aside, what people decide, and how they go out."""
