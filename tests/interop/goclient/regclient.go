package main

// What regctl and regsync do, through regclient. It tries an anonymous mount first, can send a blob in chunks with
// Content-Range, keeps to sha512 when asked, and deletes a tag by the tag's own name.

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"

	"github.com/opencontainers/go-digest"
	"github.com/regclient/regclient"
	"github.com/regclient/regclient/config"
	"github.com/regclient/regclient/scheme"
	"github.com/regclient/regclient/types/descriptor"
	"github.com/regclient/regclient/types/ref"
)

// newRegclient speaks plain http to the registries that refs name; chunk is a number of bytes, 0 for whole blobs.
func newRegclient(refs []ref.Ref, chunk int64) *regclient.RegClient {
	hosts := []config.Host{}
	for _, one := range refs {
		if one.Scheme != "reg" {
			continue
		}
		host := config.HostNewName(one.Registry)
		host.TLS = config.TLSDisabled
		if chunk > 0 {
			host.BlobChunk, host.BlobMax = chunk, chunk
		}
		hosts = append(hosts, *host)
	}
	return regclient.New(regclient.WithConfigHost(hosts...))
}

func parseRefs(words []string) ([]ref.Ref, error) {
	refs := []ref.Ref{}
	for _, word := range words {
		one, err := ref.New(word)
		if err != nil {
			return nil, err
		}
		refs = append(refs, one)
	}
	return refs, nil
}

func copyImage(ctx context.Context, words []string, chunk int64, opts ...regclient.ImageOpts) (any, error) {
	refs, err := parseRefs(words)
	if err != nil {
		return nil, err
	}
	rc := newRegclient(refs, chunk)
	if err := rc.ImageCopy(ctx, refs[0], refs[1], opts...); err != nil {
		return nil, err
	}
	found, err := rc.ManifestHead(ctx, refs[1])
	if err != nil {
		return nil, err
	}
	if err := rc.Close(ctx, refs[1]); err != nil {
		return nil, err
	}
	return found.GetDescriptor().Digest.String(), nil
}

// regclientCopy copies with every child; a ref is HOST/REPOSITORY:TAG or ocidir://FOLDER:TAG.
func regclientCopy(ctx context.Context, args []string) (any, error) {
	return copyImage(ctx, args[:2], 0)
}

// regclientCopyChunked sends every blob larger than CHUNK_BYTES in PATCH requests of that size.
func regclientCopyChunked(ctx context.Context, args []string) (any, error) {
	chunk, err := strconv.ParseInt(args[2], 10, 64)
	if err != nil {
		return nil, err
	}
	return copyImage(ctx, args[:2], chunk)
}

// regclientCopyReferrers takes what refers to the image along.
func regclientCopyReferrers(ctx context.Context, args []string) (any, error) {
	return copyImage(ctx, args[:2], 0, regclient.ImageWithReferrers())
}

// regclientBlobSha512 pushes a file as a blob named by sha512 and reads it back.
func regclientBlobSha512(ctx context.Context, args []string) (any, error) {
	data, err := os.ReadFile(args[0])
	if err != nil {
		return nil, err
	}
	refs, err := parseRefs(args[1:2])
	if err != nil {
		return nil, err
	}
	rc := newRegclient(refs, 0)
	wanted := descriptor.Descriptor{Digest: digest.SHA512.FromBytes(data), Size: int64(len(data))}
	put, err := rc.BlobPut(ctx, refs[0], wanted, strings.NewReader(string(data)))
	if err != nil {
		return nil, err
	}
	got, err := rc.BlobGet(ctx, refs[0], put)
	if err != nil {
		return nil, err
	}
	defer func() { _ = got.Close() }()
	read, err := got.RawBody()
	if err != nil {
		return nil, err
	}
	if string(read) != string(data) {
		return nil, fmt.Errorf("%s came back as other bytes", put.Digest)
	}
	return put.Digest.String(), nil
}

func regclientTags(ctx context.Context, args []string) (any, error) {
	refs, err := parseRefs(args[:1])
	if err != nil {
		return nil, err
	}
	found, err := newRegclient(refs, 0).TagList(ctx, refs[0])
	if err != nil {
		return nil, err
	}
	return found.GetTags()
}

// regclientTagDelete removes the tag alone.
func regclientTagDelete(ctx context.Context, args []string) (any, error) {
	refs, err := parseRefs(args[:1])
	if err != nil {
		return nil, err
	}
	return nil, newRegclient(refs, 0).TagDelete(ctx, refs[0])
}

// regclientManifestDelete removes the manifest of HOST/REPOSITORY@DIGEST.
func regclientManifestDelete(ctx context.Context, args []string) (any, error) {
	refs, err := parseRefs(args[:1])
	if err != nil {
		return nil, err
	}
	return nil, newRegclient(refs, 0).ManifestDelete(ctx, refs[0])
}

// regclientReferrers lists the digests of what refers to an image.
func regclientReferrers(ctx context.Context, args []string) (any, error) {
	refs, err := parseRefs(args[:1])
	if err != nil {
		return nil, err
	}
	opts := []scheme.ReferrerOpts{}
	if len(args) > 1 {
		opts = append(opts, scheme.WithReferrerMatchOpt(descriptor.MatchOpt{ArtifactType: args[1]}))
	}
	found, err := newRegclient(refs, 0).ReferrerList(ctx, refs[0], opts...)
	if err != nil {
		return nil, err
	}
	digests := []string{}
	for _, one := range found.Descriptors {
		digests = append(digests, one.Digest.String())
	}
	return digests, nil
}
