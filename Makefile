# make demo | test | test-quick | lint | bench | bench-data | bench-training | gallery     Everything sets itself up first.
VENV := .venv
BIN := $(VENV)/bin
export RAY_USAGE_STATS_ENABLED := 0
export MLFLOW_DISABLE_TELEMETRY := true

.PHONY: demo test test-quick lint bench bench-data bench-training gallery setup clean

setup: $(VENV)/.ready

$(VENV)/.ready: setup.sh constraints.txt pyproject.toml $(wildcard platform/interplay/native/*.[ch])
	./setup.sh $(VENV)
	touch $@

demo: setup
	$(BIN)/python examples/demo.py

# what starts clusters and kills them has the machine to itself; the rest shares it
test: setup
	$(BIN)/python -m pytest -m "not gpu" -n 2 --dist loadscope --ignore tests/cluster --ignore tests/faults
	$(BIN)/python -m pytest -m "not gpu" --durations 12 tests/cluster tests/faults

test-quick: setup
	$(BIN)/python -m pytest -m "not gpu and not slow and not faults and not browser" -n 2 --dist loadscope -q

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: setup
	$(BIN)/python tests/bench/search_overhead.py

bench-data: setup
	$(BIN)/python -m tests.bench.data

bench-training: setup
	$(BIN)/python tests/bench/training.py
	$(BIN)/python tests/bench/training.py --mix

gallery: setup
	$(BIN)/python examples/gallery.py

clean:
	rm -rf $(VENV) runs
