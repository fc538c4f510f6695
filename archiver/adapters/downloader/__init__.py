"""The CDN: fetches audio from wherever a record points, trusting neither the address nor the bytes."""

from archiver.adapters.downloader.address import Reach
from archiver.adapters.downloader.client import HttpDownloader
from archiver.adapters.downloader.dialer import ConnectionOptions, Network
from archiver.adapters.downloader.limits import BodyLimits
from archiver.adapters.downloader.throttle import Throttle

__all__ = ["BodyLimits", "ConnectionOptions", "HttpDownloader", "Network", "Reach", "Throttle"]
