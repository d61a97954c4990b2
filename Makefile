# `make demo` and `make test` are all there is to remember; `make help` lists the rest.
VENV := .venv
BIN := $(VENV)/bin
SYSTEM := tools/system-packages.sh

.PHONY: help setup demo test check format bench soak lock clean

help:  ## this list
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/'

setup: $(VENV)/.complete  ## a virtual environment with everything locked in requirements/

$(VENV)/.complete: requirements/dev.txt pyproject.toml
	@tools/make-venv.sh $(VENV)
	@$(BIN)/python -m pip install -q --require-hashes -r requirements/dev.txt
	@$(BIN)/python -m pip install -q --no-deps --no-build-isolation -e .
	@touch $@

demo: setup  ## a simulated site, its gateway and the cloud on this machine
	@$(BIN)/gatehouse demo $(ARGS)

test: setup  ## the whole suite; installs the servers it needs where it may
	@$(SYSTEM) mosquitto chromium victoria-metrics fonts-noto-cjk
	@$(BIN)/python -m pytest -n 2 --dist loadfile $(ARGS)

check: setup  ## lint, types, and the rules of the house
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/python -m pytest -q tests/test_architecture.py tests/test_style.py

format: setup  ## put every file into the formatter's form
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

bench: setup  ## figures of design: ratios and percentiles, no verdicts
	@$(BIN)/python -m benchmarks $(ARGS)

soak: setup  ## the long form of the tests, some hours; with MINUTES=N random faults on real processes for N minutes
ifdef MINUTES
	@$(BIN)/python -m tests.scenarios.soak --minutes $(MINUTES) $(ARGS)
else
	@$(BIN)/python -m pytest -q -m soak --timeout 0 $(ARGS)
endif

lock: setup  ## write requirements/*.txt anew from pyproject.toml
	@tools/lock.sh $(BIN)

clean:
	@rm -rf $(VENV) build dist *.egg-info
