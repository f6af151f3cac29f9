# Two commands matter: `make demo` and `make test`. Everything lives in .venv; nothing outside it is touched.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt
SENTENCE := I hammered the nail into the leaking ship

WEB := src/sociogram/studio/web
STATIC := src/sociogram/studio/static
NPM := $(shell command -v npm)

.PHONY: demo test lint types layout unit page web zoo bench experiments docs coverage clean

demo: $(VENV)/.installed page
	@$(BIN)/sociogram look "$(SENTENCE)" $(if $(NPM),--html flock.html)

test: lint types layout web unit

# The page of `--html`: built once from TypeScript. Without Node all else works, and says so.
ifdef NPM
page: $(STATIC)/page.js
web: $(STATIC)/page.js
	npm --prefix $(WEB) run --silent check
	npm --prefix $(WEB) run --silent test
else
page web:
	@echo "npm not found: skipping the page (sociogram look --html, sg.to_html) and its tests. Node 20 or newer brings npm."
endif

$(WEB)/node_modules/.installed: $(WEB)/package-lock.json
	npm --prefix $(WEB) ci --no-audit --no-fund --silent
	@touch $@

$(STATIC)/page.js: $(WEB)/node_modules/.installed $(WEB)/build.mjs $(shell find $(WEB)/src -type f 2>/dev/null)
	npm --prefix $(WEB) run --silent build
	@touch $@

lint: $(VENV)/.tools
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

types: $(VENV)/.tools
	$(BIN)/mypy

layout: $(VENV)/.tools
	$(BIN)/lint-imports

# Files of tests are dealt out to as many processes as there are cores (four at most: each may hold a real model).
unit: $(VENV)/.tools
	$(BIN)/python -m pytest -n auto --maxprocesses 4 --dist loadfile

# The whole zoo: every config entry of transformers that builds (minutes, not part of `make test`).
zoo: $(VENV)/.tools
	$(BIN)/python -m pytest -m zoo tests/zoo

coverage: $(VENV)/.tools
	HF_HUB_OFFLINE=1 $(BIN)/python -m tests.zoo.coverage

bench: $(VENV)/.tools
	$(BIN)/python -m benchmarks

# Full runs of the experiments (minutes each): experiments/results and docs/experiments.md.
experiments: $(VENV)/.tools
	$(BIN)/python -m experiments

docs: $(VENV)/.docs
	$(BIN)/mkdocs build --strict --quiet

# torch first and by its exact version: on machines with a CPU wheel at hand this takes it, elsewhere it costs nothing.
$(VENV)/.installed: pyproject.toml constraints.txt
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(PIP) --upgrade pip
	@$(PIP) $$(grep '^torch==' constraints.txt)
	@$(PIP) -e .
	@touch $@

$(VENV)/.tools: $(VENV)/.installed
	@$(PIP) -e '.[test]'
	@touch $@

$(VENV)/.docs: $(VENV)/.installed
	@$(PIP) -e '.[docs]'
	@touch $@

clean:
	rm -rf $(VENV) build dist site
