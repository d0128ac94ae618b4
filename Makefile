# Every install takes the versions pinned in constraints.txt, so that it is the same next year.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
# The environment of `make lowest`; KEEP="torch" leaves PyTorch at its pin, whose build for the CPU is smaller.
LOWEST := .venv-lowest
KEEP ?=
EXTRAS := mnist-5k,faces,heic,tables,onnx,umap,sklearn,tensorboard,bench,browser,docs,dev
# Tests that `make lowest` leaves out: long trainings, and tests of the repository rather than the package.
SLOW := tests/battery/ tests/benchmarks/ tests/docs/ tests/faults/ tests/hostile/
# Tests run in as many processes as there are cores, with one thread each.
PARALLEL := --numprocesses logical --dist worksteal

.DEFAULT_GOAL := help
.PHONY: help install demo page pictures pictures-dogpeople pictures-story bench gpu compiled soak faults hostile battery copies test pytest lowest wheel docs lint types format clean

help:  ## show this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 20

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(None if v >= (3, 11) else f"elboroom needs Python 3.11 or newer, and $(PYTHON) is {v[0]}.{v[1]}; try make PYTHON=python3.11")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet -c constraints.txt -e ".[dev,mnist-5k,faces,tables,onnx,tensorboard,browser]"
	@touch $@

install: $(READY)  ## make .venv with elboroom and its pinned dependencies

demo: $(READY)  ## train on 5,000 digits and draw every figure (two minutes)
	$(BIN)/elboroom train mnist-5k --preset demo --out runs/demo --overwrite

pictures: $(READY)  ## redraw the README's pictures
	$(BIN)/elboroom train mnist-5k --preset demo --out runs/pictures --overwrite
	mkdir -p docs/pictures
	cd runs/pictures/figures && cp manifold.png latent.png reconstructions.png loss.png morph.gif ../../../docs/pictures/

pictures-dogpeople: $(READY)  ## redraw the README's people and dogs (half an hour or more)
	$(BIN)/elboroom train $(ELBOROOM_DATA)/dogpeople_rgb.npz --preset dogpeople --out runs/dogpeople --overwrite
	$(BIN)/elboroom fit-prior runs/dogpeople
	$(BIN)/elboroom evaluate runs/dogpeople --measures pictures --prior fitted --num-samples 0
	$(BIN)/python docs/draw_dogpeople.py runs/dogpeople

pictures-story: $(READY)  ## redraw the figures of docs/story.md, from ELBOROOM_DATA (minutes)
	OMP_NUM_THREADS=1 $(BIN)/python docs/draw_story.py

bench: $(READY)  ## compare with other programs (minutes to an hour)
	$(BIN)/python -m pip install --quiet -c constraints.txt -e ".[bench]"
	$(BIN)/python -m benchmarks.engine --out benchmarks/results/engine.json --docs docs/performance.md
	$(BIN)/python benchmarks/streaming.py rate --out benchmarks/results/streaming.json
	$(BIN)/python benchmarks/processes.py --out benchmarks/results/processes.json
	$(BIN)/python benchmarks/seeds.py --out benchmarks/results/seeds.json
	$(BIN)/python benchmarks/haskell_parity.py --out benchmarks/results/haskell_parity.json
	$(BIN)/python benchmarks/mnist_against_pythae.py --out benchmarks/results/mnist_against_pythae.json

gpu: $(READY)  ## test and measure everything on a GPU (ten minutes)
	$(BIN)/python -m benchmarks.gpu --out benchmarks/results/gpu.json

compiled: $(READY)  ## test the compiled training step, with the compiler (minutes)
	ELBOROOM_COMPILED=1 OMP_NUM_THREADS=1 $(BIN)/python -m pytest tests/training/test_compiled.py -k 'inductor or recipes'

soak: $(READY)  ## watch memory over millions of training steps (hours)
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/soak.py --out benchmarks/results/soak.json

faults: $(READY)  ## long tests of crashes and full disks (two minutes)
	ELBOROOM_FAULTS=long ELBOROOM_TEST_PROCESSES=new $(BIN)/python -m pytest tests/faults

hostile: $(READY)  ## long tests of invalid files and arguments (minutes)
	OMP_NUM_THREADS=1 ELBOROOM_HOSTILE=long $(BIN)/python -m pytest tests/hostile

battery: $(READY)  ## train recipes × networks × likelihoods, export every network (20 minutes)
	OMP_NUM_THREADS=1 ELBOROOM_BATTERY=all ELBOROOM_EXPORTS=all $(BIN)/python -m pytest tests/battery tests/exports

copies: $(READY)  ## list near-copies of code, longest first
	$(BIN)/python tests/core/near_copies.py

test: lint $(READY)  ## run lint, format, type checks, tests and doctests
	+$(MAKE) --no-print-directory --jobs 2 types pytest

# Beside the type checks, which keep one core busy for the first minute.
pytest: $(READY)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest $(PARALLEL)

lowest:  ## try the lowest versions allowed; smaller with KEEP=torch
	$(PYTHON) -m venv --clear $(LOWEST)
	$(PYTHON) tests/install/lowest.py --keep $(KEEP) > $(LOWEST)/lowest.txt
	$(LOWEST)/bin/python -m pip install --quiet -c $(LOWEST)/lowest.txt ".[$(EXTRAS)]"
	$(LOWEST)/bin/elboroom train mnist-5k --epochs 2 --hidden 64 --out $(LOWEST)/run
	$(LOWEST)/bin/elboroom evaluate $(LOWEST)/run
	$(LOWEST)/bin/elboroom morph $(LOWEST)/run mnist-5k:0 mnist-5k:1 --out $(LOWEST)/morph.png
	OMP_NUM_THREADS=1 $(LOWEST)/bin/python -m pytest $(PARALLEL) -o filterwarnings=default $(filter-out $(SLOW),$(wildcard tests/*/))

wheel: $(READY)  ## build wheel and sdist, and try them in a clean environment; FRESH=1 downloads the newest dependencies
	$(BIN)/python tests/install/wheel.py --out dist $(if $(FRESH),--fresh)

docs: $(READY)  ## build the documentation and run tutorials (three minutes)
	$(BIN)/python -m pip install --quiet -c constraints.txt -e ".[docs]"
	$(BIN)/python -m sphinx -b html -W --keep-going --nitpicky docs docs/_build/html

page:  ## build the pages from web/ (needs Node)
	cd web && npm ci --no-audit --no-fund && npm run check && npm run build

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(READY)
	$(BIN)/mypy

format: $(READY)  ## fix lint errors and format with ruff
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:  ## remove environments and caches; runs are kept
	rm -rf $(VENV) $(LOWEST) .mypy_cache .ruff_cache .pytest_cache
