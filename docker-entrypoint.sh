#!/bin/sh
# Runs `headrace` with the arguments given. For the API it first empties the directory where its
# processes share their counters: what an earlier run left there would be added to the new numbers.
set -eu
if [ "${1:-}" = api ]; then
    : "${PROMETHEUS_MULTIPROC_DIR:=/tmp/headrace-metrics}"
    export PROMETHEUS_MULTIPROC_DIR
    mkdir -p "$PROMETHEUS_MULTIPROC_DIR"
    rm -f "$PROMETHEUS_MULTIPROC_DIR"/*.db
fi
exec headrace "$@"
