"""A measuring ground on loopback whose own work is small: an origin and an API (nginx), and a sink for S3.

Needs nginx, gcc and openssl (all from Debian). Every server is a process of its own, so what a client
costs is told apart by `os.wait4` of the client alone.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import tempfile
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

LOOPBACK = "127.0.0.1"
TOOLS = ("nginx", "gcc", "openssl")
BUCKET = "bench"
API_KEY = "benchmark-key"
STEMS = ("vocal", "backing_vocals", "drums", "bass", "guitar", "keyboard", "percussion", "strings", "synth", "fx",
         "brass", "woodwinds")  # fmt: skip
CREDENTIALS = {"AWS_ACCESS_KEY_ID": "measured", "AWS_SECRET_ACCESS_KEY": "measured-measured", "AWS_REGION": "us-east-1"}
_QUIET = {"AWS_EC2_METADATA_DISABLED": "true", "NO_PROXY": "127.0.0.1,localhost", "no_proxy": "127.0.0.1,localhost"}

_CONF = """
worker_processes 1;
daemon off;
pid {folder}/nginx.pid;
error_log {folder}/error.log warn;
events {{ worker_connections 4096; }}
http {{
  access_log off;
  sendfile on;
  sendfile_max_chunk 2m;
  tcp_nopush on;
  keepalive_requests 1000000;
  keepalive_timeout 300s;
  default_type audio/mpeg;
  client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi;
  scgi_temp_path {folder}/scgi;
  open_file_cache max=10000 inactive=600s;
  open_file_cache_valid 600s;
  ssl_certificate {folder}/cert.pem;
  ssl_certificate_key {folder}/key.pem;
  ssl_session_cache shared:tls:4m;
  upstream sink {{ server {host}:{sink}; keepalive 128; }}
  server {{
    listen {host}:{http};
    listen {host}:{https} ssl;
    root {audio};
    location /s/ {{ rewrite ^/s/(\\d+)/[^/]+/(\\w+)\\.mp3$ /$1/$2.mp3 break; }}
    location = /api/v1/vocal-removal/record-info {{
      default_type application/json;
      alias {records}/$arg_taskId.json;
      log_not_found off;
      error_page 404 = @failed;
    }}
    location @failed {{
      default_type application/json;
      return 200 '{{"code":200,"msg":"ok","data":{{"taskId":"$arg_taskId","successFlag":"GENERATE_AUDIO_FAILED"}}}}';
    }}
  }}
  server {{
    listen {host}:{sink_tls} ssl;
    client_max_body_size 0;
    location / {{
      proxy_pass http://sink;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_set_header Host $http_host;
      proxy_request_buffering off;
      proxy_buffering off;
    }}
  }}
}}
"""


@dataclass(frozen=True, slots=True)
class Ground:
    """Where everything is. `tls` addresses are served with a certificate of our own, `ca`."""

    folder: Path
    origin: str
    origin_tls: str
    api: str
    sink: str
    sink_tls: str
    ca: Path
    audio: Path
    records: Path

    def env(self) -> dict[str, str]:
        """Environment of a client: credentials, no proxy, and our certificate as the only one trusted."""
        kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
        return kept | CREDENTIALS | _QUIET | {"SSL_CERT_FILE": str(self.ca), "AWS_CA_BUNDLE": str(self.ca)}

    def sounds(self, size: int, stems: Sequence[str] = STEMS) -> None:
        """Make one sound of `size` bytes for each stem, unless they are there."""
        folder = self.audio / str(size)
        folder.mkdir(exist_ok=True)
        frame = b"\xff\xfb\x90\x00" + bytes(32)
        for stem in stems:
            if (folder / f"{stem}.mp3").exists():
                continue
            noise = os.urandom(381 * 32)
            block = b"".join(frame + noise[at : at + 381] for at in range(0, len(noise), 381))
            # Bit by bit: what this process takes would count as the peak of those that it starts.
            with (folder / f"{stem}.mp3").open("wb") as file:
                for at in range(0, size, len(block)):
                    file.write(block[: size - at])

    def tasks(self, stems: int, size: int, *, tls: bool = False, each: int = len(STEMS)) -> list[str]:
        """Let the API know tasks with so many stems in all, each of `size` bytes; return their ids."""
        self.sounds(size, STEMS[: min(each, stems)])
        ids = [uuid.uuid4().hex for _ in range(-(-stems // each))]
        for number, task_id in enumerate(ids):
            names = STEMS[: min(each, stems - number * each)]
            urls = {name: self.url(size, task_id, name, tls=tls) for name in names}
            (self.records / f"{task_id}.json").write_text(json.dumps(_record(task_id, urls)))
        return ids

    def url(self, size: int, task_id: str, stem: str, *, tls: bool) -> str:
        """Return where a stem is."""
        return f"{self.origin_tls if tls else self.origin}/s/{size}/{task_id}/{stem}.mp3"


def _record(task_id: str, urls: Mapping[str, str]) -> dict[str, object]:
    now = int(time.time() * 1000)
    fields = {"".join([first, *map(str.capitalize, more), "Url"]): urls[name]
              for name in urls for first, *more in [name.split("_")]}  # fmt: skip
    data = {
        "taskId": task_id,
        "successFlag": "SUCCESS",
        "createTime": now - 60_000,
        "completeTime": now,
        "response": fields,
        "errorCode": None,
        "errorMessage": None,
    }
    return {"code": 200, "msg": "success", "data": data}


def missing_tools(more: Sequence[str] = ()) -> list[str]:
    """Return which of the tools are not on PATH."""
    return [tool for tool in (*TOOLS, *more) if shutil.which(tool) is None]


@contextmanager
def ground(folder: Path, host: str = LOOPBACK) -> Iterator[Ground]:
    """Start the servers at an address of this machine, and end them; raises SystemExit where a tool is missing."""
    if missing := missing_tools():
        raise SystemExit(f"skipped: needs {', '.join(missing)} on PATH (Debian: apt-get install nginx gcc openssl)")
    http, https, sink, sink_tls = free_ports(4)
    for name in ("audio", "records"):
        (folder / name).mkdir()
    folder.chmod(0o755)
    _run(folder, "gcc", "-O2", "-o", "sink", str(Path(__file__).with_name("sink.c")))
    _run(folder, "openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "key.pem", "-out", "cert.pem",
         "-days", "30", "-subj", "/CN=localhost", "-addext", f"subjectAltName=DNS:localhost,IP:{host}")  # fmt: skip
    name = "localhost" if host == LOOPBACK else host
    made = Ground(
        folder=folder,
        origin=f"http://{host}:{http}",
        origin_tls=f"https://{name}:{https}",
        # Only on loopback may the key travel in the clear.
        api=f"http://{host}:{http}" if host == LOOPBACK else f"https://{name}:{https}",
        sink=f"http://{host}:{sink}",
        sink_tls=f"https://{name}:{sink_tls}",
        ca=folder / "cert.pem",
        audio=folder / "audio",
        records=folder / "records",
    )
    ports = {"http": http, "https": https, "sink": sink, "sink_tls": sink_tls}
    (folder / "nginx.conf").write_text(
        _CONF.format(folder=folder, host=host, audio=made.audio, records=made.records, **ports)
    )
    user = ("-g", "user root;") if os.geteuid() == 0 else ()
    with ExitStack() as stack:
        stack.enter_context(server([str(folder / "sink"), str(sink), host], sink, host))
        stack.enter_context(server(["nginx", "-c", str(folder / "nginx.conf"), "-p", str(folder), *user], http, host))
        yield made


@contextmanager
def memory_folder() -> Iterator[Path]:
    """Yield a temporary folder, in memory where the system has such a place: disks are not what is measured."""
    shared = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=shared if shared.is_dir() else None) as name:
        yield Path(name)


def _run(folder: Path, *command: str) -> None:
    subprocess.run(command, cwd=folder, check=True, capture_output=True)


@contextmanager
def server(command: Sequence[str], port: int, host: str = LOOPBACK) -> Iterator[None]:
    """Start a server and wait until it listens, and end it."""
    process = subprocess.Popen(command)
    try:
        while process.poll() is None and not _listens(host, port):
            time.sleep(0.02)
        if process.poll() is not None:
            raise SystemExit(f"{command[0]} did not start")
        yield
    finally:
        process.terminate()
        process.wait()


def _listens(host: str, port: int) -> bool:
    with closing(socket.socket()) as probe:
        return probe.connect_ex((host, port)) == 0


def free_ports(count: int) -> list[int]:
    with ExitStack() as stack:
        sockets = [stack.enter_context(closing(socket.socket())) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]
