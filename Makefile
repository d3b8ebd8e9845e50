# What a person does with this checkout. `make` alone lists it.
# Needs Python 3.11 or newer with its venv module, and the network once, to fetch what the lock files name.

PYTHON ?= python3
LISTEN ?= 127.0.0.1:5000
DATA   ?= ./data
ARGS   ?=

VENV := .venv
PY   := $(VENV)/bin/python
PIN  := -m pip install --disable-pip-version-check --no-input --quiet --require-hashes
PIP  := $(PY) $(PIN)

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help run test venv lint format bench docs lock release-check clean

help: ## this list
	@echo "Holdfast, a container registry for one machine."
	@echo
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1|\2/p' $(MAKEFILE_LIST) | awk -F'|' '{printf "%-22s %s\n", $$1, $$2}'

run: $(VENV)/runtime.stamp ## serve on LISTEN (127.0.0.1:5000), keep everything in DATA (./data); ARGS: more flags of `serve`
	@exec $(PY) registry.py serve --listen $(LISTEN) --data $(DATA) $(ARGS)

# Kills at each step of what is written to the folder. Those of what is written to a store are tests/faults/test_s3_kills.py;
# with content in a store these cover the same code once more, and take long: `make release-check` runs them so as well.
STEPS := tests/faults/test_named_steps.py tests/faults/test_part_steps.py

# Two rows of tests at a time: mostly they wait for servers to start, to be killed and to come back. The second row has what
# can run on S3 as well, and then the suites of whole stories there, which is about half of the time.
ON_S3   := tests/interop tests/faults tests/http $(STEPS:%=--ignore=%)
STORIES := $(wildcard tests/faults/test_s3_*.py)

test: venv ## run every test, and beside them those that can run on S3 there; ARGS: what to hand to pytest instead of that
ifeq ($(strip $(ARGS)),)
	@mkdir -p build; \
	( trap 'kill $$one 2>/dev/null; exit 1' INT TERM; status=0; \
		$(PY) -m pytest --store s3 $(ON_S3) & one=$$!; wait $$one || status=1; \
		$(PY) -m pytest $(STORIES) & one=$$!; wait $$one || status=1; exit $$status ) > build/test-s3.log 2>&1 & second=$$!; \
	trap 'kill $$second 2>/dev/null; exit 1' INT TERM; \
	status=0; $(PY) -m pytest $(STORIES:%=--ignore=%) || status=1; \
	echo "The tests on S3:"; wait $$second || status=1; cat build/test-s3.log; exit $$status
else
	$(PY) -m pytest $(ARGS)
endif

venv: $(VENV)/dev.stamp build/swift/swift.stamp ## the environments alone, with everything that tests, checks and serving need

lint: $(VENV)/dev.stamp ## style, layout and types
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy

format: $(VENV)/dev.stamp ## put every file into the layout that `make lint` wants to see
	$(PY) -m ruff check --fix .
	$(PY) -m ruff format .

bench: venv ## measure against another registry; ARGS="--help" tells how
	$(PY) -m bench $(ARGS)

docs: $(VENV)/runtime.stamp ## write the pages that are made from the program itself
	env -i $(PY) registry.py config page > docs/settings.md

lock: ## make the lock files again from pyproject.toml, with the newest releases that it allows
	$(PYTHON) -m venv build/lock
	build/lock/bin/python -m pip install --disable-pip-version-check --quiet --upgrade uv
	$(LOCK) pyproject.toml --output-file requirements.lock
	$(LOCK) pyproject.toml --group pyproject.toml:dev --constraint requirements.lock --output-file requirements-dev.lock
	$(PYTHON) -c "$(FAST)" | $(LOCK) - --output-file requirements-fast.lock
	$(LOCK) --group pyproject.toml:store --output-file requirements-swift.lock

LOCK := build/lock/bin/uv pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes --no-header
FAST := import tomllib; print(*tomllib.load(open('pyproject.toml', 'rb'))['project']['optional-dependencies']['fast'], sep=chr(10))

release-check: lint test ## whether this tree could be released: checks, all tests and the big ones (BIG_GIB=20), nothing uncommitted, changelog
	$(PY) -m pytest tests/big/*.py
	$(PY) -m pytest --all tests/faults/test_s3_*.py tests/interop/test_s3_flows.py
	$(PY) -m pytest --store s3 $(STEPS)
	@test -z "$$(git status --porcelain)" || { git status --short; echo "commit or remove these first"; exit 1; }
	@version=$$($(PY) -c 'from model.version import VERSION; print(VERSION)'); \
	grep -q "^## $$version" CHANGELOG.md || { echo "CHANGELOG.md has no section $$version"; exit 1; }; \
	! git rev-parse -q --verify "refs/tags/v$$version" >/dev/null || { echo "v$$version is tagged already"; exit 1; }; \
	echo "$$version can be released"

clean: ## remove the environment and what tools left behind; the registry's data stays
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# One file that stands for the environment: made again when Python, a lock file or this recipe's inputs change.
$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "$(PYTHON) is missing or older than 3.11: install Python 3.11 or newer, or say make PYTHON=..."; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null \
		|| { echo "$(PYTHON) cannot make environments; on Debian and Ubuntu: apt-get install -y python3-venv"; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/runtime.stamp: requirements.lock requirements-fast.lock | $(VENV)/bin/python
	$(PIP) --requirement requirements.lock
	@$(PIP) --only-binary :all: --requirement requirements-fast.lock \
		|| echo "No ready-made uvloop for this machine: the standard event loop does the same work, a little slower."
	@touch $@

$(VENV)/dev.stamp: requirements-dev.lock $(VENV)/runtime.stamp
	$(PIP) --requirement requirements-dev.lock
	@touch $@

# The S3 server of the tests, in an environment of its own. Where it cannot be had, everything else still runs.
build/swift/swift.stamp: requirements-swift.lock | $(VENV)/bin/python
	@{ $(PYTHON) -m venv build/swift \
		&& build/swift/bin/python $(PIN) --only-binary :all: --requirement requirements-swift.lock \
		&& touch $@; } || echo "No S3 server for the tests on this machine: those that need one say so and are passed over."
