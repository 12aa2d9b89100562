# Everything runs in .venv, which is made on first use with nothing but a Python. Another one:
#   make test PYTHON=/path/to/python3.12
# 3.11 comes first because CPU builds of torch are the easiest to have for it.
PYTHON ?= $(shell for name in python3.11 python3.12 python3.13 python3.10 python3; do \
    "$$name" -c 'import ensurepip, sys; sys.exit(not (3, 10) <= sys.version_info[:2] < (3, 14))' 2>/dev/null \
    && echo "$$name" && break; done)

BIN := .venv/bin
PIP := $(BIN)/python -m pip --quiet --disable-pip-version-check

# The CPU build says so in its version, except on macOS where there is no other.
TORCH := torch==2.13.0$(if $(filter Darwin,$(shell uname -s)),,+cpu)
TORCH_INDEX := https://download.pytorch.org/whl/cpu

.DEFAULT_GOAL := help
.PHONY: help demo test check format clean

help:
	@echo "make demo    segment a synthetic image and say where to look"
	@echo "make test    run all tests"
	@echo "make check   lint, check formatting, types and the order of imports"
	@echo "make format  format the code"
	@echo "make clean   remove .venv and everything that was made here"

demo: .venv/default.stamp
	$(BIN)/softcord demo

# One thread per numerical library: tests are small, and threads that wait for one another are slower.
test: .venv/dev.stamp
	OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 $(BIN)/python -m pytest $(PYTEST_ARGS)

check: .venv/dev.stamp
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

format: .venv/dev.stamp
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

clean:
	rm -rf .venv build dist demo-out .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# ---- environments: the default package; then what developers need

.venv/bin/python:
	@test -n "$(PYTHON)" || { echo "No Python 3.10 to 3.13 with the venv module was found. On Debian or Ubuntu: apt-get install python3-venv"; exit 1; }
	$(PYTHON) -m venv .venv

.venv/default.stamp: pyproject.toml | .venv/bin/python
	@echo "Installing softcord into .venv"
	@$(PIP) install --editable .
	@touch $@

# The training extras need torch. Its CPU build is looked for where pip is set to look, then at PyTorch's own
# index. Without it the tests of training are skipped; where none may be (see .ci/run), PyPI's build will do.
# nnU-Net depends on timm and so on torchvision, whose newest version would bring another torch and gigabytes of
# CUDA: the version of torch is held fast. That torchvision may not fit the CPU build is no harm, as softcord
# never imports it.
.venv/dev.stamp: pyproject.toml | .venv/bin/python
	@echo "Installing what the tests need into .venv"
	@$(PIP) install '$(TORCH)' 2>/dev/null \
	    || $(PIP) install --timeout 15 --retries 1 --extra-index-url $(TORCH_INDEX) '$(TORCH)' 2>/dev/null \
	    || { test "$$SOFTCORD_TESTS_MUST_NOT_SKIP" = 1 && $(PIP) install '$(TORCH:+cpu=)'; } \
	    || echo "No CPU build of torch can be had from here: the tests of training will be skipped."
	@if $(BIN)/python -c 'import torch' 2>/dev/null; \
	    then $(BIN)/python -c 'import torch; print("torch==" + torch.__version__.partition("+")[0])' \
	        > .venv/constraint.txt \
	        && $(PIP) install --constraint .venv/constraint.txt --editable '.[dev,openvino,dataset,synth,train]'; \
	    else $(PIP) install --editable '.[dev,openvino,dataset]'; fi
	@touch $@ .venv/default.stamp
