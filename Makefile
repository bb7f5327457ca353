# The commands of the project. Nothing needs `activate`: everything is in .venv.

# Another interpreter: make install PYTHON=/path/to/python3.11
PYTHON ?=

VENV := .venv
PY := $(VENV)/bin/python
PIP := $(PY) -m pip --disable-pip-version-check --quiet --quiet
PINS := configs/constraints.txt
INSTALLED := $(VENV)/installed
DEV_INSTALLED := $(VENV)/installed-dev
# The peers of the benchmarks have two environments, since RecTools brings its own build of implicit.
PEERS := .venv-peers
PEER_PINS := configs/constraints-peers.txt
PEERS_PIP := python -m pip --disable-pip-version-check --quiet --quiet install -c $(PEER_PINS)
PEERS_INSTALLED := $(PEERS)/installed
# Options of `make bench-quality`, `make bench-speed` and `make bench-serve`, such as BENCH='--quick'.
BENCH ?=
# Options of `make faults`, such as FAULTS='--rows S3 --tries 3'.
FAULTS ?=

# DeepSpeed compiles a small extension at run time and looks for `ninja` on the path.
export PATH := $(CURDIR)/$(VENV)/bin:$(PATH)

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help install demo test check-types check-tests faults format wheel docs docs-serve lock bench bench-peers bench-quality bench-ablation bench-speed bench-serve clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-13s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

install: $(INSTALLED) ## set up .venv with the pinned dependencies

demo: $(INSTALLED) ## make a small synthetic shop, run the night on it, show three users' lists
	$(PY) jobs/demo.py

test: $(DEV_INSTALLED) ## check format, lint, types and import contracts, run every test
	$(PY) -m ruff format --check .
	$(PY) -m ruff check .
	@$(MAKE) --no-print-directory -j 2 check-types check-tests

# Side by side: the types are checked while the first tests wait for Ray to start.
check-types: $(DEV_INSTALLED)
	$(PY) -m mypy
	$(VENV)/bin/lint-imports

# Two processes share the tests, see tests/conftest.py; `.venv/bin/python -m pytest` runs them one after the other.
check-tests: $(DEV_INSTALLED)
	$(PY) -m pytest -n 2 --no-loadscope-reorder

faults: $(DEV_INSTALLED) ## kill, damage and starve nights in every way of tests/faults, and count what is lost (an hour; FAULTS='--tries 3' for less)
	@$(PY) -m tests.faults $(FAULTS)

format: $(DEV_INSTALLED) ## format the code and mend what the linter can
	$(PY) -m ruff format .
	$(PY) -m ruff check --fix .

wheel: $(INSTALLED) ## build a wheel into build/, for people without a checkout
	$(PIP) wheel --no-deps --wheel-dir build .

docs: $(DEV_INSTALLED) ## write the generated pages and build the documentation site into build/site
	$(PY) docs/generator
	NO_MKDOCS_2_WARNING=1 $(PY) -m mkdocs build --strict

docs-serve: $(DEV_INSTALLED) ## show the documentation site at http://127.0.0.1:8001 while you write
	$(PY) docs/generator
	NO_MKDOCS_2_WARNING=1 $(PY) -m mkdocs serve --dev-addr 127.0.0.1:8001

lock: $(DEV_INSTALLED) ## pin what .venv holds now (a build's local part, as in +cpu, is left out)
	@$(PY) -m pip freeze --exclude-editable > $(PINS).new
	@sed -E 's/\+[a-z0-9.]+$$//' $(PINS).new > $(PINS) && rm $(PINS).new
	@touch $(INSTALLED) $(DEV_INSTALLED)
	@echo "$$(wc -l < $(PINS)) pins in $(PINS)"

bench: bench-quality bench-speed ## compare quality and speed with other libraries (hours; BENCH='--quick' checks that everything runs)

bench-peers: $(PEERS_INSTALLED) ## set up .venv-peers with the libraries that the benchmarks compare with

bench-quality: $(INSTALLED) $(PEERS_INSTALLED) ## quality of our lists and the peers' lists on the same splits
	@$(PY) tests/benchmarks/quality.py $(BENCH)

bench-ablation: $(INSTALLED) ## quality of our lists with one part taken out at a time
	@$(PY) tests/benchmarks/ablation.py $(BENCH)

bench-speed: $(INSTALLED) $(PEERS_INSTALLED) ## our speed and the peers' speed at the same work
	@$(PY) tests/benchmarks/speed.py $(BENCH)

bench-serve: $(INSTALLED) ## the live service under load: latency, throughput, overload, swaps, a killed replica (needs wrk)
	@$(PY) tests/benchmarks/serve.py $(BENCH)

clean: ## delete .venv, the benchmarks' peers, the demo and all caches (results of `make bench` stay in bench/)
	rm -rf $(VENV) $(PEERS) demo build *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(PY):
	@set -e; \
	ours='import sys; sys.exit(sys.version_info[:2] not in ((3, 11), (3, 12)))'; \
	for python in $(if $(PYTHON),"$(PYTHON)",python3.11 python3.12 python3); do \
	    if "$$python" -c "$$ours" 2>/dev/null; then \
	        echo "$(VENV): made with $$("$$python" --version)"; \
	        exec "$$python" -m venv $(VENV); \
	    fi; \
	done; \
	echo "error: needs Python 3.11 or 3.12, not $(if $(PYTHON),$(PYTHON),$$(python3 --version 2>&1)); install one, or name it: make install PYTHON=/path/to/python3.11" >&2; \
	exit 2

# The stamps: set up again only when the dependencies or their pins change.
$(INSTALLED): pyproject.toml $(PINS) | $(PY)
	@echo "$(VENV): installing the pinned dependencies (a few minutes the first time) …"
	@$(PIP) install -c $(PINS) -e .
	@touch $@

$(DEV_INSTALLED): pyproject.toml $(PINS) | $(PY)
	@echo "$(VENV): installing the pinned dependencies and the test tools (a few minutes the first time) …"
	@$(PIP) install -c $(PINS) -e '.[dev]'
	@touch $(INSTALLED) $@

# The peers' environments use our interpreter. torch is installed first and pinned, or the peers would choose its version.
$(PEERS_INSTALLED): $(PEER_PINS) | $(PY)
	@echo "$(PEERS): installing the benchmarks' peers (a few minutes) …"
	@for part in rectools field; do \
	    $(PY) -m venv --clear $(PEERS)/$$part && \
	    $(PEERS)/$$part/bin/$(PEERS_PIP) torch numpy || exit 1; \
	done
	@$(PEERS)/rectools/bin/$(PEERS_PIP) 'rectools[torch]' pyarrow psutil
	@$(PEERS)/field/bin/$(PEERS_PIP) implicit lenskit faiss-cpu sentence-transformers ray pyarrow psutil
	@touch $@
