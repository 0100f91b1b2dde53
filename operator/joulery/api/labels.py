"""Every name by which Joulery marks, finds and writes things in a cluster."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

GROUP = "joulery.dev"
VERSION = "v1alpha1"
API_VERSION = f"{GROUP}/{VERSION}"

FIELD_MANAGER = "joulery"
AGENT_FIELD_MANAGER = "joulery-agent"
METRIC_PREFIX = "joulery_"

OPERATOR_NAMESPACE = "joulery-system"
CONTROLLER_SERVICE_ACCOUNT = "joulery-controller"
AGENT_SERVICE_ACCOUNT = "joulery-agent"
LEASE_NAME = "joulery"

# The only two marks on other people's pods; manifests/admission.yaml confines the controller to them.
LANE_LABEL = f"{GROUP}/lane"
DELETION_COST_ANNOTATION = "controller.kubernetes.io/pod-deletion-cost"

# Deletion cost of the pod that is to go first. Any value below the default of 0 does.
VICTIM_DELETION_COST = "-100"

# Emulation only: the start-up time of a pod, in seconds, on its template.
STARTUP_SECONDS_ANNOTATION = f"emulator.{GROUP}/startup-seconds"

GPU_RESOURCE = "nvidia.com/gpu"
GPU_PRODUCT_LABEL = "nvidia.com/gpu.product"
GPU_PRESENT_LABEL = "nvidia.com/gpu.present"

# Values of the label that NVIDIA's GPU feature discovery sets, and our name of the accelerator.
ACCELERATOR_OF_PRODUCT: Mapping[str, str] = MappingProxyType(
    {
        "NVIDIA-A100-SXM4-40GB": "A100-SXM-40GB",
        "NVIDIA-A100-SXM4-80GB": "A100-SXM-80GB",
        "NVIDIA-A100-80GB-PCIe": "A100-PCIe-80GB",
        "NVIDIA-H100-80GB-HBM3": "H100-SXM-80GB",
        "NVIDIA-H100-PCIe": "H100-PCIe-80GB",
        "NVIDIA-H100-NVL": "H100-NVL-94GB",
        "NVIDIA-H200": "H200-SXM-141GB",
        "NVIDIA-H200-NVL": "H200-NVL-141GB",
        "NVIDIA-B200": "B200-SXM-180GB",
        "NVIDIA-L40S": "L40S-48GB",
    }
)

# GPU feature discovery appends these where a GPU is shared between pods; the accelerator is the same.
_SHARING_SUFFIXES = ("-SHARED",)


def accelerator_of_product(product: str) -> str | None:
    """Our name of an accelerator by its product label; None for products without a name here."""
    for suffix in _SHARING_SUFFIXES:
        product = product.removesuffix(suffix)
    return ACCELERATOR_OF_PRODUCT.get(product)
