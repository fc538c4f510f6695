"""A bucket on loopback whose own work is small: nginx serves objects and listings out of memory, and takes none."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.benchmarks.ground import BUCKET, CREDENTIALS, free_ports, server

PREFIX = "stems"
PAGE = 1000
_CONF = """
worker_processes 1;
daemon off;
pid {folder}/nginx.pid;
error_log {folder}/error.log crit;
events {{ worker_connections 4096; }}
http {{
  access_log off;
  sendfile on;
  tcp_nopush on;
  keepalive_requests 100000000;
  keepalive_timeout 300s;
  open_file_cache max=10000 inactive=600s;
  open_file_cache_valid 600s;
  client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi;
  scgi_temp_path {folder}/scgi;
  map $args $kind {{
    default all;
    ~delimiter=%2F folders;
    ~prefix=[^&]*_archive none;
  }}
  map $args $page {{
    default 0;
    ~continuation-token=(?<token>[0-9]+) $token;
  }}
  map $uri $md5 {{
    default "";
{md5s}
  }}
  server {{
    listen 127.0.0.1:{port};
    root {folder}/objects;
    location = /{bucket} {{ default_type application/xml; root {folder}/pages; rewrite ^ /$kind-$page.xml break; }}
    location / {{ etag off; add_header ETag $md5; default_type audio/mpeg; }}
  }}
}}
"""


@dataclass(frozen=True, slots=True)
class Served:
    """An object of the bucket: the path below the prefix, its bytes in a file, and its MD5 where that is its ETag."""

    path: str
    size: int
    md5: str = ""


@contextmanager
def reading(
    folder: Path, tasks: Sequence[str], objects: Sequence[Served] = ()
) -> Iterator[tuple[str, Mapping[str, str]]]:
    """Serve what stands below `objects_of(folder)`; yield address and environment. `objects` can be listed too."""
    [port] = free_ports(1)
    folder.chmod(0o755)
    (folder / "pages").mkdir()
    (folder / "pages" / "none-0.xml").write_text(_page("", 0, ""))
    folders = [f"<CommonPrefixes><Prefix>{PREFIX}/{task}/</Prefix></CommonPrefixes>" for task in tasks]
    entries = [
        f"<Contents><Key>{PREFIX}/{each.path}</Key><LastModified>2026-03-01T12:00:00.000Z</LastModified>"
        f"<ETag>&quot;{each.md5}&quot;</ETag><Size>{each.size}</Size></Contents>"
        for each in objects
    ]
    for kind, listed in (("folders", folders), ("all", entries)):
        for number, at in enumerate(range(0, len(listed) or 1, PAGE)):
            token = str(number + 1) if at + PAGE < len(listed) else ""
            part = listed[at : at + PAGE]
            (folder / "pages" / f"{kind}-{number}.xml").write_text(_page("".join(part), len(part), token))
    names = {each.path.rpartition("/")[2]: each.md5 for each in objects if each.md5}
    md5s = "\n".join(f"    ~/{name}$ '\"{md5}\"';" for name, md5 in names.items())
    conf = _CONF.format(folder=folder, port=port, bucket=BUCKET, md5s=md5s)
    (folder / "nginx.conf").write_text(conf)
    user = ("-g", "user root;") if os.geteuid() == 0 else ()
    with server(["nginx", "-c", str(folder / "nginx.conf"), "-p", str(folder), *user], port):
        yield f"http://127.0.0.1:{port}", CREDENTIALS


def objects_of(folder: Path) -> Path:
    """Return where the objects stand, those of a task in a folder of its id."""
    return folder / "objects" / BUCKET / PREFIX


def _page(entries: str, count: int, token: str) -> str:
    more = f"<NextContinuationToken>{token}</NextContinuationToken>" if token else ""
    return (
        '<?xml version="1.0" encoding="UTF-8"?><ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
        f"<Name>{BUCKET}</Name><Prefix>{PREFIX}/</Prefix><EncodingType>url</EncodingType>"
        f"<KeyCount>{count}</KeyCount><IsTruncated>{str(bool(token)).lower()}</IsTruncated>{more}{entries}"
        "</ListBucketResult>"
    )


def settings(folder: Path, url: str) -> Path:
    """Write settings for that bucket, and a ledger in `folder`, which is made; return their file."""
    folder.mkdir()
    path = folder / "archiver.toml"
    path.touch(mode=0o600)
    path.write_text(
        f"""
[provider]
api_key = "not-used"
[store]
bucket = "{BUCKET}"
prefix = "{PREFIX}/"
endpoint_url = "{url}"
region = "us-east-1"
addressing_style = "path"
[ledger]
url = "sqlite:///{folder}/ledger.db"
"""
    )
    return path
