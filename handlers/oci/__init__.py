"""The OCI distribution face: one file per noun of the specification."""
