# Two commands do everything on a fresh machine: `make bench` and `make test`.
PYTHON ?= python3
PRESET ?= quick
ARGS ?=

ifeq ($(OS),Windows_NT)
BIN := .venv/Scripts
else
BIN := .venv/bin
endif
INSTALLED := .venv/installed

.PHONY: bench answer test test-slow labels soak cluster floors lint schema docs clean

bench: $(INSTALLED)  ## measure the default preset, then draw the report
	device=$$($(BIN)/python -m bsr.machine) && \
	$(BIN)/python -m pytest benchmarks --bsr-preset $(PRESET) \
		--benchmark-json=benchmarks/results/$$device-$(PRESET).json $(ARGS) && \
	$(BIN)/python -m reports benchmarks/results/$$device-$(PRESET).json

answer: $(INSTALLED)  ## which batch size reaches an error soonest here, half an hour; ARGS: python -m bsr.answer --help
	$(BIN)/python -m bsr.answer $(ARGS)

test: $(INSTALLED)  ## the test suite, but for the slow ones
	$(BIN)/python -m pytest --numprocesses 2 --dist worksteal $(ARGS)

test-slow: $(INSTALLED)  ## the tests that start interpreters anew, simulate, or read all recordings; six to nine minutes
	$(BIN)/python -m pytest -m slow --numprocesses 2 --dist worksteal $(ARGS)

labels: $(INSTALLED)  ## the label checks alone, seconds
	$(BIN)/python -m pytest -m labels $(ARGS)

soak: $(INSTALLED)  ## fault injection at many random moments, and 2,000 runs; prints what each costs
	$(BIN)/python -m pytest -m soak --capture=no $(ARGS)

cluster: $(INSTALLED)  ## SLURM, ssh to a second host, a cut link and TLS, all real; as root; ARGS names a part
	@$(BIN)/python tests/compute/cluster/make_cluster.py $(ARGS)

floors:  ## the label checks, a smoke session and its report on the oldest versions that are allowed
	$(PYTHON) -m venv .floors
	.floors/bin/python -m pip install --quiet --constraint floors.txt --editable .
	.floors/bin/python -m pytest tests/test_tasks.py tests/test_study_tasks.py tests/probes/test_labels.py
	.floors/bin/python -m pytest benchmarks --bsr-preset smoke --benchmark-json=.floors/smoke.json
	.floors/bin/python -m reports .floors/smoke.json

lint: $(INSTALLED)  ## style, types and import contracts
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

schema: $(INSTALLED)  ## the JSON Schema of a recording, from the types that write it
	$(BIN)/python docs/make_schema.py docs/recording.schema.json

docs: $(INSTALLED)  ## pages of the API, from its docstrings, into docs/api
	$(BIN)/python docs/make_api.py docs/api

$(INSTALLED): pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[dev,dask]"
	$(PYTHON) -c "open('$(INSTALLED)', 'w').close()"

clean:
	$(PYTHON) -c "import shutil; [shutil.rmtree(name, ignore_errors=True) for name in ('.venv', '.floors')]"
