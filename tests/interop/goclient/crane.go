package main

// What crane does, through go-containerregistry. ko, kaniko, cosign, apptainer and singularity push this way too.

import (
	"context"
	"errors"
	"os"

	"github.com/google/go-containerregistry/pkg/crane"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/stream"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// cranePush pushes the first image or index of a layout.
func cranePush(ctx context.Context, args []string) (any, error) {
	ref, err := name.ParseReference(args[1], name.Insecure)
	if err != nil {
		return nil, err
	}
	root, err := layout.ImageIndexFromPath(args[0])
	if err != nil {
		return nil, err
	}
	listed, err := root.IndexManifest()
	if err != nil {
		return nil, err
	}
	if len(listed.Manifests) == 0 {
		return nil, errors.New("the layout is empty")
	}
	first := listed.Manifests[0]
	if first.MediaType == types.OCIImageIndex {
		index, err := root.ImageIndex(first.Digest)
		if err != nil {
			return nil, err
		}
		return first.Digest.String(), remote.WriteIndex(ref, index, remote.WithContext(ctx))
	}
	image, err := root.Image(first.Digest)
	if err != nil {
		return nil, err
	}
	return first.Digest.String(), remote.Write(ref, image, remote.WithContext(ctx))
}

// craneStream pushes a file as the only layer of an image without knowing its digest or size beforehand.
func craneStream(ctx context.Context, args []string) (any, error) {
	file, err := os.Open(args[0])
	if err != nil {
		return nil, err
	}
	image, err := mutate.AppendLayers(empty.Image, stream.NewLayer(file))
	if err != nil {
		return nil, err
	}
	if err := crane.Push(image, args[1], crane.Insecure, crane.WithContext(ctx)); err != nil {
		return nil, err
	}
	digest, err := image.Digest()
	return digest.String(), err
}

// cranePull writes the image or index into a new layout.
func cranePull(ctx context.Context, args []string) (any, error) {
	ref, err := name.ParseReference(args[0], name.Insecure)
	if err != nil {
		return nil, err
	}
	found, err := remote.Get(ref, remote.WithContext(ctx))
	if err != nil {
		return nil, err
	}
	target, err := layout.Write(args[1], empty.Index)
	if err != nil {
		return nil, err
	}
	if found.MediaType.IsIndex() {
		index, err := found.ImageIndex()
		if err != nil {
			return nil, err
		}
		return found.Digest.String(), target.AppendIndex(index)
	}
	image, err := found.Image()
	if err != nil {
		return nil, err
	}
	return found.Digest.String(), target.AppendImage(image)
}

// craneCopy copies between repositories; layers that the registry can mount are not moved.
func craneCopy(ctx context.Context, args []string) (any, error) {
	return nil, crane.Copy(args[0], args[1], crane.Insecure, crane.WithContext(ctx))
}

// craneDigest asks with HEAD, and insists on type, length and digest in the answer.
func craneDigest(ctx context.Context, args []string) (any, error) {
	ref, err := name.ParseReference(args[0], name.Insecure)
	if err != nil {
		return nil, err
	}
	found, err := remote.Head(ref, remote.WithContext(ctx))
	if err != nil {
		return nil, err
	}
	return found, nil
}

func craneDelete(ctx context.Context, args []string) (any, error) {
	return nil, crane.Delete(args[0], crane.Insecure, crane.WithContext(ctx))
}

// craneTags follows the links of a long list, ten tags a page.
func craneTags(ctx context.Context, args []string) (any, error) {
	repository, err := name.NewRepository(args[0], name.Insecure)
	if err != nil {
		return nil, err
	}
	return remote.List(repository, remote.WithContext(ctx), remote.WithPageSize(10))
}

func craneCatalog(ctx context.Context, args []string) (any, error) {
	return crane.Catalog(args[0], crane.Insecure, crane.WithContext(ctx))
}
