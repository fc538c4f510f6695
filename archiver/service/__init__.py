"""The long-running process: its jobs, its watchers, how it starts over and ends."""
