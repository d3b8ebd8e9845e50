# Holdfast as a container: docker build -t holdfast . && docker run -p 5000:5000 -v holdfast:/data holdfast
# (podman and buildah: --format docker keeps the health check.)
# Small: the interpreter, what the lock files name (as wheels, checked by hash), and this tree. Nobody is root in it.

FROM python:3.11-slim AS environment
COPY requirements.lock requirements-fast.lock /locks/
RUN python -m venv /opt/holdfast \
    && /opt/holdfast/bin/python -m pip install --no-cache-dir --disable-pip-version-check --require-hashes \
        --only-binary :all: --requirement /locks/requirements.lock --requirement /locks/requirements-fast.lock \
    && /opt/holdfast/bin/python -m pip uninstall --yes --quiet setuptools pip

FROM python:3.11-slim
# A number beside the name, so that `runAsNonRoot` and the owner of a mounted folder can be checked without this file.
RUN groupadd --gid 10001 holdfast \
    && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /data --shell /usr/sbin/nologin holdfast \
    && install --directory --owner 10001 --group 10001 --mode 0750 /data
COPY --from=environment /opt/holdfast /opt/holdfast
WORKDIR /app
# What that is, .dockerignore says: everything it does not let in stays out.
COPY . .
# Compiled once here: the tree is read-only for the user who runs it.
RUN /opt/holdfast/bin/python -m compileall -q /app

# The entry is a script beside its packages: Python has to look there first, so PYTHONSAFEPATH must stay unset.
# Bare names, so that HOLDFAST_LISTEN and HOLDFAST_DATA_DIR still win over them.
ENV PATH=/opt/holdfast/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    LISTEN=0.0.0.0:5000 \
    DATA_DIR=/data
USER 10001:10001
VOLUME /data
EXPOSE 5000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=5s --start-period=30s --retries=3 \
    CMD ["python", "-I", "-c", "import os, urllib.request as r; at = os.environ.get('HOLDFAST_LISTEN') or os.environ['LISTEN']; r.urlopen('http://127.0.0.1:' + at.rpartition(':')[2] + '/healthz', timeout=4)"]
CMD ["python", "registry.py", "serve"]
