"""The tenth year: audio out of the archive again, by the manifests that stand in the bucket alone."""
