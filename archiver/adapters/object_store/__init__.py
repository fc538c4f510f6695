"""The bucket: create-only, checksummed writes on a boto3 client of our own making.

store.py      S3Store, as the pipeline sees it
multipart.py  one upload in parts
calls.py      the S3 calls, each with our options and our errors
quick.py      what is asked most at a third of the cost of boto3
exchange.py   one request and its answer, on connections of our own
archive.py    S3Archive, the bucket as it is read
reading.py    the calls that read
listing.py    one page of a listing
pieces.py     a body in pieces of a buffer
reconcile.py  a lost answer, reconciled by looking; an object damaged on the way, mended
damaged.py    which objects those are
document.py   a sidecar, which may be replaced
retries.py    a few quick tries of one call
checksums.py  checksums of a whole object
proving.py    what the store can do, found out; its uploads in proving_parts.py, its questions in asking.py
content.py    the bytes we sent: are an object's the same?
faults.py     every S3 and botocore error, translated in one place
probe.py      the findings of `check`
client.py     the boto3 client
credentials.py  its credentials, and what goes wrong with them
late.py       a store whose client cannot be made yet
"""

from archiver.adapters.object_store.calls import ObjectOptions
from archiver.adapters.object_store.client import s3_client
from archiver.adapters.object_store.late import LateStore
from archiver.adapters.object_store.store import PutSizes, S3Store

__all__ = ["LateStore", "ObjectOptions", "PutSizes", "S3Store", "s3_client"]
