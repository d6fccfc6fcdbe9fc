# `make` lists the targets. Each works from a fresh clone, needs Python >= 3.11, no root and no network
# but the package registry, and is safe to repeat or to interrupt.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

PYTHON ?= python3
VENV ?= .venv
DEMO_OUT ?= demo-out
PYTEST_ARGS ?=

ZOO ?= .cache/standard-zoo
FASHION := .cache/fashion-mnist
DEBIAN := .cache/debian
# Where `provray zoo` looks for Fashion-MNIST; Debian's own folder where its package is installed.
export PROVRAY_FASHION_MNIST ?= $(abspath $(FASHION))

BIN := $(VENV)/bin
# Two processes: one alone leaves much of two cores idle. `tests/conftest.py` says which tests stay together.
PYTEST := $(BIN)/python -m pytest -n 2 --dist loadscope --no-loadscope-reorder
# Packages in the locks are complete as they stand: nothing to resolve, nothing else to pull in.
PIP := $(BIN)/python -m pip --disable-pip-version-check --no-input
INSTALL := $(PIP) install --quiet --progress-bar off --no-deps --no-compile

# One compute thread a process: the processes are what runs in parallel, and more threads than cores
# make every one of them slower. `provray crawl --threads` raises it where that is wanted.
export OMP_NUM_THREADS ?= 1
export OPENBLAS_NUM_THREADS ?= 1
export MKL_NUM_THREADS ?= 1
export TOKENIZERS_PARALLELISM ?= false
# Nothing here reports usage; a local Ray cluster asks for its token.
export RAY_USAGE_STATS_ENABLED ?= 0
export RAY_AUTH_MODE ?= token
export PYTHONUTF8 := 1
# Every Ray worker would compile again what it imports.
unexport PYTHONDONTWRITEBYTECODE

# A stamp names what was installed: another lock, place or Python has another stamp. It is written last,
# so an interrupted installation has none and is done again.
key = $(shell { cat $(1); echo "$(CURDIR)"; $(PYTHON) --version; } 2>&1 | sha256sum | cut -c1-16)
CORE := $(VENV)/.installed-core-$(call key,requirements.lock)
PROVRAY := $(VENV)/.installed-provray-$(call key,pyproject.toml)
DEMO := $(VENV)/.installed-demo-$(call key,requirements-demo.lock)
STUDIES := $(VENV)/.installed-studies-$(call key,requirements-studies.lock)
ASSETS := $(VENV)/.installed-assets-$(call key,requirements-assets.lock)
WEB := $(VENV)/.installed-web-$(call key,requirements-web.lock)
TOOLS := $(VENV)/.installed-tools-$(call key,requirements-tools.lock)
OPS := $(VENV)/.installed-ops-$(call key,requirements-ops.lock)

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-9s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))

.PHONY: venv
venv: $(PROVRAY) ## create .venv: exact versions of requirements.lock, and provray itself from this tree

.PHONY: demo
demo: $(DEMO) ## build a zoo of model families, crawl it, query it, write a report to demo-out
	$(BIN)/provray demo --out $(DEMO_OUT)

.PHONY: test
test: $(OPS) $(TOOLS) debian ## all tests, in two processes; PYTEST_ARGS="-m 'not slow'" leaves out those that take minutes
	$(PYTEST) $(PYTEST_ARGS)

.PHONY: lint
lint: $(TOOLS) ## ruff: rules and format; import rules; declared against imported dependencies
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports --no-cache >/dev/null || $(BIN)/lint-imports --no-cache
	$(BIN)/deptry .

.PHONY: format
format: $(PROVRAY) ## let ruff fix and format the code
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

.PHONY: types
types: $(PROVRAY) ## mypy, strict
	$(BIN)/mypy
	MYPYPATH=benchmarks $(BIN)/mypy benchmarks scripts

.PHONY: coverage
coverage: $(OPS) $(TOOLS) debian ## all tests, and which lines of each folder they leave out: coverage.json
	$(PYTEST) --cov=provray --cov-report=json --cov-report= $(PYTEST_ARGS)
	$(BIN)/python scripts/coverage_by_folder.py coverage.json

.PHONY: sbom
sbom: $(TOOLS) ## the bill of materials of what `make venv` installs: dist/provray.cdx.json
	@mkdir -p dist
	PYTHONWARNINGS=ignore $(BIN)/cyclonedx-py requirements requirements.lock --pyproject pyproject.toml --output-reproducible -o dist/provray.cdx.json

.PHONY: fashion
fashion: $(FASHION)/train-images-idx3-ubyte.gz ## unpack Fashion-MNIST (Debian package, no root) into .cache for the standard zoo

# Prometheus and Redis watch and back what the tests of operations run. Where there is no apt-get, those tests take
# the programs on the PATH, or are skipped and say so.
.PHONY: debian
debian: ## unpack Prometheus and Redis (Debian packages, no root) into .cache for the tests of operations
	@if command -v apt-get dpkg-deb >/dev/null; then $(MAKE) --no-print-directory $(DEBIAN)/.unpacked; fi

