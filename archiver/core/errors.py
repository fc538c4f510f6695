"""The error tree. Every class carries its verdict (for the program) and a hint (for the operator).

Each adapter translates its library's exceptions into these in one place; the pipeline knows only these.
Messages never hold a secret: no URL query, no key, no body beyond a scrubbed excerpt.
"""

from __future__ import annotations

from enum import StrEnum
from math import isfinite
from typing import ClassVar

from archiver.core.model import Dependency


class Verdict(StrEnum):
    """The action that an error asks of its caller."""

    RETRY = "retry"
    """The world is busy: try again later."""
    REFRESH = "refresh"
    """This URL is spent: ask for a fresh one."""
    REFUSE = "refuse"
    """Will not improve by itself: show it to the operator."""
    PAUSE_PROVIDER = "pause_provider"
    """Our account or set-up at the provider: stop asking it, touch no task's counters."""
    PAUSE_STORE = "pause_store"
    """Our account or set-up at the store: stop writing to it, touch no task's counters."""


class ArchiverError(Exception):
    """Base of all errors that have a verdict: `code` is a stable name, `retry_after` seconds that they told us."""

    verdict: ClassVar[Verdict] = Verdict.RETRY
    code: ClassVar[str] = "error"
    hint: ClassVar[str] = ""
    lasting: ClassVar[bool] = False
    """For the PAUSE verdicts: True when only the operator can mend it."""
    narrow: ClassVar[bool] = False
    """For the PAUSE verdicts: True when it may be about one id or key alone; a neutral probe tells."""
    down: ClassVar[Dependency | None] = None
    """The dependency that may be down when this error repeats over several tasks."""
    shows: ClassVar[Dependency | None] = None
    """The dependency that this error is evidence of: it answered, so it works, at least for others."""

    def __init__(self, message: str = "", *, retry_after: float | None = None) -> None:
        super().__init__(message or self.code)
        self.retry_after = retry_after if retry_after is not None and isfinite(retry_after) else None


class ApiBusy(ArchiverError):
    """The provider's API did not give a usable answer this time."""

    code = "api.busy"
    down = Dependency.PROVIDER
    hint = "it is asked again with back-off; if that goes on, see whether provider.base_url can be reached from here"


class ApiThrottled(ApiBusy):
    """The provider asks us to slow down (429, 430, 405, 433)."""

    code = "api.throttled"
    hint = (
        "lower provider.requests_per_10s, or the account's own, if this persists; "
        "other programs may share the key's budget"
    )


class ProviderPaused(ArchiverError):
    """The provider refuses our account or set-up."""

    verdict = Verdict.PAUSE_PROVIDER
    code = "provider.paused"


class KeyRefused(ProviderPaused):
    """401, or a 403 about the key."""

    code = "provider.key_refused"
    narrow = True
    hint = (
        "set provider.api_key or provider.api_key_file, or those of the account in provider.accounts, "
        "to a valid key, and look at its IP whitelist"
    )
    lasting = True


class AccountUnknown(ProviderPaused):
    """A task names an account that the settings do not have."""

    code = "provider.account_unknown"
    hint = (
        "add it to provider.accounts and start again, "
        "or append the id once more with the right one to the queue file: ID account=NAME"
    )
    lasting = True


class AgentBlocked(ProviderPaused):
    """Cloudflare's `error code: 1010`: the User-Agent is banned."""

    code = "provider.agent_blocked"
    narrow = True
    hint = "set provider.user_agent to another value"
    lasting = True


class FeatureDisabled(ProviderPaused):
    """505: the provider switched the feature off for this account."""

    code = "provider.feature_disabled"
    narrow = True
    hint = "ask the provider why vocal-removal is disabled for this account"
    lasting = True


class NoCredit(ProviderPaused):
    """402: the account's balance is used up."""

    code = "provider.no_credit"
    narrow = True
    hint = "top up the provider's account; reading records is probed again with back-off"


class Maintenance(ProviderPaused):
    """455: the provider is down for maintenance."""

    code = "provider.maintenance"
    narrow = True
    hint = "nothing to do: it is probed again with back-off"


