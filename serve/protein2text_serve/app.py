"""The Serve application: ``protein2text_serve.app:build``, for ``protein2text serve`` and for Serve config files."""

from typing import Any

from ray import serve
from ray.serve import Application
from ray.serve.config import AutoscalingConfig, BackpressureConfig

from protein2text_serve.card import resolve_model
from protein2text_serve.gateway_deployment import Gateway
from protein2text_serve.question import ModelCard
from protein2text_serve.settings import ServiceConfig

GATEWAY_CPUS = 0.1
GATEWAY_QUEUE = 256
"""Requests that wait for the gateway itself; it refuses in its own words long before Serve does in plain text."""
SPARE_REQUESTS = 8
"""Above ``max_in_flight``, so that health and readiness are answered, and refusals spoken, under full load."""


def build(args: dict[str, Any]) -> Application:
    """Gateway and model deployments for one model version, or one index of neighbours.

    An alias is resolved here, once: replicas that start later load the same version, whatever the alias says then.

    Args:
        args: the fields of ``ServiceConfig``.

    Raises:
        ConfigError: a field that does not fit.
        CorruptCheckpoint: the model differs from its manifest.
    """
    config = ServiceConfig.parse(args, path="serve arguments")
    card = resolve_model(config)
    held = config.max_in_flight + SPARE_REQUESTS
    model = serve.deployment(
        autoscaling_config=AutoscalingConfig(
            min_replicas=config.min_replicas,
            max_replicas=config.max_replicas,
            target_ongoing_requests=config.batch_size,
        ),
        max_ongoing_requests=held,
        ray_actor_options={"num_cpus": config.cpus_per_replica, "num_gpus": config.gpus_per_replica},
        health_check_period_s=5,
        health_check_timeout_s=30,
        graceful_shutdown_timeout_s=30,
    )(_replica(card)).bind(config, card)
    return serve.deployment(
        max_ongoing_requests=held,
        max_queued_requests=GATEWAY_QUEUE,
        backpressure_config=BackpressureConfig(status_code=429, retry_after_s=1),
        ray_actor_options={"num_cpus": GATEWAY_CPUS},
    )(Gateway).bind(config, card, model)


def _replica(card: ModelCard) -> type:
    """What answers; only a model loads torch."""
    if card.is_index:
        from protein2text_serve.neighbours_deployment import Neighbours

        return Neighbours
    from protein2text_serve.model_deployment import Model

    return Model
