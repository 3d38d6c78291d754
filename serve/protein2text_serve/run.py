"""Start and stop a service from a program: ``protein2text serve``, the demo and the tests."""

import logging
import os
import signal
import socket
import time
from dataclasses import dataclass
from threading import Event
from typing import Any

import httpx
import ray
from ray import serve
from ray.serve.config import HTTPOptions, ProxyLocation

from protein2text.errors import ConfigError, ResourcesUnavailable, ServiceError
from protein2text_serve.app import GATEWAY_CPUS, build
from protein2text_serve.settings import LOOPBACK, ServiceConfig

logger = logging.getLogger(__name__)

APPLICATION = "protein2text"
START_TIMEOUT_S = 300.0


@dataclass(frozen=True)
class Service:
    """A running service.

    Args:
        url: where it answers.
        model: name, version and weights hash, as the service itself tells them.
        owns_ray: this process started Ray, so stopping the service stops it too.
    """

    url: str
    model: dict[str, Any]
    owns_ray: bool


def start(
    model_uri: str,
    *,
    tracking_uri: str | None = None,
    host: str = "127.0.0.1",
    port: int = 8000,
    block: bool = False,
    num_cpus: int | None = None,
    **settings: Any,
) -> Service:
    """Serve a model on this machine, or on the cluster that ``RAY_ADDRESS`` names, and wait until it answers.

    Args:
        model_uri: model folder, ``models:/NAME@ALIAS`` or ``models:/NAME/VERSION``.
        tracking_uri: registry database, for a ``models:/`` uri.
        host: address to listen on. There are no keys yet, so anything but loopback demands ``allowed_hosts``.
        port: 0 chooses a free one.
        block: return only after an interrupt or a termination signal, with the service stopped.
        num_cpus: CPUs of a Ray that is started here; all of the machine when None.
        settings: further fields of ``ServiceConfig``.

    Raises:
        ConfigError: settings that do not fit.
        ResourcesUnavailable: a cluster on which the replicas can never be placed.
        ServiceError: the port is taken, or the service did not come up.
    """
    config = ServiceConfig.parse({"model": model_uri, "tracking_uri": tracking_uri, **settings}, path="serve arguments")
    if f"[{host}]" not in LOOPBACK and host not in LOOPBACK and config.allowed_hosts == LOOPBACK:
        problem = f"{host!r} is reachable from other machines, and the service asks for no key"
        raise ConfigError("serve arguments", "host", f"{problem}. Put a proxy with login in front, name allowed_hosts.")
    application = build(config.model_dump())
    port = _free_port(host, port)
    owns_ray = not ray.is_initialized()
    if owns_ray:
        _start_ray(num_cpus)
    url = f"http://{f'[{host}]' if ':' in host else host}:{port}"
    service = Service(url, {}, owns_ray)
    try:
        _check_supply(config)
        serve.start(proxy_location=ProxyLocation.HeadOnly, http_options=HTTPOptions(host=host, port=port))
        serve.run(application, name=APPLICATION, route_prefix="/")
        service = Service(url, _wait_until_ready(url), owns_ray)
    except BaseException:
        stop(service)
        raise
    logger.info("serving %s at %s", service.model, url)
    if block:
        _wait_for_signal()
        stop(service)
    return service


def stop(service: Service) -> None:
    """Remove the application, Serve when no other application uses it, and Ray when ``start`` started it."""
    serve.delete(APPLICATION)
    if not serve.status().applications:
        serve.shutdown()
    if service.owns_ray:
        ray.shutdown()


def _start_ray(num_cpus: int | None) -> None:
    """Join the cluster that ``RAY_ADDRESS`` names, or start Ray on this machine, without its dashboard."""
    address = os.environ.get("RAY_ADDRESS")
    if address:
        ray.init(address=address, logging_level=logging.WARNING)
    else:
        ray.init(address="local", num_cpus=num_cpus, include_dashboard=False, logging_level=logging.WARNING)


def _free_port(host: str, port: int) -> int:
    """The port itself, or a free one for 0.

    Raises:
        ServiceError: another program listens there.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            remedy = "Stop what listens there, or choose another port (0 finds a free one)."
            raise ServiceError(f"http://{host}:{port}", f"cannot listen ({error.strerror})", remedy) from error
        return int(probe.getsockname()[1])


def _check_supply(config: ServiceConfig) -> None:
    """Compare what the first replicas reserve with what is free, instead of waiting for it without end."""
    num_models = max(config.min_replicas, 1)
    demand = {
        "CPU": GATEWAY_CPUS + num_models * config.cpus_per_replica,
        "GPU": num_models * config.gpus_per_replica,
    }
    free = ray.available_resources()
    for kind, amount in demand.items():
        if amount > free.get(kind, 0.0) + 1e-9:
            arithmetic = f"{amount:g} {kind} (gateway {GATEWAY_CPUS:g} CPU, {num_models} model replicas)"
            raise ResourcesUnavailable(
                arithmetic, f"{free.get(kind, 0.0):g} {kind} free", "Stop other jobs or add nodes."
            )


def _wait_until_ready(url: str) -> dict[str, Any]:
    """Ask ``/readyz`` until a model replica answers; returns the model it names.

    Raises:
        ServiceError: nothing answered in time.
    """
    deadline = time.monotonic() + START_TIMEOUT_S
    problem = "no answer"
    while time.monotonic() < deadline:
        try:
            response = httpx.get(f"{url}/readyz", timeout=10)
            if response.is_success:
                return dict(response.json()["model"])
            problem = f"{response.status_code} {response.text[:200]}"
        except httpx.HTTPError as error:
            problem = f"{type(error).__name__}: {error}"
        time.sleep(0.2)
    raise ServiceError(url, f"not ready after {START_TIMEOUT_S:g} s ({problem})", "Read the log of Ray Serve.")


def _wait_for_signal() -> None:
    """Return on an interrupt (Ctrl-C) or a termination signal."""
    signalled = Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: signalled.set())
    while not signalled.wait(1.0):
        pass
