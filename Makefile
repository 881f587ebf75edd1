# Two commands do everything on a machine that has Python 3.11–3.13, make and a network: `make demo` and `make test`.
FITS := import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do $$p -c "$(FITS)" 2>/dev/null && echo $$p && break; done)
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: demo test lint format bench soak pictures lock clean

demo: $(READY)
	$(BIN)/insitu demo

test: $(READY)
	$(BIN)/pytest -n 2 --dist worksteal

lint: $(READY)
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

format: $(READY)
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

bench: $(READY)
	$(BIN)/python -m bench gates
	$(BIN)/python -m bench gates --clients 8
	$(BIN)/python -m bench flat

# An hour or two; what has passed at this commit is not run again. Figures are appended to .insitu-soak/figures.jsonl.
soak: $(READY)
	$(BIN)/pytest tests/journey/test_soak.py tests/insitu/test_schemathesis.py tests/insitu/test_hanging.py tests/browser -m soak

# The lock holds versions and hashes only: whoever installs chooses the index.
# The pictures of docs/, taken while the story of a newcomer is played in a browser.
pictures: $(READY)
	INSITU_PICTURES=1 $(BIN)/pytest tests/browser/test_story.py

lock: $(READY)
	$(BIN)/python -m pip install --quiet uv
	$(BIN)/uv pip compile pyproject.toml --all-extras --universal --python-version 3.11 --generate-hashes \
	  --no-header --no-emit-index-url --no-annotate --quiet --output-file requirements.lock

$(READY): requirements.lock pyproject.toml
	@"$(PYTHON)" -c "$(FITS)" 2>/dev/null || { echo 'insitu needs Python 3.11, 3.12 or 3.13, and found none. Say where one is: make PYTHON=/path/to/python3.12'; exit 1; }
	"$(PYTHON)" -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --requirement requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $(READY)

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis
