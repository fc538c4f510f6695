"""The CDN: fetches audio from wherever a record points, trusting neither the address nor the bytes."""

from archiver.adapters.downloader.client import HttpDownloader
from archiver.adapters.downloader.throttle import Throttle

__all__ = ["HttpDownloader", "Throttle"]
