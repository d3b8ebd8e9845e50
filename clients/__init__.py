"""The other side: pushing and pulling, in parts and resumably, to a Holdfast or to any OCI registry."""
