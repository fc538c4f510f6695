"""The CDN: fetches audio from wherever a record points, trusting neither the address nor the bytes."""

from archiver.edge.downloader.client import HttpDownloader
from archiver.edge.downloader.throttle import Throttle

__all__ = ["HttpDownloader", "Throttle"]
