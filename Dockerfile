# The service alone; its packages exactly as locked. No demo, no tests, no compiler in the result.
FROM python:3.13-slim AS build
COPY requirements.lock /build/
RUN python -m venv /opt/venv \
    && /opt/venv/bin/pip install --no-cache-dir --disable-pip-version-check --no-deps --only-binary :all: \
       --require-hashes -r /build/requirements.lock \
    && /opt/venv/bin/pip uninstall --yes pip
COPY archiver /opt/app/archiver
RUN /opt/venv/bin/python -m compileall -q /opt/app

FROM python:3.13-slim
LABEL org.opencontainers.image.title="stem-archiver" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build /opt/venv /opt/venv
COPY --from=build /opt/app /opt/app
COPY LICENSE /usr/share/doc/stem-archiver/LICENSE
# Queue file and ledger; a volume goes here. The number, not a name, lets a platform check that it is not root.
RUN install -d -m 0700 -o 10001 -g 10001 /var/lib/stem-archiver
ENV PYTHONPATH=/opt/app \
    PYTHONUNBUFFERED=1 \
    STATE_DIRECTORY=/var/lib/stem-archiver \
    HOME=/var/lib/stem-archiver
VOLUME /var/lib/stem-archiver
WORKDIR /var/lib/stem-archiver
USER 10001:10001
STOPSIGNAL SIGTERM
ENTRYPOINT ["/opt/venv/bin/python", "-m", "archiver"]
CMD ["run"]
