# The compiled proxy, run by an unprivileged user:
#
#   docker build -t cmux-proxy .
#
# Set it up with variables, such as CMUX_WORKERS, or with flags after the image's name.
# The base is python:3.13-slim as docker-library/repo-info had it on 2026-08-05 (Python 3.13.14), for
# all platforms. A newer one: --build-arg PYTHON=python:3.13-slim
ARG PYTHON=python:3.13-slim@sha256:9662417aace5ae7b8e2609cce472b72a8958e134ba372808abe9cc1a0c0125e6
FROM ${PYTHON} AS build
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends gcc libc6-dev \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY LICENSE MANIFEST.in README.md pyproject.toml setup.py ./
COPY docs/cmux-proxy.1 docs/
COPY src src
# Without pip, because nothing is installed later. With bytecode, which the image's user may not
# write: each start and each health check would compile the sources.
RUN python -m venv --without-pip /opt/cmux-proxy \
    && CMUX_PROXY_COMPILE=1 python -m pip --python /opt/cmux-proxy/bin/python \
        install --no-cache-dir ".[admin]"

FROM ${PYTHON}
COPY --from=build /opt/cmux-proxy /opt/cmux-proxy
ENV PATH=/opt/cmux-proxy/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    CMUX_LISTEN=0.0.0.0:8080
USER 10001:10001
EXPOSE 8080
# Checks the address of CMUX_LISTEN or of the file in CMUX_CONFIG; it does not know --listen.
HEALTHCHECK --interval=10s --timeout=5s --start-period=5s CMD ["cmux-proxy", "healthcheck"]
ENTRYPOINT ["cmux-proxy"]
