"""Start and stop a service from a program: ``protein2text serve``, the demo and the tests."""

import logging
import os
import socket
import time
from dataclasses import dataclass
from typing import Any

import httpx
import ray
from ray import serve
from ray.exceptions import RayError
from ray.serve import Application
from ray.serve.config import HTTPOptions, ProxyLocation

from protein2text.errors import ConfigError, ProteinToTextError, ResourcesUnavailable, ServiceError
from protein2text.resources import PROXY_TRY, connect, start_local_ray, starts_local_ray
from protein2text.termination import no_signal_lost
from protein2text_serve.app import GATEWAY_CPUS, build
from protein2text_serve.settings import LOOPBACK, ServiceConfig

logger = logging.getLogger(__name__)

APPLICATION = "protein2text"
READY_TIMEOUT_S = 60.0
SUPPLY_TIMEOUT_S = 60.0


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
    num_cpus: int | None = None,
    **settings: Any,
) -> Service:
    """Serve a model on this machine, or on the cluster that ``RAY_ADDRESS`` names, and wait until it answers.

    Args:
        model_uri: model folder, ``models:/NAME@ALIAS`` or ``models:/NAME/VERSION``.
        tracking_uri: registry database, for a ``models:/`` uri.
        host: address to listen on. There are no keys yet, so anything but loopback demands ``allowed_hosts``.
        port: 0 chooses a free one.
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
    owns_ray = not ray.is_initialized()
    with no_signal_lost():
        application = build(config.model_dump(exclude_unset=True))
        port = _free_port(host, port)
        if owns_ray:
            _start_ray(num_cpus or len(os.sched_getaffinity(0)))
    url = f"http://{f'[{host}]' if ':' in host else host}:{port}"
    service = Service(url, {}, owns_ray)
    try:
        _check_free(url)
        _check_supply(config)
    except ProteinToTextError:
        _leave(service)
        raise
    try:
        with no_signal_lost():
            _deploy(application, host, port, url)
            service = Service(url, _wait_until_ready(url), owns_ray)
    except BaseException:
        stop(service)
        raise
    logger.info("serving %s at %s", service.model, url)
    return service


def stop(service: Service) -> None:
    """Remove the application, Serve when no other application uses it, and Ray when ``start`` started it."""
    applications = serve.status().applications
    if applications.pop(APPLICATION, None):
        serve.delete(APPLICATION)
    if not applications:
        serve.shutdown()
    _leave(service)


def _leave(service: Service) -> None:
    if service.owns_ray:
        ray.shutdown()


def _start_ray(num_cpus: int) -> None:
    """Start Ray on this machine, or join the cluster that ``RAY_ADDRESS`` names."""
    if starts_local_ray():
        start_local_ray(num_cpus)
    else:
        connect(os.environ["RAY_ADDRESS"])


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


def _check_free(url: str) -> None:
    """One cluster holds one service of this name.

    Raises:
        ServiceError: it runs already.
    """
    if APPLICATION in serve.status().applications:
        raise ServiceError(url, "this Ray already serves a model", "Stop that service first, or use another Ray.")


def _check_supply(config: ServiceConfig) -> None:
    """Compare what the first replicas reserve with the cluster, instead of waiting for it without end.

    What another job is just giving back is waited for; what the cluster does not have is not.

    Raises:
        ResourcesUnavailable: with the arithmetic.
    """
    num_models = max(config.min_replicas, 1)
    demand = {"CPU": GATEWAY_CPUS + num_models * config.cpus_per_replica, "GPU": num_models * config.gpus_per_replica}
    deadline = time.monotonic() + SUPPLY_TIMEOUT_S
    while lacking := _lacking(demand, ray.available_resources()):
        never = _lacking(demand, ray.cluster_resources())
        if never or time.monotonic() > deadline:
            parts = f"{demand['CPU']:g} CPU and {demand['GPU']:g} GPU (a gateway and {num_models} model replicas)"
            state = "in all" if never else "free"
            raise ResourcesUnavailable(parts, f"{never or lacking} {state}", "Stop other jobs, or add nodes.")
        time.sleep(0.5)


def _lacking(demand: dict[str, float], supply: dict[str, float]) -> str:
    """What there is of the first kind of which there is not enough; empty when all is there."""
    for kind, amount in demand.items():
        if amount > supply.get(kind, 0.0) + 1e-9:
            return f"{supply.get(kind, 0.0):g} {kind}"
    return ""


def _deploy(application: Application, host: str, port: int, url: str) -> None:
    """Start Serve's proxy and the deployments; returns when the replicas run.

    Raises:
        ServiceError: the proxy or a replica could not be started.
    """
    try:
        serve.start(proxy_location=ProxyLocation.HeadOnly, http_options=HTTPOptions(host=host, port=port))
        serve.run(application, name=APPLICATION, route_prefix="/")
    except (RuntimeError, TimeoutError, RayError) as error:
        remedy = f"Let other work end, give the cluster's nodes a higher {PROXY_TRY}, or read the log of Ray Serve."
        problem = " ".join(str(error).split())
        raise ServiceError(url, f"the service did not start ({problem})", remedy) from error


def _wait_until_ready(url: str) -> dict[str, Any]:
    """Ask ``/readyz`` until a model replica answers; returns the model it names.

    Raises:
        ServiceError: nothing answered in time.
    """
    deadline = time.monotonic() + READY_TIMEOUT_S
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
    raise ServiceError(url, f"not ready after {READY_TIMEOUT_S:g} s ({problem})", "Read the log of Ray Serve.")
