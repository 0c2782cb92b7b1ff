COMPILER ?= $(if $(shell command -v tinygo),tinygo,go)

.PHONY: worker
worker:
	GOOS=wasip1 GOARCH=wasm go build -buildmode=c-shared -trimpath -ldflags='-s -w' -o .build/perch.wasm ./worker
