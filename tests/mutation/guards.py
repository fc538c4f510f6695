"""Guards, each taken away or widened once, and the tests that must notice; `tests/unit/test_guards.py` tries them.

A row changes one place: `old`, found once in the file, becomes `new`. The threat is a heading of SECURITY.md, or one of
`ELSEWHERE` for what stands in no threat's section.
"""

from __future__ import annotations

from typing import NamedTuple


class Guard(NamedTuple):
    """A guard, and what becomes of it."""

    threat: str
    """How its heading begins."""
    file: str
    old: str
    new: str
    tests: str
    """Of which one must fail, blanks between them; each by its path, with `::` and its name where it has one."""

    @property
    def name(self) -> str:
        """The row's name in a run: the file, and what it loses."""
        return f"{self.file}: {' '.join(self.old.split())[:60]}"


ELSEWHERE = ("Alerts", "Isolation")
"""What guards against no stranger, so has no section: that people hear, and that one bad thing stops only itself."""

_DIAL = "tests/unit/adapters/downloader/test_address.py"
_FILES = "tests/unit/deploy/test_container_files.py"
_UNITS = "tests/unit/deploy/test_systemd_units.py"
_POLICY = "tests/integration/test_bucket_policy.py"
_SETTINGS = "tests/unit/settings/test_settings.py"
_EXCHANGE = "tests/integration/provider/test_exchange.py"
_BOUNDS = "tests/unit/adapters/http1/test_bounds.py"
_PAGES = "tests/integration/test_pages.py"
_CALLBACKS = "tests/integration/test_callbacks.py"
_MESSAGES = "tests/unit/web/test_messages.py"
_SAFETY = "tests/unit/web/page/test_safety.py"
_RETRIEVAL = "tests/unit/preservation/test_retrieval.py"
_CLIENT = "tests/integration/downloader/test_client.py"
_FAULTS = "tests/integration/downloader/test_faults.py"
_ALERTS = "tests/unit/deploy/test_alerts.py"
_RECORDS = "tests/unit/core/records"
_LEASES = "tests/contracts/test_ledger_leases.py"

_SSRF = "A record's URL leads into the local network"
_REDIRECT = "The same by redirect"
_KEY_GOES = "The API key reaches another host"
_LOGGED = "A secret in logs"
_SHOWN = "A secret in faults"
_KEPT = "A secret of a URL or record"
_KEY_FILE = "A key that others on the machine can read"
_OUR_FILES = "Files of ours that others"
_ESCAPES = "Terminal escapes"
_METRICS = "Whoever can reach the metrics"
_QUEUE = "A hostile queue file"
_ANSWER = "A hostile answer of the API"
_WRONG = "Wrong audio called right"
_ENDLESS = "A body without end"
_FREEZE = "Bytes that freeze the service"
_NAMES = "Traversal or header injection"
_STANDING = "An object already under the key"
_STOLEN = "Stolen credentials of the store"
_BREAK_IN = "A break-in by way of the service"
_SLEEPER = "A process that slept past its lease"
_TWO = "Two processes on one ledger"
_SERVER = "A server that is restarted"
_WORKER = "A worker is killed"
_LEDGER = "A foreign, newer, damaged"
_CALLED = "A callback that is forged"
_FLOOD = "A flood of connections"
_SLOW_HEAD = "A request that is made to take long"
_LOG = "A log that is flooded"
_POWER = "The power fails"
_PACKAGE = "A tampered package"
_BUCKET = "A manifest, a listing or a file name"
_WEB = "A web page, or a neighbour"
_CODE = "Bytes of strangers that come to run"

