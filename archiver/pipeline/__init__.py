"""How a task travels, and who gives the work out."""
