"""The proof of what a store can do: everything that guarantees rest on is tried, under keys that are no task's."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from archiver.adapters.object_store.asking import LABELS, PROBE, Asking
from archiver.adapters.object_store.checksums import kind_of
from archiver.adapters.object_store.content import Content
from archiver.adapters.object_store.faults import Conflict, NoETag
from archiver.adapters.object_store.proving_parts import TIMES, NoAbort, Refused, TwoParts, UploadProof
from archiver.core.capabilities import Capabilities, Listing, Multipart
from archiver.core.errors import (
    AccessRefused,
    ArchiverError,
    CredentialsMissing,
    CredentialsRefused,
    StoreCorrupt,
    StoreMisfit,
)
from archiver.core.keys import PROBE_NAME

OTHER = Content.of(b"stem-archiver tried to write over its own object here, and the store let it. It may be deleted.\n")
NO_ETAG = '"00000000000000000000000000000000"'

_LADDER = (Multipart.CRC32, Multipart.CRC64NVME, Multipart.PLAIN)
_NOTHING_BELIEVED = Capabilities(checks_sha256=False, checks_whole=False)


@dataclass(slots=True)
class Prober:
    """One proof. `key` and that of multiparts belong to it, and are the only ones that are ever written over.

    Several processes may prove the same store at once: whatever a right store takes of them is the same.
    """

    asking: Asking
    key: str
    step: str = "write"
    """Subject of what is being tried."""
    refusals: dict[str, str] = field(default_factory=dict)
    """By subject: the store's own words, where it refused what was right."""
    _guarded: bool = False
    """True where a policy denies writes without If-None-Match."""
    _found: dict[str, Any] = field(default_factory=dict)
    """Of the capabilities."""

    def prove(self) -> Capabilities:
        """Try everything; raise StoreBusy, or StorePaused for what is needed of every store."""
        prefix = self.key.removesuffix(PROBE_NAME)
        self._write()
        self._read()
        self._create_only()
        self._checksum()
        self._replacement()
        self._multipart(prefix)
        return Capabilities(**self._found)

    def _write(self) -> None:
        """Put the object; under keys by date where a policy denies writes without If-None-Match."""
        self.step = "write"
        try:
            self.asking.put_small(self.key)
        except (CredentialsMissing, CredentialsRefused):
            raise
        except AccessRefused as refused:
            self.key += f"-{self.asking.clock():%Y%m%d}"
            self._guarded = True
            if isinstance(self._put(self.key, PROBE, IfNoneMatch="*"), AccessRefused):
                raise refused from None

    def _put(self, key: str, content: Content, *, wrong: bool = False, **condition: str) -> ArchiverError | None:
        return self.asking.refusal(lambda: self.asking.calls.put(key, content, LABELS, **condition), wrong=wrong)

    def _read(self) -> None:
        self.step = "read"
        if self.asking.sha256(self.key) != PROBE.sha256:
            raise StoreCorrupt(f"{self.key} reads back as other bytes")
        answer = self.asking.head(self.key)
        etag = str(answer.get("ETag") or "")
        if not etag and answer.get("ContentLength") != PROBE.size:
            raise NoETag("HeadObject: the answer shows no object")
        self._found["names_etag"] = bool(etag)
        self._found["etag_is_md5"] = PROBE.named_by({"ETag": etag}, _NOTHING_BELIEVED) is True
        self._found["names_sha256"] = answer.get("ChecksumSHA256") == PROBE.sha256_header

    def _create_only(self) -> None:
        """Put other bytes over the object; then read, for an answer alone proves nothing."""
        self.step = "create-only"
        refused = self._put(self.key, OTHER, IfNoneMatch="*")
        kept = self.asking.sha256(self.key) != OTHER.sha256
        self._found["create_only"] = kept and isinstance(refused, Conflict)
        if not isinstance(refused, Conflict):
            self._note(refused)
        if not kept:
            self.asking.put_small(self.key)

    def _checksum(self) -> None:
        """Put the same bytes under the SHA-256 of others; where that is taken, see whether it is named."""
        self.step = "checksum"
        wrong = replace(PROBE, sha256=OTHER.sha256)
        key = f"{self.key}-checksum" if self._guarded else self.key
        condition = {"IfNoneMatch": "*"} if self._guarded else {}
        refused = self._put(key, wrong, wrong=True, **condition)
        self._found["checks_sha256"] = isinstance(refused, StoreCorrupt | StoreMisfit)
        if refused is None or isinstance(refused, Conflict):
            self._found["echoes"] = self.asking.head(key).get("ChecksumSHA256") == wrong.sha256_header

    def _replacement(self) -> None:
        """Replace the object under a wrong ETag and under its own, which another process may change meanwhile."""
        self.step = "replacement"
        self._found["replaces"] = False
        if not self._found["names_etag"]:
            return
        refused = self._put(self.key, PROBE, IfMatch=NO_ETAG)
        if not isinstance(refused, Conflict):
            self._note(refused)
            return
        for _ in range(TIMES):
            refused = self._put(self.key, PROBE, IfMatch=self.asking.head(self.key)["ETag"])
            if not isinstance(refused, Conflict):
                break
        self._note(refused)
        self._found["replaces"] = refused is None

    def _multipart(self, prefix: str) -> None:
        """Find the first way in which an upload in parts ends well."""
        self.step = "multipart"
        self._found |= {"multipart": Multipart.NONE, "checks_parts": False, "checks_whole": False}
        self._found["listing"] = Listing.NONE
        body = TwoParts.made()
        for rung in _LADDER:
            kind = kind_of(rung)
            if kind is None and rung is not Multipart.PLAIN:
                continue
            proof = UploadProof(self.asking, self.key, prefix, kind, body)
            try:
                self._found |= self._tried(proof) | {"multipart": rung}
            except Refused as refused:
                self.refusals.setdefault(self.step, str(refused))
                if isinstance(refused, NoAbort):
                    return
            else:
                self.refusals.pop(self.step, None)
                return

    def _tried(self, proof: UploadProof) -> dict[str, Any]:
        """Return what was found of one way; raise Refused."""
        base = proof.key
        try:
            if self._guarded:  # over the object that stands, and then where none does
                proof.aborted()
                proof.over_object()
                proof.close()
                proof.key = f"{base}-multipart-{self.asking.clock():%H%M%S%f}"
                proof.wrong_whole(IfNoneMatch="*")
                proof.for_real(IfNoneMatch="*")
            else:
                proof.key = f"{base}-multipart"
                self.asking.put_small(proof.key)
                proof.aborted()
                proof.wrong_whole()
                proof.over_object()
                proof.for_real()
        finally:
            proof.close()
        self.refusals |= proof.refusals
        return proof.found

    def _note(self, refused: ArchiverError | None) -> None:
        if refused is not None:
            self.refusals[self.step] = str(refused)
