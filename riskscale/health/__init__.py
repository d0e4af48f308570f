"""Health: whether a replica is well, in one report. Checks of other servers: ``postgresql``, ``rabbitmq``, ``http``."""

from riskscale.health.monitor import HealthMonitor
from riskscale.health.report import HEALTH_JSON, CheckReport, HealthReport, HealthStatus, Observation

__all__ = ["HEALTH_JSON", "CheckReport", "HealthMonitor", "HealthReport", "HealthStatus", "Observation"]
