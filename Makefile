# Each target does all of its own set-up: a fresh machine needs Python >= 3.11 (with pip and venv) and make.
PYTHON ?= python3
VENV   ?= .venv
EXTRAS ?= test,lint
JOBS   ?= 2
BIN    := $(VENV)/bin
READY  := $(VENV)/.ready
TOOLS  := $(VENV)/.tools
SITE   := $(VENV)/.docs
# Bytecode is made when a module is first imported (most of what is installed never is), and kept, whatever the
# environment says: tests start many processes, each of which would make it again, three seconds of Python.
unexport PYTHONDONTWRITEBYTECODE
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile -c constraints.txt

.PHONY: demo test test-all lint style pyright types strict docs clean
.DEFAULT_GOAL := demo

demo: $(READY)            ## train a small U-Net on built-in data and draw what it learnt
	$(BIN)/jaxseg demo --workdir runs/demo

test: $(TOOLS)            ## the test suite, less what is marked slow
	$(BIN)/python -m pytest -n $(JOBS) --dist worksteal

test-all: $(TOOLS)        ## all of it, more than twice as long: before a release, and after a change to what its slow tests test
	$(BIN)/python -m pytest -n $(JOBS) --dist worksteal -m ""

lint: style types strict  ## style and types (make -j2 lint: side by side)

style: $(TOOLS)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

pyright: $(TOOLS)  # fetches what it is made of, which two at once must not
	@$(BIN)/pyright --version

types: pyright
	$(BIN)/pyright --pythonpath $(BIN)/python

strict: pyright
	$(BIN)/pyright -p pyright-strict.json --pythonpath $(BIN)/python

docs: $(SITE)            ## the documentation, in site/ (to search it: python3 -m http.server --directory site)
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict

$(BIN)/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "jaxseg needs Python 3.11 or newer; name one: make PYTHON=python3.12")'
	$(PYTHON) -m venv $(VENV)

$(READY): pyproject.toml constraints.txt | $(BIN)/python
	$(INSTALL) -e .
	touch $@

$(TOOLS): pyproject.toml constraints.txt | $(BIN)/python
	$(INSTALL) -e '.[$(EXTRAS)]'
	touch $(READY) $@

$(SITE): $(READY)
	$(INSTALL) -e '.[docs]'
	touch $@

clean:
	rm -rf $(VENV) runs site
