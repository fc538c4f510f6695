# The service alone: its packages exactly as locked, no shell, no demo, no tests, no compiler.
# Both bases need the same minor version of Python; BASE has it at /usr/bin/python3. Pin them by digest for a release:
# --build-arg BUILD_BASE=python@sha256:... --build-arg BASE=gcr.io/distroless/python3-debian13@sha256:...
# --build-arg LOCK=requirements-cluster.lock for a ledger on PostgreSQL, requirements-page.lock for the page beside SQLite.
ARG BUILD_BASE=python:3.13-slim-trixie
ARG BASE=gcr.io/distroless/python3-debian13:latest

FROM ${BUILD_BASE} AS build
ARG LOCK=requirements.lock
COPY requirements.lock requirements-cluster.lock requirements-page.lock /build/
# Of botocore's service descriptions (28 MB) only what S3 and the finding of credentials read stays. The packages' byte
# code is written now, since nothing can be when the service runs, and trusts no file time that a copy may change.
RUN python3 -m venv /build/env \
    && /build/env/bin/pip install --no-cache-dir --disable-pip-version-check --no-compile --no-deps \
       --only-binary :all: --require-hashes --target /build/lib -r "/build/${LOCK}" \
    && find /build/lib/botocore/data -mindepth 1 -maxdepth 1 -type d \
       ! -name s3 ! -name signin ! -name sso ! -name sso-oidc ! -name sts -exec rm -r {} + \
    && rm -r /build/lib/bin
COPY archiver /build/lib/archiver
RUN python3 -m compileall -q -j 0 --invalidation-mode unchecked-hash /build/lib

FROM ${BASE}
LABEL org.opencontainers.image.title="stem-archiver" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build /build/lib /opt/stem-archiver
COPY --chmod=0755 deploy/container/stem-archiver /usr/local/bin/stem-archiver
COPY LICENSE /usr/share/doc/stem-archiver/LICENSE
# Queue file and ledger; a volume goes here.
RUN ["/usr/bin/python3", "-c", "import os; d = '/var/lib/stem-archiver'; os.mkdir(d, 0o700); os.chown(d, 10001, 10001)"]
ENV PATH=/usr/local/bin:/usr/bin:/bin \
    STATE_DIRECTORY=/var/lib/stem-archiver \
    HOME=/var/lib/stem-archiver
# Ends the build when the two bases do not fit together.
RUN ["/usr/bin/python3", "-Ic", "import sys; sys.path.insert(0, '/opt/stem-archiver'); import archiver.app.daemon, archiver.commands.app"]
VOLUME /var/lib/stem-archiver
WORKDIR /var/lib/stem-archiver
# The number, not a name, lets a platform check that it is not root.
USER 10001:10001
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=10s --start-period=60s --retries=3 CMD ["stem-archiver", "health"]
ENTRYPOINT ["stem-archiver"]
CMD ["run"]
