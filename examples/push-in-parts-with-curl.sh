#!/bin/sh
# Push one file as an image of a single layer, in parts, four at a time, with curl and sha256sum. Interrupted, the same command sends
# only the parts that are missing. If the server has HOLD_TOKEN, set it here as well. Parts may go to an object store that the server
# keeps its blobs in; where that does not work, they go through the server.
#   sh push-in-parts-with-curl.sh HOST:PORT REPOSITORY:TAG FILE [PART_MIB]
set -eu

# What the server answers; or what it says is wrong, and a failure.
ask() { curl -sS --fail-with-body --config "$authority" "$@"; }
post() { ask -H 'Content-Type: application/json' --data-binary "$2" "$hold$1"; }
field() { sed -n "s/.*\"$1\": *\"\{0,1\}\([^\",}]*\).*/\1/p"; }
fail() { echo "${*:-nothing came back; the same command goes on from here}" >&2 && exit 1; }

# Ask where part $1 goes, and send it there with the headers that the answer names. A signed URL is all the authority it takes; an
# object store refuses a second one. $2: more fields for the question.
send_to() {
    url='' hash=$(cut_out | sha256sum | cut -d' ' -f1)
    answer=$(post /part-presigned-url "{\"upload_id\":\"$id\",\"part_number\":$1,\"sha256\":\"$hash\"$2}") || return 1
    url=$(echo "$answer" | field url)
    case $url in *X-Amz-Signature=*) : >"$work/headers.$1" ;; *) cp "$authority" "$work/headers.$1" ;; esac
    echo "$answer" | sed -n 's/.*"headers": *{\([^}]*\)}.*/\1/p' | tr ',' '\n' |
        sed -n 's/^ *"\([^"]*\)": *"\([^"]*\)".*/header = "\1: \2"/p' >>"$work/headers.$1"
    answer=$(cut_out | curl -sS --fail-with-body --config "$work/headers.$1" --connect-timeout 20 \
        -H 'Transfer-Encoding:' -H "Content-Length: $length" -T - "$url")
}
cut_out() { dd if="$file" bs=1048576 skip=$((start / 1048576)) count=$((part_size / 1048576)) 2>/dev/null; }

# One part: to where the server prefers it, and if that is an object store that does not take it, to the server itself.
send_part() {
    start=$((($1 - 1) * part_size)) length=$part_size
    [ $((start + length)) -le "$size" ] || length=$((size - start))
    if [ ! -e "$work/through" ]; then
        send_to "$1" '' && echo "part $1 of $total is stored" && return
        case $url in "$hold"/* | '') fail "part $1 is not stored. $answer" ;; esac
        echo "the object store does not take part $1, so parts go to the server. $answer" >&2
        : >"$work/through"
    fi
    send_to "$1" ',"mode":"buffered"' || fail "part $1 is not stored. $answer"
    echo "part $1 of $total is stored"
}

if [ "${1-}" = --part ]; then # this script calls itself for each part
    [ ! -e "$work/failed" ] || exit 1
    (send_part "$2") && exit 0
    : >"$work/failed" # so that the parts after it are not even tried
    exit 1
fi
case "$#:${2-}" in
[34]:*:*) ;;
*) echo "usage: sh $0 HOST:PORT REPOSITORY:TAG FILE [PART_MIB]" >&2 && exit 2 ;;
esac
hold=http://$1 repository=${2%:*} tag=${2##*:} file=$3 part_mib=${4-}
blobs=$hold/v2/$repository/blobs
[ -r "$file" ] || fail "$file cannot be read"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 130' HUP INT TERM
authority=$work/authority && : >"$authority" # in a file, because other users can read the arguments of curl
[ -z "${HOLD_TOKEN-}" ] || printf 'Authorization: Bearer %s\n' "$HOLD_TOKEN" | sed 's/[\\"]/\\&/g; s/.*/header = "&"/' >"$authority"
size=$(wc -c <"$file" | tr -d ' ')
digest=sha256:$(sha256sum "$file" | cut -d' ' -f1)

# What the server has of the upload $id: the answer in $work/stored, `NUMBER ETAG` of each part from it.
look() { curl -sS --fail --config "$authority" "$hold/multipart-parts/$id" >"$work/stored" 2>/dev/null; }
stored_parts() { tr '{' '\n' <"$work/stored" | sed -n 's/^"part_number": *\([0-9]*\), *"etag": *"\\"\([^"\]*\)\\"".*/\1 \2/p'; }

push_in_parts() {
    # The upload that is noted beside the file, if it is for this place, still open and of these bytes; else a new one.
    noted=$(cat "$file.upload" 2>/dev/null) || noted=
    id=${noted%% *}
    [ "$noted" = "$id $blobs" ] && look && [ "$(field digest <"$work/stored")" = "$digest" ] || {
        what="\"digest\":\"$digest\",\"repository\":\"$repository\",\"size\":$size"
        answer=$(post /start-multipart "{$what${part_mib:+,\"part_size\":$((part_mib * 1048576))}}") || fail "$answer"
        id=$(echo "$answer" | field upload_id)
        echo "$id $blobs" >"$file.upload"
        look
    }
    part_size=$(field part_size <"$work/stored") total=$(field total_parts <"$work/stored")
    export work authority hold file size id part_size total
    stored_parts | awk -v total="$total" '{ there[$1] } END { while (n++ < total) if (!(n in there)) print n }' >"$work/missing"
    [ ! -s "$work/missing" ] || xargs -n 1 -P 4 sh "$0" --part <"$work/missing" || fail "stopped; the same command goes on"
    look || fail "stopped; the same command goes on"
    stored_parts | awk '{ printf "%s{\"part_number\":%s,\"etag\":\"%s\"}", (NR > 1 ? "," : ""), $1, $2 }' >"$work/parts"
    printf '{"upload_id":"%s","digest":"%s","parts":[%s]}' "$id" "$digest" "$(cat "$work/parts")" >"$work/list"
    answer=$(post /complete-multipart "@$work/list") || fail "$answer"
    rm -f "$file.upload"
}

curl -sS --fail --head "$blobs/$digest" >/dev/null 2>&1 || push_in_parts
# The rest is plain OCI: an empty configuration, and a manifest that names both.
empty=sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a
answer=$(ask --data-binary '{}' "$blobs/uploads/?digest=$empty") || fail "$answer"
printf '{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json",
"config":{"mediaType":"application/vnd.oci.empty.v1+json","digest":"%s","size":2},
"layers":[{"mediaType":"application/octet-stream","digest":"%s","size":%s,
"annotations":{"org.opencontainers.image.title":"%s"}}]}' "$empty" "$digest" "$size" "$(basename "$file")" >"$work/manifest"
answer=$(ask -T "$work/manifest" -H 'Content-Type: application/vnd.oci.image.manifest.v1+json' \
    "$hold/v2/$repository/manifests/$tag") || fail "$answer"
echo "pushed $1/$repository:$tag, blob $digest"
