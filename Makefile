# Everything that a developer does, by one name each. `make` alone lists them.

PREFIX ?= /usr/local
DESTDIR ?=

export PREFIX DESTDIR
# The toolchain stands last: a swift that PATH has already is preferred.
export PATH := $(PATH):/opt/swift/usr/bin

.PHONY: help deps build kernel demo test soak fuzz bench format lint clean install

help: ## this list
	@sed -n 's/^\([a-z]*\):[^#]*## /  make \1\t/p' $(MAKEFILE_LIST) | expand -t 16

deps: ## install what building, running and testing needs of Debian's packages
	@scripts/deps

build: ## debug build: .build/debug/ignite, .build-guest/ignite-init
	@scripts/deps build
	@scripts/build guest debug

kernel: ## build Ignite's own kernel, which boots quicker than Debian's; kept in the cache, its path is printed
	@scripts/kernel

demo: ## see it: a Debian image from a registry boots, runs, serves a page, and goes away
	@scripts/demo

test: ## all tests, with real VMs
	@scripts/test

soak: ## SUITE=NAME: the full counts of an end-to-end suite; goes on where it was ended
	@scripts/long soak "$(SUITE)"

fuzz: ## [TARGET=NAME] [FUZZ_SECONDS=600]: the fuzzed targets, each for so long; goes on where it was ended
	@scripts/long fuzz "$(TARGET)"

bench: ## measure, print a table and write it into docs/performance.md
	@scripts/bench

format: ## bring the Swift sources into the formatter's style
	@git ls-files --cached --others --exclude-standard '*.swift' | xargs swift format -i

lint: ## check style, scripts and file lengths
	@scripts/lint

clean: ## remove what was built here
	rm -rf .build .build-release .build-guest Guest/.build

install: ## install the release build under PREFIX (default /usr/local); DESTDIR is honoured
	@scripts/deps build
	@scripts/build guest release
	@scripts/install
