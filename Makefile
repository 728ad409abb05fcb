# Two commands carry the project: `make report` and `make test`. Both create .venv when it is missing.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt
PACKAGING := setup.cfg pyproject.toml constraints.txt

.PHONY: report test figures bench lint clean

report: $(VENV)/.installed
	$(BIN)/odekit report

figures: $(VENV)/.installed
	$(BIN)/odekit figures

test: $(VENV)/.installed-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --dist worksteal

bench: $(VENV)/.installed-test
	OMP_NUM_THREADS=1 $(BIN)/python tests/benchmarks/core.py
	OMP_NUM_THREADS=1 $(BIN)/python tests/benchmarks/algebra.py
	OMP_NUM_THREADS=1 $(BIN)/python tests/benchmarks/matrix.py

lint: $(VENV)/.installed-test
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: $(PACKAGING) | $(VENV)/bin/python
	$(INSTALL) --editable .
	touch $@

$(VENV)/.installed-test: $(PACKAGING) | $(VENV)/bin/python
	$(INSTALL) --editable '.[test]'
	$(INSTALL) --no-deps k-diffusion  # its sampling module alone is used, without the stack the package pulls
	touch $@ $(VENV)/.installed

clean:
	rm -rf $(VENV) report figures build *.egg-info
