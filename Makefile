VENV   ?= .venv
PYTHON ?= python3
ARGS   ?=

BIN := $(VENV)/bin

.PHONY: install demo cluster-demo test night lint bench chaos clean

install: $(VENV)/.installed-dev

demo: $(VENV)/.installed-demo
	$(BIN)/python -m pipelines.demo $(ARGS)

# A night at the archive: S3 server, Prefect server, Ray nodes and a Prefect worker of this machine colour six clips from s3:// to s3://, twice.
cluster-demo: $(VENV)/.installed-cluster-demo
	$(BIN)/python -m pipelines.cluster_demo $(ARGS)

# Two files of tests at a time, each with services of its own: most of them wait for processes to start. Those come first, by name.
test: lint
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

# Whole nights with every service: a scheduled run, a worker that dies, a failing store, kills at random; and plans against what happens.
night: install
	$(BIN)/python -m pytest -m night

lint: install
	$(BIN)/ruff check .
	$(BIN)/mypy

# Several minutes of kills at random; the table at the end says what it cost.
chaos: install
	$(BIN)/python -m tests.faults.chaos $(ARGS)

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
