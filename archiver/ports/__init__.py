"""What the path of a task needs from the outside, one narrow interface for each thing.

An implementation translates its library's exceptions into `archiver.core.errors`; callers see no others.
"""
