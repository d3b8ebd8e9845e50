#!/bin/sh
# Push one file as an image of a single layer, with nothing but curl and sha256sum; shows what a push is made of.
#   sh push-with-curl.sh HOST:PORT REPOSITORY:TAG FILE
set -eu
case "$#:${2-}" in
3:*:*) ;;
*) echo "usage: sh $0 HOST:PORT REPOSITORY:TAG FILE" >&2 && exit 2 ;;
esac
host=$1 repository=${2%:*} tag=${2##*:} file=$3
url=http://$host/v2/$repository
[ -r "$file" ] || { echo "$file cannot be read" >&2 && exit 1; }
config=$(mktemp)
manifest=$(mktemp)
trap 'rm -f "$config" "$manifest"' EXIT

digest() { echo "sha256:$(sha256sum "$1" | cut -d' ' -f1)"; }
size() { wc -c <"$1" | tr -d ' '; }
ask() { curl -sS --fail-with-body "$@" || { echo && exit 1; }; } # the registry says what is wrong: show it

# A blob: open an upload, send the bytes to the Location it answers with, naming their digest.
push_blob() {
    answer=$(ask -i -X POST "$url/blobs/uploads/") || { echo "$answer" >&2 && exit 1; }
    location=$(echo "$answer" | tr -d '\r' | sed -n 's/^[Ll]ocation: //p')
    ask -T "$1" -H 'Content-Type: application/octet-stream' "http://$host$location&digest=$(digest "$1")"
}

printf '{}' >"$config"
push_blob "$config"
push_blob "$file"
printf '{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json",
"config":{"mediaType":"application/vnd.oci.empty.v1+json","digest":"%s","size":%s},
"layers":[{"mediaType":"application/octet-stream","digest":"%s","size":%s,
"annotations":{"org.opencontainers.image.title":"%s"}}]}' \
    "$(digest "$config")" "$(size "$config")" "$(digest "$file")" "$(size "$file")" "$(basename "$file")" >"$manifest"
ask -T "$manifest" -H 'Content-Type: application/vnd.oci.image.manifest.v1+json' "$url/manifests/$tag"
echo "pushed $host/$repository:$tag, manifest $(digest "$manifest")"
