# make quickstart   install, then run, forecast, score and report a real study on this machine
# make test         install, then run every test
# make lowest       the quick tests with the lowest versions that are allowed
# make mutants      plant faults in the code: does a test fail?

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: venv system quickstart test lowest lint rooms mutants bench pictures clean

venv: system $(VENV)/installed

# Procgen's engine needs one library that pip does not bring.
system:
	@ldconfig -p | grep -q libQt5Gui.so.5 || { [ "$$(id -u)" = 0 ] && apt-get update -qq \
	    && apt-get install -y -qq --no-install-recommends libqt5gui5 >/dev/null; } \
	    || echo "Procgen needs a system library: sudo apt-get install libqt5gui5" >&2

# Reinstalled when the dependencies change; the packages themselves are installed in place and need no reinstall.
$(VENV)/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	touch $@

quickstart: venv
	$(BIN)/unsl run quickstart
	$(BIN)/unsl check quickstart
	$(BIN)/unsl report quickstart

# A file's tests stay in one process, since they share what is dear to start.
test: venv
	$(BIN)/python -m pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder

# The quick tests with the lowest versions that pyproject.toml allows, in an environment of their own.
LOWEST := build/lowest
QUICK := tests/fitting tests/trainers tests/pipeline/study tests/pipeline/store tests/pipeline/plan \
    tests/pipeline/analysis tests/pipeline/forecasts tests/pipeline/tracking tests/pipeline/run/test_ray.py
lowest: system
	$(PYTHON) -m venv $(LOWEST)
	$(LOWEST)/bin/python -m pip install --quiet --disable-pip-version-check uv
	$(LOWEST)/bin/uv pip compile --quiet --resolution lowest-direct --extra dev --extra gcs pyproject.toml \
	    --output-file $(LOWEST)/constraints.txt
	$(LOWEST)/bin/python -m pip install --quiet --disable-pip-version-check -c $(LOWEST)/constraints.txt -e '.[dev,gcs]'
	$(LOWEST)/bin/python -m pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder $(QUICK)

lint: venv
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

# The README's pictures, from the quickstart's report, in Chromium.
pictures: quickstart
	$(BIN)/python tests/support/pictures.py runs/quickstart/report.html experiments

# The plan of the house from the code's own imports.
rooms: venv
	$(BIN)/python tests/support/rooms.py

# Plants faults in the code, one at a time: does a test fail?
mutants: venv
	$(BIN)/python tests/mutants.py

bench: venv
	for script in benchmarks/*.py; do $(BIN)/python $$script || exit 1; done

clean:
	rm -rf $(VENV) runs