.PHONY: zoo
zoo: $(STUDIES) $(FASHION)/train-images-idx3-ubyte.gz ## build the standard zoo and score it: half an hour to an hour on two cores
	$(BIN)/provray zoo build $(ZOO) --spec standard
	$(BIN)/provray eval $(ZOO) --out docs/results

.PHONY: bench
bench: $(DEMO) ## time and memory of fingerprints against plain PyTorch loops
	$(BIN)/python benchmarks/fingerprint.py

.PHONY: clean
clean: ## remove caches and the demo's output, keep .venv
	rm -rf $(DEMO_OUT) build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -not -path './.git/*' -not -path './$(VENV)/*' -prune -exec rm -rf {} +

.PHONY: distclean
distclean: clean ## remove .venv too
	rm -rf $(VENV)

# pip compiles on one core, compileall on all of them; what is left out (most of transformers) compiles on
# first use. A file some package ships for another Python does not compile: no reason to stop.
# `pip check` fails where a registry's torch is a CUDA build, whose own libraries the lock leaves out:
# there pip adds what is missing.
$(CORE):
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "provray needs Python >= 3.11, $(PYTHON) is $$($(PYTHON) --version 2>&1): make PYTHON=/path/to/python3.11" >&2; exit 1; }
	@echo "installing requirements.lock into $(VENV) (minutes, once)"
	@rm -rf $(VENV)
	@$(PYTHON) -m venv $(VENV)
	@$(INSTALL) -r requirements.lock
	@$(BIN)/python -m compileall -q -j 0 -x '/(tests|transformers/models)/' $(VENV)/lib >/dev/null || true
	@$(PIP) check >/dev/null || { $(PIP) install --quiet --progress-bar off -r requirements.lock && $(PIP) check; }
	@touch $@

# As a path, not by an import hook: Ray's workers look for modules in the folder a command was started in, and a folder
# named provray there (this clone, seen from its parent) would come before a hook.
$(PROVRAY): $(CORE)
	@rm -f $(VENV)/.installed-provray-*
	@$(INSTALL) --no-build-isolation --config-settings editable_mode=compat -e .
	@touch $@

$(DEMO): $(PROVRAY)
	@echo "installing requirements-demo.lock: real models and texts"
	@rm -f $(VENV)/.installed-demo-*
	@$(INSTALL) -r requirements-demo.lock
	@touch $@

$(STUDIES): $(ASSETS)
	@echo "installing requirements-studies.lock: plots, and a Laplace approximation for steal-bench"
	@rm -f $(VENV)/.installed-studies-*
	@$(INSTALL) -r requirements-studies.lock
	@touch $@

$(WEB): $(STUDIES)
	@echo "installing requirements-web.lock: what questions and browses the service"
	@rm -f $(VENV)/.installed-web-*
	@$(INSTALL) -r requirements-web.lock
	@touch $@

# With those of their libraries that a small installation lacks. Images of containers often come without apt's lists of
# packages: then lists of our own are fetched, which needs no root either.
WATCHERS := prometheus redis-server redis-tools libjemalloc2 liblzf1
LISTS = -o Dir::State::Lists="$$PWD/lists" -o Dir::Cache="$$PWD/cache" -o APT::Sandbox::User=""
$(DEBIAN)/.unpacked:
	@rm -rf $(DEBIAN) && mkdir -p $(DEBIAN)/lists/partial $(DEBIAN)/cache
	@cd $(DEBIAN) && { apt-get download -q $(WATCHERS) || { apt-get $(LISTS) -q update && apt-get $(LISTS) download -q $(WATCHERS); }; }
	@cd $(DEBIAN) && rm -rf lists cache
	@cd $(DEBIAN) && for package in *.deb; do dpkg-deb -x "$$package" . && rm "$$package"; done
	@touch $@

$(OPS): $(WEB)
	@echo "installing requirements-ops.lock: kubectl and schemas, which judge the manifests"
	@rm -f $(VENV)/.installed-ops-*
	@$(INSTALL) -r requirements-ops.lock
	@touch $@

$(TOOLS): $(PROVRAY)
	@echo "installing requirements-tools.lock: import rules, dependencies, coverage, bill of materials"
	@rm -f $(VENV)/.installed-tools-*
	@$(INSTALL) -r requirements-tools.lock
	@touch $@

# Not in any Python registry, and no root is needed to unpack it.
$(FASHION)/train-images-idx3-ubyte.gz:
	@mkdir -p $(FASHION)
	@cd $(FASHION) && apt-get download -q dataset-fashion-mnist && dpkg-deb --fsys-tarfile dataset-fashion-mnist_*.deb \
	  | tar -x --strip-components=5 ./usr/share/datasets/fashion-mnist && rm dataset-fashion-mnist_*.deb

$(ASSETS): $(DEMO)
	@echo "installing requirements-assets.lock: more real models"
	@rm -f $(VENV)/.installed-assets-*
	@$(INSTALL) -r requirements-assets.lock
	@touch $@
