# alignpro serve: docs/serving.md says how it is built and run, and what TORCH_INDEX is for.
ARG PYTHON=3.12
FROM python:${PYTHON}-slim AS build
ARG TORCH_INDEX
WORKDIR /build
COPY constraints.txt ./
RUN python -m venv /opt/alignpro \
    && /opt/alignpro/bin/pip install --no-cache-dir -c constraints.txt ${TORCH_INDEX:+--index-url=${TORCH_INDEX}} torch
COPY pyproject.toml README.md LICENSE ./
COPY src src
RUN /opt/alignpro/bin/pip install --no-cache-dir -c constraints.txt '.[endpoints,otel]'

FROM python:${PYTHON}-slim
RUN useradd --create-home --uid 10001 alignpro
COPY --from=build /opt/alignpro /opt/alignpro
ENV PATH=/opt/alignpro/bin:$PATH PYTHONUNBUFFERED=1
USER alignpro
WORKDIR /home/alignpro
EXPOSE 8080
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s \
    CMD ["python", "-c", "import urllib.request as web; web.urlopen('http://127.0.0.1:8080/healthz', timeout=4)"]
ENTRYPOINT ["alignpro", "serve", "--host=0.0.0.0", "--port=8080"]
CMD ["--help"]
