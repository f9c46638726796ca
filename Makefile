# `make bench` and `make test` are all that a fresh clone needs: each sets up .venv first, with uv where it is there, else with pip.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: bench test lint unit clean

bench: $(STAMP)
	$(BIN)/mshare-bench run $(ARGS)

test: lint unit

lint: $(STAMP)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

unit: $(STAMP)
	$(BIN)/pytest $(ARGS)

$(STAMP): pyproject.toml constraints.txt setup.py
	@if command -v uv >/dev/null; then \
	  test -x $(BIN)/python || uv venv --quiet --python $(PYTHON) $(VENV); \
	  uv pip install --quiet --python $(BIN)/python --constraint constraints.txt --editable '.[dev,notebooks,apps]'; \
	else \
	  test -x $(BIN)/python || $(PYTHON) -m venv $(VENV); \
	  $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev,notebooks,apps]'; \
	fi
	@touch $@

clean:
	rm -rf $(VENV) build dist *.egg-info mshare_bench/real/agent/bin artefacts
