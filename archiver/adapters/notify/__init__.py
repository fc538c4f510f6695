"""Ways to tell people and watchers outside."""
