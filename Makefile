VENV   ?= .venv
PYTHON ?= python3
ARGS   ?=

BIN := $(VENV)/bin

.PHONY: install demo test lint bench clean

install: $(VENV)/.installed-dev

demo: $(VENV)/.installed-demo
	$(BIN)/python -m pipelines.demo $(ARGS)

# Two files of tests at a time, each with services of its own: most of them wait for processes to start.
test: lint
	$(BIN)/python -m pytest -n 2 --dist loadfile

lint: install
	$(BIN)/ruff check .
	$(BIN)/mypy

bench: install
	$(BIN)/python -m dvcp.bench $(ARGS)

clean:
	rm -rf build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache
	find dvcp pipelines tests -name __pycache__ -prune -exec rm -rf {} +

$(BIN)/pip:
	$(PYTHON) -m venv $(VENV)

# One stamp for each extra. torch goes first and alone, at its pin: of its builds (CPU, CUDA) the one this machine's pip prefers, and nothing later
# replaces it.
$(VENV)/.installed-%: pyproject.toml constraints.txt | $(BIN)/pip
	$(BIN)/python -m pip install --quiet "$$(grep '^torch==' constraints.txt)"
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[$*]'
	touch $@
