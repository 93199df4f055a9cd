# `make demo` measures a real model on this machine, `make quick` is for each change, `make test` is the gate.
# They need Python 3.11 or newer, and make; everything else goes into .venv.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check

# Hundreds of tests start this package: compiled once, not each time.
export PYTHONDONTWRITEBYTECODE =

.PHONY: demo quick brief test lint docs unit model coverage nightly aa clean

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.base: $(BIN)/python pyproject.toml
	$(PIP) --editable .
	touch $@

$(VENV)/.dev: $(BIN)/python pyproject.toml
	$(PIP) --editable '.[dev]'
	touch $@ $(VENV)/.base

$(VENV)/.all: $(BIN)/python pyproject.toml
	$(PIP) --editable '.[convert,llamacpp,load,rag,ray,serve,vision,dev]'
	touch $@ $(VENV)/.base $(VENV)/.dev

demo: $(VENV)/.base
	$(BIN)/llmbench demo

# What is worth doing before each commit, without a model and without PyTorch: less than a minute on two cores.
quick: $(VENV)/.dev
	$(MAKE) -j2 lint brief

brief: $(VENV)/.dev
	$(BIN)/pytest -q -m 'not model and not convert and not rag and not slow and not nightly' -n 3 --dist worksteal

# Everything is installed at once; make lint alone does without PyTorch. Linters and pages have a core each.
test: $(VENV)/.all
	$(MAKE) -j2 lint docs
	$(MAKE) unit
	$(MAKE) model

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# The site is read offline: a broken link or anchor is an error, and so is a script, style or font of another host.
docs: $(VENV)/.dev
	$(BIN)/sphinx-build -q -W --keep-going -E -d build/doctrees docs build/docs
	! grep -rE '(src|href)="(https?:)?//[^"]*\.(css|js|woff2?|svg|png)|url\(["'"'"']?(https?:)?//' build/docs --include='*.html' --include='*.css'

# Two cores: unit tests side by side, three at once since many wait; of real models those whose times are looked at run
# one after the other.
unit: $(VENV)/.all
	$(BIN)/pytest -m 'not model and not nightly' -n 3 --dist worksteal

model: $(VENV)/.all
	$(BIN)/pytest -m 'model and not alone and not nightly' -p no:randomly -n 2 --dist worksteal
	$(BIN)/pytest -m 'alone and not nightly' -p no:randomly

# Traced, tests take twice as long, so the gate does without. What only a real model runs, engines' adapters above all,
# is not traced: that is most of the missing tenth.
coverage: $(VENV)/.all
	$(BIN)/coverage erase
	$(BIN)/pytest -m 'not model and not nightly' -n 2 --dist worksteal --cov --cov-report=
	$(BIN)/coverage report --fail-under=90

# What is too long for the gate: servers, databases and models under load for minutes. The log has what each test takes,
# and where one is that takes half an hour.
nightly: $(VENV)/.all
	$(BIN)/pytest -v -m nightly -p no:randomly --durations=0 -o faulthandler_timeout=1800

# Nightly: twenty comparisons of a real model with itself, some twenty minutes on a quiet machine.
aa: $(VENV)/.base
	$(BIN)/python benchmarks/aa.py

clean:
	rm -rf $(VENV) build dist *.egg-info
