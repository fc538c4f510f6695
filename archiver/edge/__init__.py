"""The outside world, one module for each thing in it; none imports another."""
