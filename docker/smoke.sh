#!/usr/bin/env bash
# Builds an image that serves on a CPU and tries what it promises, with docker or podman:
#
#   docker/smoke.sh
#   ENGINE=podman docker/smoke.sh
#
# Needs bash and curl besides. BUILD_OPTIONS and RUN_OPTIONS are handed on, for a base image of your
# own, a mirror, a network; docs/containers.md has examples. What it makes but the image goes when it
# ends.
set -euo pipefail
cd "$(dirname "$0")/.."

ENGINE=${ENGINE:-docker}
IMAGE=${IMAGE:-retinaserve:cpu}
COMMIT=${COMMIT:-$(git describe --always --dirty --abbrev=40 --exclude '*')}
read -ra build_options <<<"${BUILD_OPTIONS:-}"
read -ra run_options <<<"${RUN_OPTIONS:-}"
# Without it podman leaves HEALTHCHECK out; docker doesn't look.
export BUILDAH_FORMAT=docker

DRAIN_DELAY_S=5
READY_WITHIN_S=120
SERVE=(--env "RETINASERVE_DRAIN_DELAY_S=$DRAIN_DELAY_S")
# Nothing may be written, in /tmp neither (podman would give a writable one), and there are no rights.
LOCKED=(--read-only --tmpfs /tmp:ro --cap-drop ALL --security-opt no-new-privileges)

name=retinaserve-smoke-$$
# The container that was started last.
current=
scratch=$(mktemp -d)
clean() {
    for container in "$name" "$name-baked"; do
        "$ENGINE" rm --force "$container" >/dev/null 2>&1 || true
    done
    "$ENGINE" rmi --force "$IMAGE-baked-$$" >/dev/null 2>&1 || true
    rm -rf "$scratch"
}
trap clean EXIT

say() { echo "smoke: $*"; }
fail() {
    echo "smoke: FAILED: $*" >&2
    [ -z "$current" ] || "$ENGINE" logs --tail 20 "$current" >&2 || true
    exit 1
}
inspect() { "$ENGINE" inspect --format "$2" "$1"; }
milliseconds() { echo $(($(date +%s%N) / 1000000)); }

# start NAME OPTION... IMAGE: a server, with a free port of this machine in front; sets `url`.
start() {
    local container=$1
    shift
    current=$container
    local began
    began=$(milliseconds)
    "$ENGINE" run --detach --name "$container" --publish 127.0.0.1::8000 \
        "${SERVE[@]}" "${LOCKED[@]}" "${run_options[@]}" "$@" >/dev/null
    url=http://$("$ENGINE" port "$container" 8000/tcp | head -n 1)
    until curl --silent --fail --max-time 2 --output /dev/null "$url/readyz"; do
        [ "$(inspect "$container" '{{.State.Running}}')" = true ] || fail "$container ended"
        (($(milliseconds) - began < READY_WITHIN_S * 1000)) || fail "$container is not ready"
        sleep 0.1
    done
    say "$container: ready after $(($(milliseconds) - began)) ms"
}
detect() { curl --silent --show-error --max-time 30 "$@" "$url/v1/detect"; }
finds_cells() { detect "$@" | grep --quiet '"label"' || fail "nothing found: detect $*"; }


say "building $IMAGE with $ENGINE"
"$ENGINE" build --target cpu --tag "$IMAGE" "${build_options[@]}" \
    --build-arg "COMMIT=$COMMIT" . >"$scratch/build.log" 2>&1 ||
    { tail -n 30 "$scratch/build.log" >&2; exit 1; }
