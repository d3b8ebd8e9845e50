// Command goclient drives a registry with the Go libraries that crane, regctl, oras and helm are made of, and a hold the
// way an old AppView does.
//
// One subcommand is one thing such a tool does. It speaks plain http, prints its result as JSON on standard output, and
// ends with status 1 and the library's own words on standard error when the library is not content.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"sort"
	"strings"
)

// A command takes its arguments and returns what is to be printed.
type command struct {
	usage string
	run   func(ctx context.Context, args []string) (any, error)
}

var commands = map[string]command{
	"crane-push":    {"LAYOUT REF", cranePush},
	"crane-stream":  {"FILE REF", craneStream},
	"crane-pull":    {"REF LAYOUT", cranePull},
	"crane-copy":    {"REF REF", craneCopy},
	"crane-digest":  {"REF", craneDigest},
	"crane-delete":  {"REF", craneDelete},
	"crane-tags":    {"REPOSITORY", craneTags},
	"crane-catalog": {"HOST", craneCatalog},

	"regclient-copy":            {"REF REF", regclientCopy},
	"regclient-copy-chunked":    {"REF REF CHUNK_BYTES", regclientCopyChunked},
	"regclient-copy-referrers":  {"REF REF", regclientCopyReferrers},
	"regclient-blob-sha512":     {"FILE REF", regclientBlobSha512},
	"regclient-tags":            {"REF", regclientTags},
	"regclient-tag-delete":      {"REF", regclientTagDelete},
	"regclient-manifest-delete": {"REF", regclientManifestDelete},
	"regclient-referrers":       {"REF [ARTIFACT_TYPE]", regclientReferrers},

	"oras-push":     {"REF ARTIFACT_TYPE [FILE...]", orasPush},
	"oras-attach":   {"REF ARTIFACT_TYPE [FILE...]", orasAttach},
	"oras-discover": {"REF [ARTIFACT_TYPE]", orasDiscover},
	"oras-pull":     {"REF FOLDER", orasPull},
	"oras-copy":     {"REF REF", orasCopy},
	"oras-delete":   {"REF", orasDelete},
	"helm-push":     {"REF CHART.tgz [CHART.tgz.prov]", helmPush},
	"helm-pull":     {"REF FOLDER", helmPull},

	"hold-push":    {"FILE URL WRITE_BYTES", holdPush},
	"hold-give-up": {"FILE URL WRITE_BYTES", holdGiveUp},
	"hold-fetch":   {"URL DIGEST FILE", holdFetch},
}

func main() {
	if err := dispatch(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "goclient:", err)
		os.Exit(1)
	}
}

func dispatch(args []string) error {
	if len(args) == 0 {
		return fmt.Errorf("which command?\n%s", usage())
	}
	chosen, known := commands[args[0]]
	if !known || len(args)-1 < required(chosen.usage) {
		return fmt.Errorf("%s: not a command, or too few arguments\n%s", args[0], usage())
	}
	result, err := chosen.run(context.Background(), args[1:])
	if err != nil {
		return fmt.Errorf("%s: %w", args[0], err)
	}
	return json.NewEncoder(os.Stdout).Encode(result)
}

// required counts the arguments of a usage line that do not stand in brackets.
func required(usage string) int {
	count := 0
	for _, word := range strings.Fields(usage) {
		if !strings.HasPrefix(word, "[") {
			count++
		}
	}
	return count
}

func usage() string {
	lines := make([]string, 0, len(commands))
	for name, one := range commands {
		lines = append(lines, fmt.Sprintf("  %s %s", name, one.usage))
	}
	sort.Strings(lines)
	return strings.Join(lines, "\n")
}