GUARDS = (
    # --- addresses
    Guard(_SSRF, "archiver/adapters/downloader/address.py", '        "198.18.0.0/15",\n', "", _DIAL),
    Guard(_SSRF, "archiver/adapters/downloader/address.py", '"172.16.0.0/12"', '"172.16.0.0/13"', _DIAL),
    Guard(_SSRF, "archiver/adapters/downloader/address.py", '"2002::/16"', '"2002::/17"', _DIAL),
    Guard(
        _SSRF,
        "archiver/adapters/downloader/address.py",
        '{"https", "http"} if reach.allow_http',
        '{"https", "http"} if True',
        _DIAL,
    ),
    Guard(_SSRF, "archiver/adapters/downloader/address.py", "if url.has_userinfo:", "if False:", _DIAL),
    Guard(
        _SSRF,
        "archiver/adapters/downloader/address.py",
        "if ip.scope_id is not None or ip not in",
        "if ip not in",
        _DIAL,
    ),
    Guard(
        _SSRF,
        "archiver/adapters/downloader/address.py",
        'name.endswith(f".{allowed}")',
        "name.endswith(allowed)",
        _DIAL,
    ),
    Guard(
        _SSRF,
        "archiver/adapters/downloader/dialer.py",
        "self._guard.addresses(host, port)",
        "self._resolve(host, port)",
        "tests/faults/test_ssrf.py",
    ),
    Guard(_REDIRECT, "archiver/adapters/downloader/client.py", "REDIRECTS_MAX = 5", "REDIRECTS_MAX = 6", _CLIENT),
    # --- secrets
    Guard(
        _KEY_GOES, "archiver/adapters/provider/wire.py", "follow_redirects=False", "follow_redirects=True", _EXCHANGE
    ),
    Guard(
        _KEY_GOES,
        "archiver/adapters/provider/wire.py",
        'if url.scheme == "http" and not endpoint.allow_http:',
        "if False:",
        "tests/integration/provider",
    ),
    Guard(
        _KEY_GOES,
        "archiver/app/tunables.py",
        "if new.provider.base_url != parts.settings.provider.base_url:",
        "if False:",
        "tests/acceptance/test_rotation.py::test_key_of_another_provider_is_not_sent_to_the_one_of_before",
    ),
    Guard(_KEPT, "archiver/adapters/provider/wire.py", 'body.replace(key.encode(), b"***")', "body", _EXCHANGE),
    Guard(
        _LOGGED,
        "archiver/core/redaction.py",
        "SHORTEST_SECRET = 4",
        "SHORTEST_SECRET = 5",
        "tests/property/test_redaction.py tests/unit/test_logs.py",
    ),
    Guard(
        _LOGGED,
        "archiver/core/redaction.py",
        "LONGEST = 2_000",
        "LONGEST = 20_000",
        "tests/property/test_redaction.py tests/unit/test_logs.py",
    ),
    Guard(
        _LOGGED,
        "archiver/core/redaction.py",
        "yield json.dumps(secret)[1:-1]",
        "pass",
        "tests/property/test_redaction.py",
    ),
    Guard(
        _LOGGED,
        "archiver/core/text.py",
        "{authority.rpartition('@')[2]}",
        "{authority}",
        "tests/property/test_redaction.py tests/unit/core/test_text.py",
    ),
    Guard(
        _SHOWN, "archiver/settings/shown.py", 'netloc = f"{name}:***@{host}"', 'netloc = f"{user}@{host}"', _SETTINGS
    ),
    Guard(_SHOWN, "archiver/settings/shown.py", r"(?<=[?&])(\w*password=)", r"(?<=[?])(\w*password=)", _SETTINGS),
    Guard(
        _KEPT,
        "archiver/core/records/document.py",
        'return " ".join(map(shown_url, addresses_in(text)))',
        "return text",
        _RECORDS,
    ),
    Guard(_KEPT, "archiver/core/records/document.py", "_MAX_DEPTH: Final = 64", "_MAX_DEPTH: Final = 640", _RECORDS),
    Guard(
        _KEPT,
        "archiver/core/records/document.py",
        "_LONGEST_INT: Final = 4096",
        "_LONGEST_INT: Final = 40960",
        _RECORDS,
    ),
    Guard(
        _KEY_FILE,
        "archiver/settings/key_file.py",
        "OTHERS = stat.S_IRWXG | stat.S_IRWXO",
        "OTHERS = stat.S_IRWXO",
        _SETTINGS,
    ),
    Guard(
        _KEY_FILE,
        "archiver/settings/key_file.py",
        "OTHERS = stat.S_IRWXG | stat.S_IRWXO",
        "OTHERS = stat.S_IRWXG",
        _SETTINGS,
    ),
    Guard(_KEY_FILE, "archiver/settings/key_file.py", "_LONGEST = 4096", "_LONGEST = 40960", _SETTINGS),
    Guard(
        _OUR_FILES,
        "archiver/adapters/ledger/database/sqlite.py",
        "os.O_WRONLY | os.O_CLOEXEC, 0o600)",
        "os.O_WRONLY | os.O_CLOEXEC, 0o640)",
        "tests/integration/ledger/test_file.py::test_a_new_ledger_is_private_whatever_the_umask",
    ),
    Guard(
        _OUR_FILES,
        "archiver/adapters/queue_file/writing.py",
        "flags | os.O_CREAT | os.O_EXCL, 0o600",
        "flags | os.O_CREAT | os.O_EXCL, 0o644",
        "tests/integration/test_queue_file.py tests/faults/test_secrets_on_the_wire.py",
    ),
    Guard(
        _OUR_FILES,
        "archiver/adapters/ownership.py",
        "mode=0o700",
        "mode=0o755",
        "tests/integration/ledger/test_file.py tests/faults/test_secrets_on_the_wire.py",
    ),
    # --- what is shown
    Guard(
        _ESCAPES,
        "archiver/core/text.py",
        r"\u202a-\u202e\u2060-\u206f",
        r"\u2060-\u206f",
        "tests/unit/core/test_text.py tests/unit/core/test_hiding.py",
    ),
    Guard(_ESCAPES, "archiver/core/text.py", "MAX_TEXT: Final = 500", "MAX_TEXT: Final = 501", "tests/unit/core"),
    Guard(
        _ESCAPES,
        "archiver/core/text.py",
        "MOST_MARKS: Final = 2",
        "MOST_MARKS: Final = 3",
        "tests/unit/core/test_hiding.py tests/unit/core/test_text.py tests/unit/commands/test_printing.py",
    ),
    # --- the queue file
    Guard(
        _QUEUE,
        "archiver/adapters/queue_file/lines.py",
        "line: int = 64 << 10",
        "line: int = 65 << 10",
        "tests/integration/test_queue_file.py",
    ),
    Guard(
        _QUEUE,
        "archiver/adapters/queue_file/lines.py",
        "chunk: int = 1 << 20",
        "chunk: int = (1 << 20) + 1",
        "tests/integration/test_queue_file.py",
    ),
    Guard(
        _QUEUE,
        "archiver/adapters/queue_file/lines.py",
        "results: int = 5_000",
        "results: int = 5_001",
        "tests/integration/test_queue_file.py",
    ),
    Guard(
        _QUEUE,
        "archiver/adapters/queue_file/lines.py",
        "JSON_LINES = 1_000",
        "JSON_LINES = 1_001",
        "tests/integration/test_queue_file.py tests/unit/core/test_queue_lines.py",
    ),
    Guard(
        _QUEUE,
        "archiver/adapters/queue_file/place.py",
        "SIBLINGS_MAX = 1_000",
        "SIBLINGS_MAX = 1_001",
        "tests/integration/test_queue_file.py",
    ),
    # --- the provider's answers
    Guard(
        _ANSWER,
        "archiver/core/records/envelope.py",
        "MAX_ANSWER: Final = 1 << 20",
        "MAX_ANSWER: Final = 1 << 24",
        f"{_EXCHANGE} tests/unit/core/records",
    ),
    Guard(
        _ANSWER,
        "archiver/core/text.py",
        "MAX_URL: Final = 16384",
        "MAX_URL: Final = 16385",
        f"tests/unit/core/test_text.py {_RECORDS}",
    ),
    Guard(_ANSWER, "archiver/core/records/names.py", "MAX_NAME: Final = 64", "MAX_NAME: Final = 65", _RECORDS),
    Guard(_ANSWER, "archiver/core/records/items.py", "MAX_STEMS: Final = 200", "MAX_STEMS: Final = 201", _RECORDS),
    Guard(
        _ANSWER,
        "archiver/adapters/provider/wire.py",
        "unpack.decompress(piece, most + 1 - len(body))",
        "unpack.decompress(piece)",
        _EXCHANGE,
    ),
    Guard(
        _ANSWER,
        "archiver/adapters/provider/wire.py",
        "if packed and received and not unpack.eof:",
        "if False:",
        _EXCHANGE,
    ),
    Guard(
        _ANSWER,
        "archiver/adapters/provider/client.py",
        "LONGEST_COOL_DOWN = 300.0",
        "LONGEST_COOL_DOWN = 301.0",
        "tests/integration/provider tests/unit/adapters/provider",
    ),
    Guard(
        _ANSWER,
        "archiver/core/http.py",
        "LONGEST = 366 * 24 * 3600.0",
        "LONGEST = 3660 * 24 * 3600.0",
        "tests/unit/core/test_http.py",
    ),
    Guard(
        _ANSWER,
        "archiver/core/http.py",
        "_CODINGS_MOST = 64",
        "_CODINGS_MOST = 65",
        "tests/unit/core/test_http.py",
    ),
    Guard(
        _ANSWER,
        "archiver/core/http.py",
        "_LONGEST_DATE = 100",
        "_LONGEST_DATE = 101",
        "tests/unit/core/test_http.py",
    ),
    Guard(
        _ANSWER,
        "archiver/core/records/blemished.py",
        "_LONGEST_NUMBER: Final = 4000",
        "_LONGEST_NUMBER: Final = 4001",
        "tests/unit/core/records/test_blemished.py",
    ),
    Guard(
        _ANSWER,
        "archiver/core/records/fields.py",
        "_LARGEST_CODE: Final = 1_000_000",
        "_LARGEST_CODE: Final = 1_000_001",
        "tests/unit/core/records/test_fields.py",
    ),
    Guard(
        _ANSWER,
        "archiver/core/records/fields.py",
        "_LARGEST_ID: Final = 1 << 64",
        "_LARGEST_ID: Final = 1 << 65",
        "tests/unit/core/records/test_fields.py",
    ),
    Guard(
        _ANSWER,
        "archiver/core/records/fields.py",
        "_LONGEST_TIME: Final = 40",
        "_LONGEST_TIME: Final = 41",
        "tests/unit/core/records/test_fields.py",
    ),
    Guard(
        _ANSWER,
        "archiver/core/records/fields.py",
        "_DEEPEST: Final = 5",
        "_DEEPEST: Final = 6",
        "tests/unit/core/records/test_fields.py",
    ),
    Guard(
        _ANSWER,
        "archiver/core/records/others.py",
        "\nMOST: Final = 1000",
        "\nMOST: Final = 1001",
        "tests/unit/core/records/test_separation.py",
    ),
    Guard(
        _LOGGED,
        "archiver/core/redaction.py",
        "_DEEPEST = 8",
        "_DEEPEST = 9",
        "tests/property/test_redaction.py",
    ),
    # --- audio
    Guard(
        _WRONG,
        "archiver/adapters/http1/body.py",
        'raise httpx.ReadError(f"the connection was closed {self._left} bytes early")',
        "self._left = 0",
        f"tests/unit/adapters/http1 {_FAULTS}",
    ),
    Guard(
        _WRONG,
        "archiver/adapters/object_store/content.py",
        'if "ContentLength" in answer and answer["ContentLength"] != self.size:',
        "if False:",
        "tests/unit/adapters/object_store tests/contracts/test_object_store.py",
    ),
    Guard(
        _WRONG,
        "archiver/adapters/object_store/content.py",
        "return sha256 == self.sha256_header",
        "return True",
        "tests/unit/adapters/object_store tests/contracts/test_object_store.py",
    ),
    Guard(_ENDLESS, "archiver/adapters/http1/head.py", "size: int = 64 * 1024", "size: int = 64 * 1024 + 1", _BOUNDS),
    Guard(
        _ENDLESS, "archiver/adapters/http1/head.py", "lines: int = 256", "lines: int = 257", "tests/unit/adapters/http1"
    ),
    Guard(
        _ENDLESS, "archiver/adapters/http1/head.py", "interim: int = 7", "interim: int = 8", "tests/unit/adapters/http1"
    ),
    Guard(
        _ENDLESS,
        "archiver/adapters/http1/head.py",
        "_TOKENS_MAX = 64",
        "_TOKENS_MAX = 65",
        "tests/unit/adapters/http1",
    ),
    Guard(_ENDLESS, "archiver/adapters/http1/body.py", "EXTRAS_MAX = 16 * 1024", "EXTRAS_MAX = 16 * 1024 + 1", _BOUNDS),
    Guard(
        _ENDLESS,
        "archiver/adapters/http1/body.py",
        "TRAILERS_MAX = 256",
        "TRAILERS_MAX = 257",
        "tests/unit/adapters/http1",
    ),
    Guard(
        _ENDLESS,
        "archiver/adapters/http1/race.py",
        "ADDRESSES_MAX = 32",
        "ADDRESSES_MAX = 33",
        "tests/unit/adapters/http1",
    ),
    Guard(
        _ENDLESS,
        "archiver/adapters/downloader/body.py",
        "FRAMING_FREE = 16 * 1024",
        "FRAMING_FREE = 16 * 1024 * 1024",
        _FAULTS,
    ),
    Guard(_ENDLESS, "archiver/adapters/downloader/body.py", "RESUMES = 5", "RESUMES = 6", f"{_FAULTS} {_CLIENT}"),
    Guard(
        _ENDLESS,
        "archiver/adapters/object_store/exchange.py",
        "HEAD_MAX = 128 * 1024",
        "HEAD_MAX = 129 * 1024",
        "tests/integration/object_store/test_exchange.py",
    ),
    Guard(
        _ENDLESS,
        "archiver/adapters/object_store/exchange.py",
        "BODY_MAX = 64 * 1024",
        "BODY_MAX = 64 * 1024 + 1",
        "tests/integration/object_store/test_exchange.py",
    ),
    Guard(
        _ENDLESS,
        "archiver/adapters/object_store/reading.py",
        "_ERROR_MAX = 16 * 1024",
        "_ERROR_MAX = 16 * 1024 + 1",
        "tests/integration/object_store/test_reading.py",
    ),
    Guard(
        _FREEZE,
        "archiver/core/text.py",
        r'_BLANK = re.compile(r"[\s\u2028\u2029]+")',
        r'_BLANK = re.compile(r"[\s\u2028\u2029]+(?=\S)")',
        "tests/unit/test_growth.py",
    ),
    # --- names and what stands under them
    Guard(_NAMES, "archiver/core/records/names.py", 'r"[^A-Za-z0-9_-]"', 'r"[^A-Za-z0-9/._-]"', _RECORDS),
    Guard(
        _STANDING,
        "archiver/adapters/object_store/reconcile.py",
        '{"IfNoneMatch": "*"}',
        "{}",
        "tests/contracts/test_object_store.py",
    ),
    # --- the bucket's policy
    Guard(
        _STOLEN,
        "deploy/aws/iam-policy.json",
        '"s3:PutObject", ',
        '"s3:PutObject", "s3:DeleteObject", ',
        f"{_POLICY}::test_policy_gives_no_right_to_delete_or_to_look_elsewhere",
    ),
    Guard(
        _STOLEN,
        "deploy/aws/iam-policy.json",
        "${bucket}/${prefix}*",
        "${bucket}/*",
        f"{_POLICY}::test_policy_gives_no_right_to_delete_or_to_look_elsewhere",
    ),
    Guard(
        _STOLEN, "deploy/aws/iam-policy.json", '"s3:ListBucket", ', '"s3:ListBucket", "s3:PutBucketPolicy", ', _POLICY
    ),
    Guard(_STOLEN, "deploy/aws/bucket-policy.json", '"false"', '"true"', _POLICY),
    Guard(
        _STOLEN,
        "deploy/aws/public-access-block.json",
        '"RestrictPublicBuckets": true',
        '"RestrictPublicBuckets": false',
        _POLICY,
    ),
    Guard(_STOLEN, "deploy/aws/versioning.json", '"Enabled"', '"Suspended"', _POLICY),
    Guard(_STOLEN, "deploy/aws/lifecycle.json", '"DaysAfterInitiation": 2', '"DaysAfterInitiation": 0', _POLICY),
    Guard(
        _STOLEN, "deploy/aws/lifecycle.json", '"Expiration": { "Days": 14 },', '"Expiration": { "Days": 1 },', _POLICY
    ),
    # --- containers
    Guard(_BREAK_IN, "deploy/kubernetes/networkpolicy.yaml", "              - 172.16.0.0/12\n", "", _FILES),
    Guard(_BREAK_IN, "deploy/kubernetes/networkpolicy.yaml", "              - fe80::/10\n", "", _FILES),
    Guard(
        _BREAK_IN,
        "deploy/kubernetes/networkpolicy.yaml",
        "kubernetes.io/metadata.name: monitoring",
        "kubernetes.io/metadata.name: default",
        _FILES,
    ),
    Guard(
        _BREAK_IN,
        "deploy/kubernetes/networkpolicy.yaml",
        "            matchLabels:\n              kubernetes.io/metadata.name: monitoring\n",
        "            {}\n",
        _FILES,
    ),
    Guard(
        _BREAK_IN, "deploy/kubernetes/networkpolicy.yaml", "port: 9464", "port: 9464\n          endPort: 65535", _FILES
    ),
    Guard(
        _BREAK_IN,
        "deploy/kubernetes/networkpolicy.yaml",
        "kubernetes.io/metadata.name: kube-system",
        "kubernetes.io/metadata.name: default",
        _FILES,
    ),
    Guard(
        _BREAK_IN, "deploy/kubernetes/networkpolicy.yaml", "port: 443", "port: 443\n          endPort: 65535", _FILES
    ),
    Guard(
        _BREAK_IN,
        "deploy/kubernetes/statefulset.yaml",
        "automountServiceAccountToken: false",
        "automountServiceAccountToken: true",
        _FILES,
    ),
    Guard(
        _BREAK_IN,
        "deploy/kubernetes/statefulset.yaml",
        "readOnlyRootFilesystem: true",
        "readOnlyRootFilesystem: false",
        _FILES,
    ),
    Guard(_BREAK_IN, "deploy/kubernetes/statefulset.yaml", "drop: [ALL]", "drop: [NET_RAW]", _FILES),
    Guard(
        _BREAK_IN,
        "deploy/kubernetes/statefulset.yaml",
        "              memory: 512Mi",
        "              memory: 512Gi",
        _FILES,
    ),
    Guard(
        _BREAK_IN,
        "deploy/kubernetes/statefulset.yaml",
        "fsGroupChangePolicy: OnRootMismatch",
        "fsGroupChangePolicy: Always",
        _FILES,
    ),
    Guard(_BREAK_IN, "deploy/compose.yaml", "read_only: true", "read_only: false", _FILES),
    Guard(_BREAK_IN, "deploy/compose.yaml", '"127.0.0.1:9090:9090"', '"9090:9090"', _FILES),
    Guard(_BREAK_IN, "deploy/compose.yaml", "mem_limit: 512m", "mem_limit: 512g", _FILES),
    Guard(_BREAK_IN, "deploy/compose.yaml", "options: {max-size: 50m", "options: {max-size: 50g", _FILES),
    Guard(_BREAK_IN, "deploy/compose.cluster.yaml", "cap_drop: [ALL]", "cap_drop: []", _FILES),
    Guard(_BREAK_IN, "Dockerfile", "USER 10001:10001", "USER root", _FILES),
    Guard(_BREAK_IN, "Dockerfile", "os.mkdir(d, 0o700)", "os.mkdir(d, 0o777)", _FILES),
    Guard(_PACKAGE, "Dockerfile", " --require-hashes", "", _FILES),
    Guard(_PACKAGE, "Dockerfile", "--only-binary :all: ", "", f"{_FILES} tests/unit/deploy/test_supply.py"),
    Guard(
        _PACKAGE,
        "deploy/setup.sh",
        "--no-input --no-deps --require-hashes",
        "--no-input --no-deps",
        "tests/acceptance/test_scripts.py::test_requirement_without_a_hash_is_not_installed",
    ),
    # --- systemd
    *(
        Guard(_CODE, "deploy/systemd/stem-archiver.service", f"{line}\n", "", _UNITS)
        for line in (
            "ProtectSystem=strict",
            "ProtectHome=yes",
            "MemoryDenyWriteExecute=yes",
            "NoNewPrivileges=yes",
            "CapabilityBoundingSet=",
            "PrivateUsers=yes",
            "SystemCallFilter=~@privileged @resources",
            "RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX",
            "UMask=0077",
            "LimitCORE=0",
            "WatchdogSec=1min",
            "StartLimitIntervalSec=0",
            "RestartPreventExitStatus=2",
            "StateDirectoryMode=0700",
        )
    ),
    # --- leases and databases
    Guard(
        _SLEEPER,
        "archiver/adapters/ledger/moves.py",
        'tasks.c.task_id == bindparam("its_task"), tasks.c.token == bindparam("its_token")',
        'tasks.c.task_id == bindparam("its_task")',
        _LEASES,
    ),
    Guard(
        _TWO,
        "archiver/adapters/owners.py",
        "            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)\n",
        "            pass\n",
        "tests/integration/test_owners.py",
    ),
    Guard(
        _WORKER,
        "archiver/adapters/ledger/moves.py",
        'tasks.c.token == bindparam("its_token")',
        'tasks.c.token >= bindparam("its_token")',
        _LEASES,
    ),
    Guard(
        _SERVER,
        "archiver/adapters/ledger/database/postgres.py",
        "('idle_in_transaction_session_timeout', '10s')",
        "('idle_in_transaction_session_timeout', '0')",
        "tests/integration/ledger/test_server.py",
    ),
    Guard(
        _SERVER,
        "archiver/adapters/ledger/database/postgres.py",
        "nullif(current_setting('synchronous_commit'), 'off')",
        "current_setting('synchronous_commit')",
        "tests/integration/ledger/test_server.py",
    ),
    Guard(
        _LEDGER,
        "archiver/adapters/ledger/database/sqlite.py",
        "if identity(self._path) != self._identity:",
        "if False:",
        "tests/integration/ledger/test_file.py",
    ),
    Guard(
        _POWER,
        "archiver/adapters/ledger/database/sqlite.py",
        'cursor.execute("PRAGMA synchronous = FULL")',
        'cursor.execute("PRAGMA synchronous = NORMAL")',
        "tests/integration/ledger/test_file.py::test_connection_is_synced_and_checked",
    ),
    Guard(
        _POWER,
        "archiver/adapters/ledger/database/sqlite.py",
        "{'NORMAL' if passing else 'FULL'}",
        "NORMAL",
        "tests/integration/ledger/test_file.py::test_only_leases_are_not_waited_for_until_they_are_on_the_disk",
    ),
    Guard(
        _POWER,
        "archiver/adapters/queue_file/writing.py",
        "            _append_line(handle, line.encode())\n        os.fsync(handle)",
        "            _append_line(handle, line.encode())",
        "tests/acceptance/test_two_processes.py::test_append_returns_only_when_lines_and_a_new_files_name_are_on_the_disk",
    ),
    # --- callbacks, floods
    Guard(
        _CALLED,
        "archiver/core/callback.py",
        "WINDOW = timedelta(minutes=5)",
        "WINDOW = timedelta(minutes=5, seconds=1)",
        f"tests/unit/core/test_callback.py {_CALLBACKS}",
    ),
    Guard(
        _CALLED,
        "archiver/core/callback.py",
        "return signed and abs(",
        "return abs(",
        "tests/unit/core/test_callback.py",
    ),
    Guard(
        _CALLED,
        "archiver/core/callback.py",
        "if not key or not _TIMESTAMP",
        "if not _TIMESTAMP",
        "tests/unit/core/test_callback.py",
    ),
    Guard(_CALLED, "archiver/web/callbacks.py", "<= 2 * WINDOW", "<= WINDOW", _CALLBACKS),
    Guard(
        _CALLED, "archiver/web/messages.py", "BODY_MAX = 64 << 10", "BODY_MAX = 1 << 20", f"{_CALLBACKS} {_MESSAGES}"
    ),
    Guard(
        _CALLED,
        "archiver/service/wakeups.py",
        "_CALLS_MAX = 10_000",
        "_CALLS_MAX = 10_001",
        "tests/integration/test_wakeups.py",
    ),
    Guard(
        _CALLED,
        "archiver/service/wakeups.py",
        "_AGAIN = (timedelta(seconds=10)",
        "_AGAIN = (timedelta(seconds=9)",
        "tests/integration/test_wakeups.py",
    ),
    Guard(
        _METRICS,
        "archiver/web/listener.py",
        "head_within: float = 2.0",
        "head_within: float = 4.0",
        f"{_PAGES} {_CALLBACKS}",
    ),
    Guard(
        _CALLED,
        "archiver/web/listener.py",
        "request_within: float = 10.0",
        "request_within: float = 1000.0",
        f"{_PAGES} {_CALLBACKS}",
    ),
    Guard(
        _FLOOD,
        "archiver/web/listener.py",
        "answer_within: float = 10.0",
        "answer_within: float = 1000.0",
        f"{_PAGES} {_CALLBACKS}",
    ),
    Guard(_FLOOD, "archiver/web/listener.py", "waiting: int = 64", "waiting: int = 65", f"{_PAGES} {_CALLBACKS}"),
    Guard(_FLOOD, "archiver/web/listener.py", "answering: int = 64", "answering: int = 65", f"{_PAGES} {_CALLBACKS}"),
    Guard(
        _FLOOD,
        "archiver/app/descriptors.py",
        "for most in (hard, _OPEN_MAX):",
        "for most in (_OPEN_MAX,):",
        "tests/unit/app/test_descriptors.py",
    ),
    Guard(_SLOW_HEAD, "archiver/web/messages.py", "HEAD_MAX = 16 << 10", "HEAD_MAX = 17 << 10", _MESSAGES),
    Guard(_SLOW_HEAD, "archiver/web/messages.py", "FIELDS_MAX = 100", "FIELDS_MAX = 101", f"{_MESSAGES} {_PAGES}"),
    Guard(
        _LOG, "archiver/core/log_budget.py", "ALL = 1_000_000", "ALL = 1_100_000", "tests/unit/core/test_log_budget.py"
    ),
    Guard(
        _LOG,
        "archiver/core/log_budget.py",
        "LIBRARIES = 100_000",
        "LIBRARIES = 400_000",
        "tests/unit/core/test_log_budget.py tests/unit/test_logs.py",
    ),
    Guard(
        _LOG,
        "archiver/core/log_budget.py",
        "_NAMES_MAX = 200",
        "_NAMES_MAX = 201",
        "tests/unit/core/test_log_budget.py tests/unit/test_logs.py",
    ),
    # --- what is read from the bucket
    Guard(
        _BUCKET,
        "archiver/preservation/folder.py",
        "_NEW = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW",
        "_NEW = os.O_RDWR | os.O_CREAT",
        f"{_RETRIEVAL} tests/unit/preservation/test_folder.py",
    ),
    Guard(
        _BUCKET,
        "archiver/preservation/folder.py",
        "_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW",
        "_FOLDER = os.O_RDONLY | os.O_DIRECTORY",
        f"{_RETRIEVAL} tests/unit/preservation/test_folder.py",
    ),
    Guard(
        _BUCKET,
        "archiver/preservation/folder.py",
        "_OLD = os.O_RDONLY | os.O_NOFOLLOW",
        "_OLD = os.O_RDONLY",
        f"{_RETRIEVAL} tests/unit/preservation/test_folder.py",
    ),
    Guard(
        _BUCKET,
        "archiver/core/manifest_bounds.py",
        "LARGEST: Final = 16 << 20",
        "LARGEST: Final = 64 << 20",
        "tests/unit/core/test_manifest_bounds.py tests/unit/core/test_manifest_read.py tests/unit/preservation",
    ),
    Guard(
        _BUCKET,
        "archiver/core/manifest_bounds.py",
        "MOST_STEMS: Final = 20_000",
        "MOST_STEMS: Final = 20_001",
        "tests/unit/core/test_manifest_bounds.py tests/unit/core/test_manifest_read.py",
    ),
    Guard(
        _BUCKET,
        "archiver/core/manifest_bounds.py",
        "MOST_EVENTS: Final = 100_000",
        "MOST_EVENTS: Final = 100_001",
        "tests/unit/core/test_manifest_bounds.py tests/unit/core/test_manifest_read.py",
    ),
    Guard(
        _BUCKET,
        "archiver/core/manifest_bounds.py",
        "MOST_OTHERS: Final = 100_000",
        "MOST_OTHERS: Final = 100_001",
        "tests/unit/core/test_manifest_bounds.py tests/unit/core/test_manifest_read.py",
    ),
    Guard(
        _BUCKET,
        "archiver/core/manifest_fields.py",
        "LONGEST_PATH: Final = 255",
        "LONGEST_PATH: Final = 256",
        "tests/unit/core/test_manifest_read.py tests/unit/preservation/test_wanted.py",
    ),
    Guard(
        _BUCKET,
        "archiver/adapters/object_store/listing.py",
        "PAGE_MAX = 16 * 1024 * 1024",
        "PAGE_MAX = 16 * 1024 * 1024 + 1",
        "tests/unit/adapters/object_store/test_listing.py",
    ),
    Guard(
        _BUCKET,
        "archiver/adapters/object_store/listing.py",
        "DEPTH_MAX = 16",
        "DEPTH_MAX = 17",
        "tests/unit/adapters/object_store/test_listing.py",
    ),
    Guard(
        _BUCKET,
        "archiver/adapters/object_store/listing.py",
        "_DIGITS_MAX = 19",
        "_DIGITS_MAX = 20",
        "tests/unit/adapters/object_store/test_listing.py",
    ),
    Guard(
        _BUCKET,
        "archiver/core/backup.py",
        "LONGEST_LINE = 16 * 1024 * 1024",
        "LONGEST_LINE = 64 * 1024 * 1024",
        "tests/unit/core/test_backup.py tests/unit/preservation/test_backup.py",
    ),
    Guard(
        _BUCKET,
        "archiver/core/manifest_fields.py",
        "_LARGEST_NUMBER: Final = 1 << 53",
        "_LARGEST_NUMBER: Final = (1 << 53) + 1",
        "tests/unit/core/test_manifest_read.py",
    ),
    # --- the page
    Guard(_WEB, "archiver/web/page/safety.py", "if not self._door.hosts.knows(host):", "if False:", _SAFETY),
    Guard(
        _WEB,
        "archiver/web/page/safety.py",
        'fields.get("sec-fetch-site") == "same-origin"\n            and ',
        "",
        _SAFETY,
    ),
    Guard(
        _WEB,
        "archiver/web/page/safety.py",
        'self._door.hosts.is_own(fields.get("origin", ""), host)\n            and ',
        "",
        _SAFETY,
    ),
    Guard(_WEB, "archiver/web/page/safety.py", "secure=True, httponly=True", "secure=True, httponly=False", _SAFETY),
    Guard(
        _WEB,
        "archiver/web/page/safety.py",
        "default-src 'none'; script-src 'self'",
        "default-src 'self'; script-src *",
        _SAFETY,
    ),
    Guard(_WEB, "archiver/web/page/safety.py", "frame-ancestors 'none'; ", "", _SAFETY),
    Guard(_WEB, "archiver/web/page/safety.py", "; require-trusted-types-for 'script'", "", _SAFETY),
    Guard(
        _WEB,
        "archiver/web/page/safety.py",
        "_FIELDS_MAX = 200_000",
        "_FIELDS_MAX = 200_001",
        f"{_SAFETY} tests/unit/web/page",
    ),
    Guard(
        _WEB,
        "archiver/web/page/sessions.py",
        "LASTS = timedelta(hours=12)",
        "LASTS = timedelta(hours=13)",
        f"{_SAFETY} tests/unit/web/page",
    ),
    Guard(_WEB, "archiver/web/page/sessions.py", "_MOST = 64", "_MOST = 65", f"{_SAFETY} tests/unit/web/page"),
    Guard(
        _WEB,
        "archiver/web/page/sessions.py",
        "                self._links.discard(given)\n",
        "                pass\n",
        _SAFETY,
    ),
    Guard(_WEB, "archiver/app/page.py", "_TOKEN_MIN = 16", "_TOKEN_MIN = 15", "tests/integration/test_page.py"),
    Guard(
        _CODE,
        "archiver/core/sound.py",
        "LONGEST_TEXT = 8192",
        "LONGEST_TEXT = 8193",
        "tests/unit/core/test_sound.py",
    ),
    # --- alerts
    Guard(
        "Alerts",
        "deploy/prometheus/alerts.yml",
        'absent(up{job="stem-archiver"})\n        for: 5m',
        'absent(up{job="stem-archiver"})\n        for: 7m',
        _ALERTS,
    ),
    Guard(
        "Alerts",
        "deploy/prometheus/alerts.yml",
        'tasks_needing_person{reason="at_risk"} > 0\n        for: 5m',
        'tasks_needing_person{reason="at_risk"} > 0\n        for: 60m',
        _ALERTS,
    ),
    Guard(
        "Alerts",
        "deploy/prometheus/alerts.yml",
        "abs(stem_archiver_clock_ahead_seconds) > 300",
        "abs(stem_archiver_clock_ahead_seconds) > 301",
        _ALERTS,
    ),
    Guard(
        "Alerts",
        "deploy/prometheus/alerts.yml",
        "abs(stem_archiver_clock_ahead_seconds) > 300",
        "stem_archiver_clock_ahead_seconds > 300",
        _ALERTS,
    ),
    Guard(
        "Alerts",
        "deploy/prometheus/alerts.yml",
        "stem_archiver_oldest_transfer_seconds > 3600",
        "stem_archiver_oldest_transfer_seconds > 3700",
        _ALERTS,
    ),
    Guard(
        "Alerts",
        "deploy/prometheus/alerts.yml",
        "stem_archiver_backup_age_seconds > 86400",
        "stem_archiver_backup_age_seconds > 90000",
        _ALERTS,
    ),
    Guard(
        "Alerts",
        "deploy/prometheus/alerts.yml",
        "last_success_timestamp_seconds > 3600",
        "last_success_timestamp_seconds > 36000",
        _ALERTS,
    ),
    Guard(
        "Alerts",
        "deploy/prometheus/alerts.yml",
        "mismatch|altered|manifest_broken|manifest_differs",
        "mismatch|altered|manifest_broken",
        _ALERTS,
    ),
    Guard(
        "Alerts",
        "deploy/prometheus/alerts.yml",
        "missing|manifest_missing|record_missing",
        "missing|manifest_missing",
        _ALERTS,
    ),
    # --- one bad thing stops only itself
    Guard(
        "Isolation",
        "archiver/core/plan.py",
        "GONE_ANSWERS_TO_LOSE = 3",
        "GONE_ANSWERS_TO_LOSE = 2",
        "tests/unit/core/test_plan.py tests/unit/core/test_plan_tries.py",
    ),
    Guard(
        "Isolation",
        "archiver/core/plan.py",
        "TRIES_TO_REFUSE = 3",
        "TRIES_TO_REFUSE = 2",
        "tests/unit/core/test_plan.py tests/unit/core/test_plan_tries.py tests/unit/pipeline/test_isolation.py",
    ),
    Guard(
        "Isolation",
        "archiver/core/plan.py",
        "TRIES_TO_GIVE_UP = 5",
        "TRIES_TO_GIVE_UP = 4",
        "tests/unit/core/test_plan_tries.py",
    ),
    Guard(
        "Isolation",
        "archiver/core/plan.py",
        "TRIES_OF_ONE = 12",
        "TRIES_OF_ONE = 13",
        "tests/unit/core/test_plan_tries.py",
    ),
    Guard(
        "Isolation",
        "archiver/core/plan.py",
        "DEATHS_TO_QUARANTINE = 2",
        "DEATHS_TO_QUARANTINE = 3",
        "tests/unit/core/test_plan.py tests/unit/pipeline/test_quarantine.py",
    ),
    Guard(
        "Isolation",
        "archiver/core/plan.py",
        "ZONES = timedelta(days=1)",
        "ZONES = timedelta(days=10)",
        "tests/unit/core/test_plan.py tests/unit/core/test_clocks.py",
    ),
    Guard(
        "Isolation",
        "archiver/pipeline/failure_row.py",
        "FAILURES_TO_TRIP = 8",
        "FAILURES_TO_TRIP = 9",
        "tests/unit/pipeline/test_breakers.py tests/unit/pipeline/test_evidence.py",
    ),
    Guard(
        "Isolation",
        "archiver/pipeline/failure_row.py",
        "FEW_TASKS = 3",
        "FEW_TASKS = 2",
        "tests/unit/pipeline/test_breakers.py tests/unit/pipeline/test_isolation.py",
    ),
    Guard(
        "Isolation",
        "archiver/pipeline/breakers.py",
        "HOSTS_KNOWN = 1024",
        "HOSTS_KNOWN = 1025",
        "tests/unit/pipeline/test_breakers.py tests/unit/pipeline/test_isolation.py",
    ),
    Guard(
        "Isolation",
        "archiver/pipeline/fairness.py",
        "HEAD_START = 10",
        "HEAD_START = 1000",
        "tests/unit/pipeline/test_fairness.py",
    ),
    Guard(
        "Isolation",
        "archiver/core/transfer.py",
        "GIVES_WAY = 600.0",
        "GIVES_WAY = 6000.0",
        "tests/unit/core/test_transfer.py tests/unit/pipeline/test_preemption.py",
    ),
    Guard(
        "Isolation",
        "archiver/core/transfer.py",
        "HANGS = 2.0",
        "HANGS = 20.0",
        "tests/unit/core/test_transfer.py tests/unit/service/test_task_watch.py",
    ),
    Guard(
        "Isolation", "archiver/adapters/http1/race.py", "STAGGER = 0.25", "STAGGER = 2.5", "tests/unit/adapters/http1"
    ),
    Guard(
        "Isolation",
        "archiver/adapters/provider/limiter.py",
        "LONGEST_WAIT = 30.0",
        "LONGEST_WAIT = 31.0",
        "tests/unit/adapters/provider tests/integration/provider",
    ),
    Guard(
        "Isolation",
        "archiver/service/housekeeping.py",
        "BUSY_TO_END = 3",
        "BUSY_TO_END = 4",
        "tests/unit/service/test_housekeeping.py",
    ),
    Guard(
        _BUCKET,
        "archiver/core/backup.py",
        "LONGEST_END = 65_535",
        "LONGEST_END = 65_536",
        "tests/unit/core/test_backup.py",
    ),
    Guard(
        _BUCKET,
        "archiver/core/fixity_report.py",
        "LARGEST: Final = 4 << 20",
        "LARGEST: Final = 5 << 20",
        "tests/unit/preservation/test_fixity_reports.py",
    ),
    Guard(
        _BUCKET,
        "archiver/core/fixity_faults.py",
        "KEPT_MOST: Final = 100_000",
        "KEPT_MOST: Final = 100_001",
        "tests/contracts/test_ledger_fixity.py",
    ),
    Guard(
        _ANSWER,
        "archiver/core/records/extractors/results.py",
        "MOST_VALUES: Final = 20_000",
        "MOST_VALUES: Final = 20_001",
        "tests/unit/core/records/test_kinds.py",
    ),
    Guard(
        _ANSWER,
        "archiver/core/records/extractors/results.py",
        "MOST_SEPARATIONS: Final = 50",
        "MOST_SEPARATIONS: Final = 51",
        "tests/unit/core/records/test_kinds.py",
    ),
    Guard(
        _ANSWER,
        "archiver/core/records/separation.py",
        "_MOST_LISTED: Final = 50",
        "_MOST_LISTED: Final = 51",
        "tests/unit/core/records/test_separation.py",
    ),
    Guard(
        _WEB,
        "archiver/web/page/asking.py",
        "_TEXT_MAX = 200",
        "_TEXT_MAX = 201",
        "tests/unit/web/page/test_tasks.py",
    ),
    Guard(
        _WEB,
        "archiver/web/page/operations.py",
        "_MOST_IDS = 20_000",
        "_MOST_IDS = 20_001",
        "tests/integration/test_page_operations.py",
    ),
    Guard(
        _WEB,
        "archiver/web/page/sounding.py",
        "LARGEST = 1 << 30",
        "LARGEST = 1 << 31",
        "tests/unit/web/page/test_bounds.py",
    ),
    Guard(
        _WEB,
        "archiver/web/page/streaming.py",
        "MOST = 24",
        "MOST = 25",
        "tests/unit/web/page/test_bounds.py",
    ),
    Guard(
        _METRICS,
        "archiver/web/health.py",
        "LONGEST_ANSWER = 4096",
        "LONGEST_ANSWER = 4097",
        _PAGES,
    ),
    Guard(
        _LOG,
        "archiver/service/alerts.py",
        "LINES_MAX = 50",
        "LINES_MAX = 51",
        "tests/unit/service/test_alerts.py",
    ),
    Guard(
        _ENDLESS,
        "archiver/adapters/http1/race.py",
        "_LAME_MAX = 1000",
        "_LAME_MAX = 1001",
        "tests/unit/adapters/http1/test_race.py",
    ),
    Guard(
        _FREEZE,
        "archiver/core/text.py",
        "_LONGEST_HOST: Final = 255",
        "_LONGEST_HOST: Final = 256",
        "tests/unit/core/test_text.py",
    ),
    Guard(
        "Isolation",
        "archiver/adapters/ledger/apart.py",
        ", rest=pauses())",
        ")",
        "tests/integration/ledger/test_backups_apart.py",
    ),
    Guard(
        "Isolation",
        "archiver/pipeline/unneeded.py",
        "UNNEEDED = timedelta(minutes=5)",
        "UNNEEDED = timedelta(minutes=6)",
        "tests/unit/pipeline/test_breakers.py",
    ),
    Guard(
        "Isolation",
        "archiver/pipeline/unneeded.py",
        "FORGOTTEN = timedelta(hours=2)",
        "FORGOTTEN = timedelta(hours=3)",
        "tests/unit/pipeline/test_breakers.py",
    ),
)
