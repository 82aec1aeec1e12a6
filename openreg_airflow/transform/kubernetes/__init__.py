"""The sandbox as a pod of a Kubernetes cluster, for ``[openreg] sandbox = kubernetes``."""
