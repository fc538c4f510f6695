"""The CDN: fetches audio from wherever a record points, trusting neither the address nor the bytes."""

from archiver.edge.downloader.client import HttpDownloader

__all__ = ["HttpDownloader"]