revision=$(inspect "$IMAGE" '{{index .Config.Labels "org.opencontainers.image.revision"}}')
[ "$revision" = "$COMMIT" ] || fail "the label says commit $revision, not $COMMIT"
say "size: $(($(inspect "$IMAGE" '{{.Size}}') / 1000000)) MB, commit $revision"
inspect "$IMAGE" '{{.Config.User}}' | grep --quiet '^[1-9][0-9]*:' || fail "the user is root, or a name"
"$ENGINE" inspect "$IMAGE" | grep --quiet --ignore-case '"healthcheck": {' || fail "no HEALTHCHECK"
for module in torch onnx pip; do
    ! "$ENGINE" run --rm --no-healthcheck "${run_options[@]}" --entrypoint python "$IMAGE" \
        -c "import $module" 2>/dev/null || fail "$module is installed"
done
say "no torch, no onnx, no pip"

# A picture, drawn as a user of this machine into a folder of this machine.
"$ENGINE" run --rm --no-healthcheck "${run_options[@]}" --user "$(id -u):$(id -g)" \
    --volume "$scratch:/out" "$IMAGE" draw --seed 7 --out /out/drawn >/dev/null
picture=$scratch/drawn/images/drawn_00000.jpg

start "$name" "$IMAGE"
"$ENGINE" exec "$name" healthcheck || fail "healthcheck says it is not ready"
"$ENGINE" exec "$name" grep --quiet '^[^ ]* / [^ ]* ro' /proc/mounts || fail "/ is not read-only"
"$ENGINE" exec "$name" touch /tmp/x 2>/dev/null && fail "/tmp can be written"
[ "$("$ENGINE" exec "$name" sh -c 'tr "\0" " " </proc/1/cmdline | cut -d " " -f 2')" = \
    /opt/retinaserve/bin/retinaserve ] || fail "PID 1 is not the server"
finds_cells --data-binary "@$picture"
finds_cells --form "a=@$picture" --form "b=@$picture"
say "detects as PID 1, user $(inspect "$IMAGE" '{{.Config.User}}'), with nothing to write to and no rights"

# SIGTERM under load: callers come on for most of the drain delay, and one uploads past its end.
callers() {
    local end=$(($(milliseconds) + 1000 * (DRAIN_DELAY_S - 1)))
    while (($(milliseconds) < end)); do
        detect --data-binary "@$picture" --output /dev/null --write-out '%{http_code}\n' || true
    done
}
bytes=$(wc -c <"$picture")
for caller in 1 2 3; do callers >"$scratch/codes.$caller" 2>&1 & done
detect --data-binary "@$picture" --limit-rate $((bytes / (DRAIN_DELAY_S + 2))) \
    --output /dev/null --write-out '%{http_code}\n' >"$scratch/codes.slow" 2>&1 &
sleep 0.5
"$ENGINE" stop -t 60 "$name" >/dev/null &
stopped=$!
sleep 1
"$ENGINE" exec "$name" healthcheck 2>/dev/null && fail "ready while it drains"
wait "$stopped"
wait
status=$(inspect "$name" '{{.State.ExitCode}}')
[ "$status" = 0 ] || fail "exit status $status after SIGTERM"
[ "$(sort --unique "$scratch"/codes.*)" = 200 ] || fail "while draining: $(sort "$scratch"/codes.* | uniq -c)"
say "SIGTERM under load: $(cat "$scratch"/codes.* | wc -l) requests, all 200, exit status 0"

# A bundle baked in, and a user that the image has never heard of.
mkdir "$scratch/context"
cp -r "${BUNDLE:-service/bundles/cells}" "$scratch/context/bundle"
printf 'FROM %s\nCOPY bundle /bundle\nENV RETINASERVE_BUNDLE=/bundle\n' "$IMAGE" >"$scratch/context/Dockerfile"
"$ENGINE" build --tag "$IMAGE-baked-$$" "$scratch/context" >"$scratch/baked.log" 2>&1 ||
    { cat "$scratch/baked.log" >&2; exit 1; }
start "$name-baked" --user 1234567:0 "$IMAGE-baked-$$"
finds_cells --data-binary "@$picture"
say "a bundle baked in is served by user 1234567"
say "passed"
