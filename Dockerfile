# syntax=docker/dockerfile:1
# llmbench for IRs and GGUF files; docs/containers.md says how to run it and what placement needs.

ARG BASE=python:3.11.13-slim-bookworm@sha256:86adf8dbadc3d6e82ee5dd2c74bec2e1c2467cdad47886280501df722372d2e1
FROM ${BASE} AS build
WORKDIR /src
RUN python -m venv /opt/llmbench
COPY pyproject.toml README.md LICENSE ./
COPY llmbench ./llmbench
RUN /opt/llmbench/bin/python -m pip install --no-cache-dir .

FROM ${BASE}
RUN apt-get update \
    && apt-get install --yes --no-install-recommends numactl \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --create-home --home-dir /work --uid 10001 llmbench
COPY --from=build /opt/llmbench /opt/llmbench
ENV PATH=/opt/llmbench/bin:$PATH \
    XDG_CACHE_HOME=/work/.cache \
    PYTHONDONTWRITEBYTECODE=1
WORKDIR /work
USER llmbench
ENTRYPOINT ["llmbench"]
CMD ["--help"]
