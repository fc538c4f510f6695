"""Errors of settings that miss the store or the provider: each names the one to mend."""

from __future__ import annotations

from archiver.core.errors import ApiBusy, BucketMissing, StoreBusy, StorePaused


class RouteMoved(ApiBusy):
    """404 without the provider's envelope: this host knows no such endpoint, or no more; it says nothing of any id."""

    code = "api.no_route"
    hint = (
        "see whether provider.base_url is the provider's, and provider.flavour its own; where they are, the provider "
        "has moved this kind of record, and a newer version may know the way"
    )


class StoreHostUnknown(StoreBusy):
    """No name server knows the host of the request."""

    code = "store.host_unknown"
    hint = (
        'mend store.endpoint_url; where the bucket stands before the host, set store.addressing_style = "path"; '
        "else see to this machine's name servers"
    )


class StoreTlsRefused(StoreBusy):
    """There is no TLS with what listens there."""

    code = "store.no_tls"
    hint = (
        "WRONG_VERSION_NUMBER: store.endpoint_url should begin with http://, or names another port; "
        "CERTIFICATE_VERIFY_FAILED: name the file of your authority's certificate in AWS_CA_BUNDLE"
    )


class StoreStranger(StoreBusy):
    """An answer that no S3 gives."""

    code = "store.not_s3"
    hint = (
        "mend store.endpoint_url: its scheme (http:// asked of a port for https:// ends so), port and path; "
        "or the proxy of HTTP_PROXY, which NO_PROXY keeps away from the store"
    )


class RegionWrong(BucketMissing):
    """PermanentRedirect, AuthorizationHeaderMalformed and kin: the bucket is another region's."""

    code = "store.wrong_region"
    hint = "set store.region to the bucket's own, and store.endpoint_url to that region's"


class AddressingWrong(StorePaused):
    """The store takes no bucket in the path."""

    code = "store.wrong_addressing"
    hint = 'set store.addressing_style = "virtual"'
