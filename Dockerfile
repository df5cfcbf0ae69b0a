# A worker, or a single flow run, with the project as it stands. Built from the lock: every
# package is the one that the tests ran with, its hash checked.
#
#   docker build -t retrobadge:0.1.0 .
#
# The home, the definitions and the activity are mounted, never part of the image; see
# docs/operations.md. The home must be one disk of one machine: its lock is that machine's.

FROM python:3.11-slim-bookworm AS packages

RUN python -m venv /opt/retrobadge
COPY requirements.lock /tmp/requirements.lock
# The lock has every dependency of every dependency, so none is looked for.
RUN /opt/retrobadge/bin/pip install --no-cache-dir --no-deps --require-hashes \
      -r /tmp/requirements.lock

FROM python:3.11-slim-bookworm

# Whoever has the image is no root in it. The number is what the mounted home's folder
# must belong to.
RUN useradd --uid 10001 --no-create-home --shell /usr/sbin/nologin retrobadge \
 && install -d -o retrobadge -g retrobadge -m 700 /var/lib/retrobadge /var/lib/prefect

COPY --from=packages /opt/retrobadge /opt/retrobadge
ENV PATH=/opt/retrobadge/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    RETROBADGE_HOME=/var/lib/retrobadge \
    PREFECT_HOME=/var/lib/prefect \
    DO_NOT_TRACK=1 \
    PREFECT_SERVER_ANALYTICS_ENABLED=false

WORKDIR /srv/retrobadge
COPY pyproject.toml README.md LICENSE prefect.yaml ./
COPY transforms ./transforms
COPY flows ./flows
COPY docs/work-pool.json ./docs/
# In place, not copied elsewhere: relative paths of settings and definitions start here.
RUN pip install --no-cache-dir --no-deps --no-build-isolation -e .

USER retrobadge
# Both are folders of the machine.
VOLUME ["/var/lib/retrobadge", "/srv/retrobadge/data"]

# Docker's --init (or `init: true`) passes signals on: a worker that is stopped lets the
# calls under way come to their end.
CMD ["prefect", "worker", "start", "--pool", "local", "--limit", "4"]
