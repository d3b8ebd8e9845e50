package main

// What `helm push` and `helm pull oci://` do: everything from memory, a config of helm's own media type, the chart as
// one layer, and the provenance file as a second.

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"

	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"oras.land/oras-go/v2"
	"oras.land/oras-go/v2/content"
	"oras.land/oras-go/v2/content/memory"
)

const (
	helmConfig     = "application/vnd.cncf.helm.config.v1+json"
	helmChart      = "application/vnd.cncf.helm.chart.content.v1.tar+gzip"
	helmProvenance = "application/vnd.cncf.helm.chart.provenance.v1.prov"
)

func helmPush(ctx context.Context, args []string) (any, error) {
	repository, tag, err := orasRepository(args[0])
	if err != nil {
		return nil, err
	}
	store := memory.New()
	about := []byte(`{"name":"bench","version":"0.1.0","apiVersion":"v2","type":"application"}`)
	config, err := oras.PushBytes(ctx, store, helmConfig, about)
	if err != nil {
		return nil, err
	}
	layers := []ocispec.Descriptor{}
	for position, mediaType := range []string{helmChart, helmProvenance}[:len(args)-1] {
		data, err := os.ReadFile(args[1+position])
		if err != nil {
			return nil, err
		}
		layer, err := oras.PushBytes(ctx, store, mediaType, data)
		if err != nil {
			return nil, err
		}
		layers = append(layers, layer)
	}
	manifest, err := json.Marshal(ocispec.Manifest{
		Versioned: specs.Versioned{SchemaVersion: 2}, Config: config, Layers: layers,
	})
	if err != nil {
		return nil, err
	}
	described, err := oras.TagBytes(ctx, store, ocispec.MediaTypeImageManifest, manifest, tag)
	if err != nil {
		return nil, err
	}
	_, err = oras.Copy(ctx, store, tag, repository, tag, oras.DefaultCopyOptions)
	return described.Digest.String(), err
}

// helmPull writes chart.tgz, and chart.tgz.prov if there is one, after checking that this is a chart.
func helmPull(ctx context.Context, args []string) (any, error) {
	repository, tag, err := orasRepository(args[0])
	if err != nil {
		return nil, err
	}
	store := memory.New()
	found, err := oras.Copy(ctx, repository, tag, store, "", oras.DefaultCopyOptions)
	if err != nil {
		return nil, err
	}
	data, err := content.FetchAll(ctx, store, found)
	if err != nil {
		return nil, err
	}
	var manifest ocispec.Manifest
	if err := json.Unmarshal(data, &manifest); err != nil {
		return nil, err
	}
	if manifest.Config.MediaType != helmConfig {
		return nil, fmt.Errorf("%s is no chart", manifest.Config.MediaType)
	}
	names := map[string]string{helmChart: "chart.tgz", helmProvenance: "chart.tgz.prov"}
	for _, layer := range manifest.Layers {
		data, err := content.FetchAll(ctx, store, layer)
		if err != nil {
			return nil, err
		}
		if err := os.WriteFile(filepath.Join(args[1], names[layer.MediaType]), data, 0o644); err != nil {
			return nil, err
		}
	}
	return found.Digest.String(), nil
}