class OriginBusy(ArchiverError):
    """The CDN did not answer, or not with the audio, this time (network, timeout, 429, 5xx)."""

    code = "cdn.busy"
    down = Dependency.ORIGIN
    hint = "nothing to do: it is fetched again with back-off"


class OriginFaulty(OriginBusy):
    """The origin answered, but not as it should: it may be about one link alone, where it gives others whole."""

    shows = Dependency.ORIGIN


class BodyShort(OriginFaulty):
    """The body ended before its announced length, or its connection was cut."""

    code = "cdn.short_body"


class BodySlow(OriginFaulty):
    """The body came slower than download.min_rate, or stalled."""

    code = "cdn.slow_body"
    hint = "lower download.min_rate if the line is really this slow"


class BodyChanged(OriginFaulty):
    """On resume the origin offered other bytes than it began with; the transfer starts again."""

    code = "cdn.body_changed"


class BodyLong(OriginFaulty):
    """More bytes came than the origin announced."""

    code = "cdn.long_body"


class LinkSpent(ArchiverError):
    """401, 403, 404 or 410 from the CDN: this URL no longer gives the audio."""

    verdict = Verdict.REFRESH
    code = "cdn.link_spent"
    shows = Dependency.ORIGIN
    hint = "fresh links are asked for; if it stays so past the deadline the stem is lost"

    def __init__(self, message: str = "", *, status: int, retry_after: float | None = None) -> None:
        super().__init__(message or f"the origin answered {status}", retry_after=retry_after)
        self.status = status


class NoLink(ArchiverError):
    """The provider lists the stem no more, and its link is kept nowhere: the CDN cannot be asked."""

    verdict = Verdict.REFUSE
    code = "api.no_link"
    hint = "`stem-archiver retry ID` once the provider lists the stem again"


class NotTaken(NoLink):
    """The record names the stem by what cannot be asked for: a relative URL, data inside it, too many files."""

    code = "record.not_taken"
    hint = "its place in the record is told by `stem-archiver show ID`; `acknowledge ID` where it is not wanted"


class BodyNotAudio(ArchiverError):
    """The first bytes are no audio container's (an HTML page with status 200, say)."""

    verdict = Verdict.REFUSE
    code = "cdn.not_audio"
    shows = Dependency.ORIGIN
    hint = "open the URL shown by `stem-archiver show ID`; `stem-archiver retry ID` when it is audio again"


class BodyEmpty(BodyNotAudio):
    """Status 200 and no bytes."""

    code = "cdn.empty_body"


class BodyTooLarge(ArchiverError):
    """Larger than download.max_stem_bytes."""

    verdict = Verdict.REFUSE
    code = "cdn.too_large"
    shows = Dependency.ORIGIN
    hint = "raise download.max_stem_bytes, then `stem-archiver retry ID`"


class AddressForbidden(ArchiverError):
    """The URL leads to a place we do not go: not https, not a public address, not an allowed host."""

    verdict = Verdict.REFUSE
    code = "cdn.address_forbidden"
    hint = "if this origin is meant, see download.allowed_hosts, download.allow_http, download.allow_private_addresses"


class AddressPrivate(AddressForbidden):
    """The name leads to an address that is not public, this time: a resolver may be wrong, or lied to, for a while."""


class StoreBusy(ArchiverError):
    """The store did not take or show the object this time."""

    code = "store.busy"
    down = Dependency.STORE
    hint = "it is tried again with back-off; if that goes on, see whether store.endpoint_url can be reached from here"


class StoreProxyAway(StoreBusy):
    """A proxy from the environment stands between us and the store, and does not answer."""

    code = "store.proxy_away"
    hint = "HTTP_PROXY or HTTPS_PROXY sends S3 there: mend it, or name the store's host in NO_PROXY"


class StoreCorrupt(StoreBusy):
    """The store saw other bytes than we sent (BadDigest and kin); nothing was kept, we send again."""

    code = "store.corrupt"
    hint = "nothing to do unless it repeats: then suspect memory, a proxy or the network card"


