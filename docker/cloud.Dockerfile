# The aggregator with its API and page. Built from the repository's root: docker build -f docker/cloud.Dockerfile .
FROM python:3.11-slim-bookworm
RUN useradd --system --uid 10001 --create-home gatehouse && install -d -o gatehouse -g gatehouse /data
WORKDIR /opt/gatehouse
COPY requirements/cloud.txt requirements/cloud.txt
RUN pip install --no-cache-dir --require-hashes -r requirements/cloud.txt
COPY gatehouse.py LICENSE ./
COPY devices devices
COPY cloud cloud
ENV PYTHONPATH=/opt/gatehouse PYTHONUNBUFFERED=1
USER gatehouse
WORKDIR /data
VOLUME /data
ENTRYPOINT ["python", "-m", "gatehouse"]
