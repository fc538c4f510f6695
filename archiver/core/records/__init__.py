"""The meaning of the provider's answers."""
