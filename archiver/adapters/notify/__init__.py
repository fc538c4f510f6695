"""Alerts to people, and pings to watchers outside."""
