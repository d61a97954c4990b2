# The agent on a site's gateway. Built from the repository's root: docker build -f docker/edge.Dockerfile .
FROM python:3.11-slim-bookworm
RUN useradd --system --uid 10001 --create-home gatehouse && install -d -o gatehouse -g gatehouse /site
WORKDIR /opt/gatehouse
COPY requirements/edge.txt requirements/edge.txt
RUN pip install --no-cache-dir --require-hashes -r requirements/edge.txt
COPY gatehouse.py LICENSE ./
COPY devices devices
COPY edge edge
ENV PYTHONPATH=/opt/gatehouse PYTHONUNBUFFERED=1
USER gatehouse
WORKDIR /site
VOLUME /site
ENTRYPOINT ["python", "-m", "gatehouse"]
