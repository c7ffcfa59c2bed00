# The menu: `make help`. Needs GNU make and Python >= 3.11; everything lands in .venv/.

SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help

PYTHON ?= python3
HOST ?= 127.0.0.1
PORT ?= 8000
BUNDLE ?=
MINUTES ?= 30
CASES ?= 10000
ENGINE ?= docker
TARGET ?= cpu
BUILD_OPTIONS ?=
# The tests to run and options for pytest, for example: make test T="tests/model -k anchors"
T ?=

SERVE := .venv/serve
DEV := .venv/dev
SUPPLY := .venv/supply
IMAGE := .venv/image
TORCH := torch==2.13.0
IMAGE_EXTRAS := cpu,otel
DEV_EXTRAS := cpu,train,export,loadtest,otel,ray,dev
BUNDLE_OPTION = $(if $(BUNDLE),--bundle '$(BUNDLE)')
INSTALL = -m pip install --quiet --constraint constraints.txt

.PHONY: help serve example test test-slow soak fuzz check audit licences sbom image smoke format lock clean

help:  ## This menu
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))
	@echo "  Variables of serve: HOST=$(HOST) PORT=$(PORT) BUNDLE=$(BUNDLE)"

serve: $(SERVE)/.stamp  ## Serve the bundled model, or BUNDLE=, on HOST:PORT
	@exec $(SERVE)/bin/python -m retinaserve serve --host '$(HOST)' --port '$(PORT)' $(BUNDLE_OPTION)

example: $(SERVE)/.stamp  ## Draw a scene, detect on it, draw the boxes (example/)
	@$(SERVE)/bin/python -m retinaserve draw --seed 7 --out example >/dev/null
	@mv example/images/drawn_00000.jpg example/scene.jpg
	@$(SERVE)/bin/python -m retinaserve detect example/scene.jpg --draw example/boxes $(BUNDLE_OPTION)
	@echo "The scene is example/scene.jpg, with its boxes example/boxes/scene.jpg"

test: $(DEV)/.stamp  ## The test suite without the slow tests; T= selects
	@exec $(DEV)/bin/python -m pytest -m 'not slow' $(T)

test-slow: $(DEV)/.stamp  ## The slow tests
	@exec $(DEV)/bin/python -m pytest -m slow $(T)

soak: $(DEV)/.stamp  ## Mixed load for MINUTES=30: does memory stay, do the counters add up
	@exec $(DEV)/bin/python -m loadtest.cli.soak --minutes '$(MINUTES)'

fuzz: $(DEV)/.stamp  ## Throw CASES=10000 broken files and made requests at the service
	@FUZZ_CASES='$(CASES)' exec $(DEV)/bin/python -m pytest tests/service/fuzz

check: $(DEV)/.stamp audit  ## Lint, format, types, import contracts, known vulnerabilities
	$(DEV)/bin/ruff check .
	$(DEV)/bin/ruff format --check .
	$(DEV)/bin/mypy
	$(DEV)/bin/lint-imports

audit: $(SUPPLY)/.stamp  ## Known vulnerabilities in what constraints.txt installs; needs a network
	@.ci/audit $(SUPPLY)/bin/pip-audit

licences: $(DEV)/.stamp $(SUPPLY)/.stamp  ## Licences of all packages but the extras gpu and tensorrt; fails if one is not allowed
	@exec $(SUPPLY)/bin/pip-licenses --python $(DEV)/bin/python

sbom: $(IMAGE)/.stamp $(SUPPLY)/.stamp  ## The Python packages of the image cpu, as CycloneDX (sbom.json)
	@exec $(SUPPLY)/bin/cyclonedx-py environment --pyproject pyproject.toml --output-reproducible \
		--output-file sbom.json $(IMAGE)/bin/python

image:  ## Build the image retinaserve:TARGET=cpu (gpu, train, export) with ENGINE=docker
	@BUILDAH_FORMAT=docker $(ENGINE) build --target '$(TARGET)' --tag 'retinaserve:$(TARGET)' \
		--build-arg COMMIT="$$(git describe --always --dirty --abbrev=40 --exclude '*')" \
		$(BUILD_OPTIONS) .

smoke:  ## Build the image for CPU with ENGINE=docker or podman, and try it
	@ENGINE='$(ENGINE)' BUILD_OPTIONS='$(BUILD_OPTIONS)' exec docker/smoke.sh

format: $(DEV)/.stamp  ## Format the code and fix what the linter can
	$(DEV)/bin/ruff check --fix .
	$(DEV)/bin/ruff format .

lock:  ## Write constraints.txt anew from what the bounds in pyproject.toml allow today
	@PYTHON='$(PYTHON)' TORCH='$(TORCH)' bash .ci/lock '$(DEV_EXTRAS)'

clean:  ## Remove the virtual environments and caches
	rm -rf .venv build *.egg-info .mypy_cache .ruff_cache .pytest_cache .import_linter_cache example sbom.json

# A stamp is written last, so an install that failed is tried again, and one older than
# pyproject.toml or constraints.txt is brought up to date; `make clean` first makes it anew.

$(SERVE)/.stamp: pyproject.toml constraints.txt
	@echo "Making $(SERVE): what serving on CPU needs"
	@$(call new_venv,$(SERVE))
	@$(SERVE)/bin/python $(INSTALL) --editable '.[cpu]'
	@touch $@

# torch comes first and alone: pip then takes the build that your index or find-links prefer (the
# CPU build where there is one), and the second install leaves it as it is.
$(DEV)/.stamp: pyproject.toml constraints.txt
	@echo "Making $(DEV): every extra for CPU, with the development tools"
	@$(call new_venv,$(DEV))
	@$(DEV)/bin/python $(INSTALL) '$(TORCH)'
	@$(DEV)/bin/python $(INSTALL) --editable '.[$(DEV_EXTRAS)]'
	@touch $@

$(SUPPLY)/.stamp: constraints.txt
	@echo "Making $(SUPPLY): what examines the packages"
	@$(call new_venv,$(SUPPLY))
	@$(SUPPLY)/bin/python $(INSTALL) 'cyclonedx-bom>=7,<8' 'pip-audit>=2.9,<3' 'pip-licenses>=5.5,<6'
	@touch $@

# As the Dockerfile installs them for its target cpu: without the project, and no pip beside them.
$(IMAGE)/.stamp: pyproject.toml constraints.txt docker/requirements.py $(SUPPLY)/.stamp
	@echo "Making $(IMAGE): the packages of the image cpu"
	@$(call new_venv,--without-pip --clear $(IMAGE))
	@$(PYTHON) docker/requirements.py $(IMAGE_EXTRAS) >$(IMAGE)/requirements.txt
	@$(SUPPLY)/bin/python -m pip --python $(IMAGE)/bin/python install --quiet \
		--constraint constraints.txt --requirement $(IMAGE)/requirements.txt
	@touch $@

define new_venv
$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "retinaserve needs Python 3.11 or newer; this is " + sys.version.split()[0] + ": give another with PYTHON=")' && $(PYTHON) -m venv $(1)
endef
