# Each target sets up what it needs: Python 3.11 or newer, make and git are enough (and, the first time, the network).

PYTHON3 ?= python3
BIN := .venv/bin
# Four processes share the tests, file by file: most of a test's time is waiting for the programs under test.
SHARED := -n 4 --dist loadfile

.PHONY: help demo lab test test-long test-bare lint format lock wheel clean .venv

help:
	@echo 'make demo       two nodes on this machine, walked through the main job; nothing is left behind'
	@echo 'make lab        two machines with a real systemd between a client and a server: all its tests, with their'
	@echo '                figures; KEEP=1: no test, but the pair for you, until Ctrl-C (needs root)'
	@echo 'make test       every check: style, types, tests; as the continuous integration runs it'
	@echo 'make test-long  also the tests that take minutes'
	@echo 'make test-bare  demo and test on a bare Debian, as root and as an ordinary user (needs root)'
	@echo 'make lint       style and types alone'
	@echo 'make format     bring the source into its form'
	@echo 'make lock       choose library versions anew'
	@echo 'make wheel      what is installed elsewhere, in dist/'
	@echo 'make clean      remove all that make has made here'

demo: .venv
	@$(BIN)/syncsrv demo

lab: .venv
ifdef KEEP
	@exec $(BIN)/python -m tests.lab.keep
else
	$(BIN)/pytest tests/lab -m '' -o session_timeout= $(PYTEST_ARGS)
endif

test: lint
	$(BIN)/pytest $(SHARED) $(PYTEST_ARGS)

test-long: lint
	$(BIN)/pytest $(SHARED) -m '' --hypothesis-profile=long -o session_timeout= $(PYTEST_ARGS)

test-bare:
	.ci/bare

lint: .venv
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

format: .venv
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

lock:
	$(PYTHON3) .ci/bootstrap.py uv lock --upgrade -p $(PYTHON3)

wheel:
	$(PYTHON3) .ci/bootstrap.py uv build --wheel --clear -p $(PYTHON3)

clean:
	rm -rf .venv dist .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

.venv: .venv/.made

.venv/.made: pyproject.toml uv.lock .ci/bootstrap.py
	$(PYTHON3) .ci/bootstrap.py
	@touch $@
