"""Version v1alpha1: one module per kind. These models are the one source of the CRDs in `crds/`."""
