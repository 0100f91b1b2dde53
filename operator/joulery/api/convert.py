"""All conversions in one place, for the controller and the demo.

The node agent imports `convert_node` and `convert_policy` instead: this module knows the serving model, which
the agent's image does not carry.
"""

from __future__ import annotations

from joulery.api.convert_memory import memory_block, memory_of
from joulery.api.convert_node import directive_of, gpu_node_manifest, gpu_node_spec
from joulery.api.convert_policy import policy_of
from joulery.api.convert_pool import generation_of, key_of, pool_of
from joulery.api.convert_profile import profile_of
from joulery.api.convert_status import pool_status, rejected_status

__all__ = [
    "directive_of",
    "generation_of",
    "gpu_node_manifest",
    "gpu_node_spec",
    "key_of",
    "memory_block",
    "memory_of",
    "policy_of",
    "pool_of",
    "pool_status",
    "profile_of",
    "rejected_status",
]
