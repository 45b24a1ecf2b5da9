# Everything sets itself up: a fresh machine needs Python 3.10 or later, and make.
PYTHON ?= python3
PLAIN := .venv
TORCH := .venv-torch
CHECK := .venv-check
FUZZ := .venv-fuzz

.PHONY: demo test test-plain test-torch check bench fuzz screenshots clean

# The main job, with nothing but ptfile installed.
demo: .venv-demo/ready
	.venv-demo/bin/python examples/demo.py

# All tests: everything but parity without PyTorch, then everything with it.
test: test-plain test-torch

test-plain: $(PLAIN)/ready
	$(PLAIN)/bin/python -m pytest --ignore tests/parity

test-torch: $(TORCH)/ready
	PTFILE_PARITY=required $(TORCH)/bin/python -m pytest

check: $(CHECK)/ready
	$(CHECK)/bin/ruff check .
	$(CHECK)/bin/ruff format --check .
	$(CHECK)/bin/mypy
	$(CHECK)/bin/lint-imports

# The pictures of docs/command-line.md.
screenshots: $(PLAIN)/ready
	$(PLAIN)/bin/python docs/screenshots.py

bench: $(TORCH)/ready
	$(TORCH)/bin/python bench/run.py $(if $(QUICK),--quick) $(if $(JSON),--json $(JSON))

# All targets for about a minute, or one: make fuzz TARGET=load SECONDS=600. What they are is in fuzz/README.md.
ifeq ($(TARGET),differential)
fuzz: $(TORCH)/ready
	$(TORCH)/bin/python -m fuzz.differential $(if $(SECONDS),--seconds $(SECONDS)) $(if $(WRITE),--write)
else
fuzz: $(FUZZ)/ready
	$(FUZZ)/bin/python -m fuzz.run $(if $(TARGET),--target $(TARGET)) $(if $(SECONDS),--seconds $(SECONDS))
endif

.venv-demo/ready: pyproject.toml
	$(PYTHON) -m venv .venv-demo
	.venv-demo/bin/python -m pip install --quiet --editable '.[cli]'
	touch $@

$(PLAIN)/ready: pyproject.toml
	$(PYTHON) -m venv $(PLAIN)
	$(PLAIN)/bin/python -m pip install --quiet --editable '.[test]'
	touch $@

$(TORCH)/ready: pyproject.toml
	$(PYTHON) -m venv $(TORCH)
	$(TORCH)/bin/python -m pip install --quiet --editable '.[test]' torch==2.13.0
	touch $@

$(CHECK)/ready: pyproject.toml
	$(PYTHON) -m venv $(CHECK)
	$(CHECK)/bin/python -m pip install --quiet --editable '.[test,check]'
	touch $@

$(FUZZ)/ready: pyproject.toml
	$(PYTHON) -m venv $(FUZZ)
	$(FUZZ)/bin/python -m pip install --quiet --editable '.[fuzz]'
	touch $@

clean:
	rm -rf .venv .venv-torch .venv-check .venv-demo .venv-fuzz .fuzz .hypothesis .mypy_cache .ruff_cache .pytest_cache