class KeyTaken(ArchiverError):
    """A different object already stands under the key; it is never overwritten."""

    verdict = Verdict.REFUSE
    code = "store.key_taken"
    shows = Dependency.STORE
    hint = "look at the object and move it away, or set another store.prefix; then `stem-archiver retry ID`"


class StorePaused(ArchiverError):
    """The store refuses our account or set-up."""

    verdict = Verdict.PAUSE_STORE
    code = "store.paused"
    lasting = True


class BucketMissing(StorePaused):
    """NoSuchBucket."""

    code = "store.no_bucket"
    hint = "create the bucket, or mend store.bucket and store.region"


class AccessRefused(StorePaused):
    """AccessDenied, InvalidAccessKeyId, SignatureDoesNotMatch and kin."""

    code = "store.access_denied"
    narrow = True
    hint = "see `stem-archiver check`; grant put, get, head, list and abort on the bucket and prefix"


class CredentialsRefused(AccessRefused):
    """SignatureDoesNotMatch, InvalidAccessKeyId, ExpiredToken and kin: the store takes the credentials for nobody's."""

    code = "store.credentials_refused"
    hint = (
        "mend the access key and its secret (AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or the profile), "
        "or log in again where they have run out; they must be this store's own"
    )


class KeyHidden(AccessRefused):
    """An object that we may not look at already stands under the key, so it is none of ours."""

    code = KeyTaken.code
    hint = KeyTaken.hint


class CredentialsMissing(AccessRefused):
    """Credentials or the region are missing, or could not be renewed: nothing was sent."""

    code = "store.no_credentials"
    narrow = False
    hint = (
        "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE, or give the machine a role; mend "
        "~/.aws/config or the program it names; log in again where they have run out"
    )


class ClockSkewed(StorePaused):
    """RequestTimeTooSkewed: our clock and the store's differ by more than it allows (S3: 15 minutes)."""

    code = "store.clock_skewed"
    hint = "set this machine's clock (NTP); the store is probed again with back-off"
    lasting = False


class StoreFull(StorePaused):
    """The store has no room left for us (507, a quota)."""

    code = "store.full"
    hint = "free space in the store or raise its quota; it is probed again with back-off"
    lasting = False


class StoreMisfit(StorePaused):
    """The store cannot do what integrity needs (create-only writes, checksums)."""

    code = "store.misfit"
    narrow = True
    hint = "run `stem-archiver check`; the gateway may be too old for If-None-Match or checksums"


class StoreUnproven(StorePaused):
    """Nobody has proven yet what the store can do."""

    code = "store.unproven"
    hint = "it is tried again; if it stays so, `stem-archiver check` tells what keeps the store from answering"
    lasting = False


class StoreUnfit(StorePaused):
    """The store was proven to overwrite: it cannot give the create-only writes that `store.create_only` demands."""

    code = "store.not_create_only"
    hint = (
        "use a store that heeds If-None-Match (`stem-archiver check` shows what this one does), or accept that objects "
        'of other writers may be overwritten: store.create_only = "best-effort"'
    )


class ObjectTooLarge(StoreMisfit):
    """413, EntityTooLarge: the store, or a proxy before it, takes no request of that size."""

    code = "store.too_large"
    hint = "raise the limit of the proxy or the store, or lower store.part_size; then `stem-archiver retry ID`"
    lasting = False


class Stuck(ArchiverError):
    """Nothing of a task or a transfer moved for too long: it was given up, to be tried again."""

    code = "stuck"
    hint = "nothing to do: it is tried again with back-off; if it happens often, look at what it was waiting for"


class Interrupted(Exception):
    """The service is stopping and its grace is over; what is under way is given back untouched."""


class Preempted(Exception):
    """More urgent work goes first: a transfer is broken off, no try counted, until it has its turn again."""


class LeaseLost(Exception):
    """Another process took the task over; whatever we still hold for it must be dropped, not written."""


class LedgerFault(Exception):
    """The ledger cannot be used: corrupt, foreign, newer, read-only or on a full disk. Carries a hint."""

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message)
        self.hint = hint


class LedgerAbsent(LedgerFault):
    """There is no ledger yet, and whoever asked makes none."""


class SettingsFault(Exception):
    """The settings cannot be used; the message lists every fault at once."""
