"""The way of a task, and those who give the work out."""
