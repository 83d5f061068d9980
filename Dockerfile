# The image that your worker's image begins FROM: Python, the library, and nothing that builds.
#
#   docker build -t pyrallel-consumer:1.0.0rc1 .
#   docker build -t pyrallel-consumer:1.0.0rc1-otel --build-arg EXTRAS=uvloop,otel .
#
# Your own, which adds packages and code (docs/guides/kubernetes.md):
#
#   FROM pyrallel-consumer:1.0.0rc1
#   USER root
#   COPY requirements.txt .
#   RUN pip install --no-cache-dir -r requirements.txt
#   USER 10001
#   COPY shop.py .
#   ENV PYRALLEL_WORKER=shop:handle PYRALLEL_TOPIC=orders

ARG PYTHON=3.13

FROM python:${PYTHON}-slim AS build
WORKDIR /build
COPY scripts/uv-requirements.txt ./
RUN python -m venv /uv && /uv/bin/pip install --no-cache-dir --only-binary :all: --require-hashes -r uv-requirements.txt
ENV PATH=/uv/bin:$PATH UV_COMPILE_BYTECODE=1 UV_NO_CACHE=1 UV_NO_CONFIG=1 UV_PYTHON=/opt/venv/bin/python UV_PYTHON_DOWNLOADS=never
# Dependencies first, and from the lock: this layer stays while only the code changes.
COPY requirements.txt dev-requirements.txt ./
RUN uv venv --python python3 /opt/venv && uv pip install --require-hashes -r requirements.txt
COPY pyproject.toml README.md LICENSE ./
COPY pyrallel_consumer pyrallel_consumer
ARG EXTRAS=uvloop
RUN uv build --wheel --require-hashes --build-constraints dev-requirements.txt --out-dir /dist \
    && uv pip install --constraints dev-requirements.txt "$(echo /dist/*.whl)[${EXTRAS}]"

FROM python:${PYTHON}-slim
RUN groupadd --gid 10001 consumer \
    && useradd --uid 10001 --gid consumer --home-dir /app --create-home --shell /usr/sbin/nologin consumer
COPY --from=build /opt/venv /opt/venv
COPY deploy/healthcheck.py /opt/healthcheck.py
# PIP_PYTHON: `pip install` in an image FROM this one installs beside the library.
ENV PATH=/opt/venv/bin:$PATH PIP_PYTHON=/opt/venv/bin/python PYTHONUNBUFFERED=1 \
    METRICS_ENABLED=true METRICS_HOST=0.0.0.0 PYRALLEL_APP_DIR=/app PYRALLEL_LOG_FORMAT=json
WORKDIR /app
USER 10001:10001
EXPOSE 9091
# The first SIGTERM drains; `docker stop` waits 10 s for it unless told otherwise (--time 20).
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 CMD ["python", "/opt/healthcheck.py"]
ENTRYPOINT ["pyrallel-consumer"]
CMD ["run"]
