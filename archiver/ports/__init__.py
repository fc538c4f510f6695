"""Outside things that the path of a task needs, one narrow interface for each.

An implementation translates its library's exceptions into `archiver.core.errors`; callers see no others.
"""
