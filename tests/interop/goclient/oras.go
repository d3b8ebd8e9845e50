package main

// What oras does, through oras-go: artifacts of any type, attached to subjects and found again by referrers.

import (
	"context"
	"os"
	"path/filepath"
	"strings"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"oras.land/oras-go/v2"
	"oras.land/oras-go/v2/content/file"
	"oras.land/oras-go/v2/content/oci"
	"oras.land/oras-go/v2/registry/remote"
)

// orasRepository opens HOST/REPOSITORY:TAG or HOST/REPOSITORY@DIGEST and returns the tag or digest beside it.
func orasRepository(word string) (*remote.Repository, string, error) {
	repository, err := remote.NewRepository(word)
	if err != nil {
		return nil, "", err
	}
	repository.PlainHTTP = true
	return repository, repository.Reference.Reference, nil
}

// orasTarget also takes oci:FOLDER:TAG.
func orasTarget(ctx context.Context, word string) (oras.Target, string, error) {
	if rest, isLayout := strings.CutPrefix(word, "oci:"); isLayout {
		folder, tag, _ := strings.Cut(rest, ":")
		store, err := oci.NewWithContext(ctx, folder)
		return store, tag, err
	}
	return orasRepository(word)
}

// pack gathers files into a store as an artifact manifest that lists them by their base names.
func pack(ctx context.Context, artifactType string, files []string, subject *ocispec.Descriptor) (
	*file.Store, ocispec.Descriptor, error,
) {
	store, err := file.New("")
	if err != nil {
		return nil, ocispec.Descriptor{}, err
	}
	layers := []ocispec.Descriptor{}
	for _, path := range files {
		absolute, err := filepath.Abs(path)
		if err != nil {
			return nil, ocispec.Descriptor{}, err
		}
		layer, err := store.Add(ctx, filepath.Base(path), "application/octet-stream", absolute)
		if err != nil {
			return nil, ocispec.Descriptor{}, err
		}
		layers = append(layers, layer)
	}
	opts := oras.PackManifestOptions{Layers: layers, Subject: subject}
	manifest, err := oras.PackManifest(ctx, store, oras.PackManifestVersion1_1, artifactType, opts)
	return store, manifest, err
}

// orasPush pushes files as an artifact under a tag.
func orasPush(ctx context.Context, args []string) (any, error) {
	repository, tag, err := orasRepository(args[0])
	if err != nil {
		return nil, err
	}
	store, manifest, err := pack(ctx, args[1], args[2:], nil)
	if err != nil {
		return nil, err
	}
	defer func() { _ = store.Close() }()
	if err := store.Tag(ctx, manifest, tag); err != nil {
		return nil, err
	}
	_, err = oras.Copy(ctx, store, tag, repository, tag, oras.DefaultCopyOptions)
	return manifest.Digest.String(), err
}

// orasAttach pushes files as an artifact whose subject is REF.
func orasAttach(ctx context.Context, args []string) (any, error) {
	repository, reference, err := orasRepository(args[0])
	if err != nil {
		return nil, err
	}
	subject, err := repository.Resolve(ctx, reference)
	if err != nil {
		return nil, err
	}
	store, manifest, err := pack(ctx, args[1], args[2:], &subject)
	if err != nil {
		return nil, err
	}
	defer func() { _ = store.Close() }()
	return manifest.Digest.String(), oras.CopyGraph(ctx, store, repository, manifest, oras.DefaultCopyGraphOptions)
}

// orasDiscover lists what refers to REF.
func orasDiscover(ctx context.Context, args []string) (any, error) {
	repository, reference, err := orasRepository(args[0])
	if err != nil {
		return nil, err
	}
	subject, err := repository.Resolve(ctx, reference)
	if err != nil {
		return nil, err
	}
	wanted := ""
	if len(args) > 1 {
		wanted = args[1]
	}
	found := []ocispec.Descriptor{}
	err = repository.Referrers(ctx, subject, wanted, func(some []ocispec.Descriptor) error {
		found = append(found, some...)
		return nil
	})
	return found, err
}

// orasPull writes the files of an artifact into a folder.
func orasPull(ctx context.Context, args []string) (any, error) {
	repository, reference, err := orasRepository(args[0])
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(args[1], 0o755); err != nil {
		return nil, err
	}
	store, err := file.New(args[1])
	if err != nil {
		return nil, err
	}
	defer func() { _ = store.Close() }()
	manifest, err := oras.Copy(ctx, repository, reference, store, reference, oras.DefaultCopyOptions)
	return manifest.Digest.String(), err
}

// orasCopy copies an artifact or image with everything that refers to it.
func orasCopy(ctx context.Context, args []string) (any, error) {
	source, from, err := orasTarget(ctx, args[0])
	if err != nil {
		return nil, err
	}
	target, to, err := orasTarget(ctx, args[1])
	if err != nil {
		return nil, err
	}
	graph, isGraph := source.(oras.ReadOnlyGraphTarget)
	if !isGraph {
		copied, err := oras.Copy(ctx, source, from, target, to, oras.DefaultCopyOptions)
		return copied.Digest.String(), err
	}
	copied, err := oras.ExtendedCopy(ctx, graph, from, target, to, oras.DefaultExtendedCopyOptions)
	return copied.Digest.String(), err
}

// orasDelete deletes the manifest that REF names.
func orasDelete(ctx context.Context, args []string) (any, error) {
	repository, reference, err := orasRepository(args[0])
	if err != nil {
		return nil, err
	}
	found, err := repository.Resolve(ctx, reference)
	if err != nil {
		return nil, err
	}
	return found.Digest.String(), repository.Delete(ctx, found)
}
