# `make demo` segments a real scan, `make test` runs every test. Both make their own environment in .venv.
# Needs make and Python 3.11 to 3.13; PYTHON=/path/to/python chooses one.

VENV   := .venv
PY     := $(VENV)/bin/python
STAMP  := $(VENV)/.installed-by-make
OUTPUT := demo-output
TESTS  := Testing/Python
# python3.11 comes first because it is what the tests were written on; Slicer 5.12 itself has 3.12.
PYTHONS = $(or $(PYTHON),python3.11 python3.12 python3.13 python3)

.PHONY: help demo test lint venv lists clean
.DELETE_ON_ERROR:

help:
	@echo "make demo                      segment a pelvic CT that is fetched by package name, into $(OUTPUT)/"
	@echo "make demo STUDY=path           the same with your own CT: a file or a DICOM folder"
	@echo "make demo STUDY=folder MODEL=brain-tumour-mri"
	@echo "                               a folder with the files t1, t1c, t2 and flair (.nii.gz, .nrrd, .mha)"
	@echo "make test                      lint and tests; TESTS=Testing/Python/engine for a part of them"
	@echo "make lint                      ruff alone"
	@echo "make lists                     bring the CMake lists (from git's files) and the documents' scores up to date"
	@echo "make clean                     remove .venv, .cache and $(OUTPUT)"

demo: $(STAMP)
	@$(PY) Demo/demo.py $(if $(STUDY),--study "$(STUDY)") $(if $(MODEL),--model "$(MODEL)") \
	  $(if $(DEVICE),--device "$(DEVICE)") --output "$(OUTPUT)"

test: lint
	$(PY) -m pytest -n auto --maxprocesses 4 --dist loadfile $(TESTS)

lint: $(STAMP)
	$(PY) -m ruff check .

venv: $(STAMP)

lists: $(STAMP)
	$(PY) Testing/Python/packaging/cmake_lists.py --write
	$(PY) Testing/Python/packaging/readme_scores.py --write

# slicer-core is not made for 3.14, and pip would say so in words of its own.
$(PY):
	@for python in $(PYTHONS); do \
	  if "$$python" -c 'import sys, venv, ensurepip; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' \
	    2>/dev/null; then \
	    echo "Making $(VENV) with $$("$$python" --version)"; exec "$$python" -m venv $(VENV); \
	  fi; \
	done; \
	echo "No Python 3.11 to 3.13 with its venv module was found (tried: $(PYTHONS)); install python3.12" >&2; \
	echo "(on Debian and Ubuntu also python3.12-venv), or name one with make PYTHON=/path/to/python." >&2; exit 1

# trame-slicer without its dependencies: only the terminology lists in it are read.
$(STAMP): requirements-dev.txt | $(PY)
	@echo "Installing the packages of requirements-dev.txt into $(VENV) (once; some minutes)"
	@{ $(PY) -m pip install --quiet --disable-pip-version-check -r requirements-dev.txt \
	  && $(PY) -m pip install --quiet --disable-pip-version-check --no-deps trame-slicer==2.0.0; } || { \
	  echo "The packages could not be installed: connect this computer to the internet and run make again." >&2; \
	  exit 1; }
	@touch $@

clean:
	rm -rf $(VENV) .cache $(OUTPUT)
