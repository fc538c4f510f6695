"""The bucket: create-only, checksummed writes on a boto3 client of our own making.

store.py      S3Store, what the pipeline sees
multipart.py  one upload in parts
calls.py      the S3 calls, each with our options and our errors
quick.py      PutObject and UploadPart at a third of the cost of boto3
exchange.py   one PUT and its answer, on connections of our own
content.py    what we know of the bytes we sent, and whether an object is those
faults.py     every S3 and botocore error, translated in one place
probe.py      what `check` finds out
client.py     the boto3 client
"""

from archiver.adapters.object_store.client import s3_client
from archiver.adapters.object_store.store import S3Store

__all__ = ["S3Store", "s3_client"]
