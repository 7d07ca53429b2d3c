#!/usr/bin/env bash
# A load test as a job of CI: starts a broker on free ports, puts load on it, and ends with 0 only if what is asserted holds.
#
#   - run: npm ci
#   - run: docs/examples/load-test.sh
#   - uses: actions/upload-artifact@v4
#     if: always()
#     with: { name: load-test, path: load-test/ }
#
# LETHE names the command, LOAD_ASSERT what must hold, LOAD_RESULT the folder for the result: as JSON, and as a page with plots. A broker of another make is started instead by changing two lines.
set -euo pipefail
lethe=${LETHE:-npx lethe}
assert=${LOAD_ASSERT:-lost=0,duplicated=0,p99<250ms}
result=${LOAD_RESULT:-load-test}
mkdir -p "$result"

# One line of JSON once it serves: {"ready":true,"pid":…,"tcp":…,"ws":…}
$lethe serve --port 0 --ws-port 0 --ready-json > "$result/ready.json" 2> "$result/broker.log" &
started=$!
pid=
stop() { kill "${pid:-$started}" 2> /dev/null && wait "$started" || true; }
trap stop EXIT
until [[ -s "$result/ready.json" ]]; do
  kill -0 "$started" || { cat "$result/broker.log" >&2; exit 1; }
  sleep 0.05
done
pid=$(sed -E 's/.*"pid":([0-9]+).*/\1/' "$result/ready.json")
port=$(sed -E 's/.*"tcp":([0-9]+).*/\1/' "$result/ready.json")

# 50 sensors that send 2,000 messages a second between them, and one that reads all of them.
$lethe bench run fan-in -c 50 -q 1 --rate 2000 --duration "${LOAD_DURATION:-10s}" -p "$port" --pid "$pid" \
  --assert "$assert" --json "$result/result.json" --report "$result/report.html"
