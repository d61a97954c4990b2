# A simulated site: Modbus servers, robots, parking sensors. Built from the repository's root: docker build -f docker/simulators.Dockerfile .
FROM python:3.11-slim-bookworm
RUN useradd --system --uid 10001 --create-home gatehouse && install -d -o gatehouse -g gatehouse /site
WORKDIR /opt/gatehouse
COPY requirements/simulators.txt requirements/simulators.txt
RUN pip install --no-cache-dir --require-hashes -r requirements/simulators.txt
COPY gatehouse.py LICENSE ./
COPY devices devices
COPY simulators simulators
ENV PYTHONPATH=/opt/gatehouse PYTHONUNBUFFERED=1
USER gatehouse
WORKDIR /site
VOLUME /site
ENTRYPOINT ["python", "-m", "gatehouse"]
