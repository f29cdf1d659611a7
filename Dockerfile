# One image, every role: docker-compose.yml gives each container its command.
FROM python:3.13-slim AS packages
COPY requirements.lock /
RUN python -m venv /venv \
    && /venv/bin/pip install --no-cache-dir --disable-pip-version-check --no-deps --require-hashes -r /requirements.lock

FROM python:3.13-slim
RUN useradd --system --uid 10001 --create-home tollgate \
    && install -d -o tollgate -g tollgate /data
COPY --from=packages /venv /venv
COPY . /app
WORKDIR /app
ENV PATH=/venv/bin:$PATH \
    PYTHONPATH=/app:/app/platform \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    DJANGO_SETTINGS_MODULE=config.settings \
    DATA_DIR=/data
USER tollgate
VOLUME /data
STOPSIGNAL SIGTERM
