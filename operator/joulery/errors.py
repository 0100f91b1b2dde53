"""The errors of Joulery.

JouleryError
├── ConfigError          settings, files or objects that a person must mend
│   └── ProfileError     a profile that is not usable, with the failing field or point
├── ClusterError         the API server refused or could not be reached
│   ├── ConflictError    somebody moved what was decided on
│   ├── ForbiddenError   a right is missing
│   └── UnavailableError the API server is down, slow or overloaded
├── MetricsError         Prometheus or an engine's metrics could not be read
└── DeviceError          NVML refused or failed
"""

from __future__ import annotations


class JouleryError(Exception):
    """Anything Joulery raises on purpose."""


class ConfigError(JouleryError):
    """Settings, files or objects that a person must mend."""


class ProfileError(ConfigError):
    """A profile that is not usable; the message names the failing field or point."""


class ClusterError(JouleryError):
    """The API server refused or could not be reached."""


class ConflictError(ClusterError):
    """Somebody moved what was decided on."""


class ForbiddenError(ClusterError):
    """A right is missing."""


class UnavailableError(ClusterError):
    """The API server is down, slow or overloaded."""


class MetricsError(JouleryError):
    """Prometheus or an engine's metrics could not be read."""


class DeviceError(JouleryError):
    """NVML refused or failed."""
