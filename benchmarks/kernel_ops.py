"""The operations one by one, each beside plain torch, torch.compile and whatever else does the same.

Legend: S packed rows, E encoder width, F hidden width, H heads, C channels, K latents, D decoder width, T tokens.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache, partial
from typing import Any

import torch
import torch.nn.functional as F
from kernel_cases import Case, Sizes, Step, rotating
from torch import Tensor

from protein2text_kernels.bias_gelu import bias_gelu
from protein2text_kernels.bias_gelu import naive as plain_gelu
from protein2text_kernels.media_keys_values import Layer, media_keys_values
from protein2text_kernels.qkv_rope import naive as plain_rope
from protein2text_kernels.qkv_rope import qkv_rope
from protein2text_kernels.residual_layer_norm import naive as plain_norm
from protein2text_kernels.residual_layer_norm import residual_layer_norm
from protein2text_kernels.splice import splice
from protein2text_kernels.splice.plan import plan

TOLERANCES = {torch.float32: 1e-6, torch.float16: 6e-4, torch.bfloat16: 4e-3}
LIBRARY_TOLERANCE = 2e-6
"""Of float32 where a library multiplies matrices, and chooses how by their size."""
HALF_TOLERANCE = 5e-2
"""Of several steps in half precision, whose roundings add up; ours must not exceed the best peer's by half."""
SETS = 2
"""Of inputs, used in turn."""
EPS = 1e-5


class Draw:
    """Normal numbers, each call new ones, the same at every run."""

    def __init__(self, device: torch.device, dtype: torch.dtype) -> None:
        self.device, self.dtype = device, dtype
        self.generator = torch.Generator(device).manual_seed(0)

    def __call__(self, *shape: int, grad: bool = False) -> Tensor:
        drawn = torch.randn(*shape, generator=self.generator, device=self.device, dtype=torch.float32)
        return drawn.to(self.dtype).requires_grad_(grad)


@lru_cache
def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """By torch, once for all shapes."""
    return torch.compile(function, dynamic=True)


def operations(sizes: Sizes, name: str, dtype: torch.dtype, device: torch.device) -> Iterator[Case]:
    """Every operation but attention at one batch of proteins."""
    lengths = sizes.batches[name]
    draw, rows = Draw(device, dtype), sum(lengths) + 2 * len(lengths)
    yield from encoder_operations(sizes, name, rows, draw)
    yield from splicing(sizes, name, len(lengths), draw)
    yield reading_media(sizes, name, sum(lengths) + len(lengths), draw)


def encoder_operations(sizes: Sizes, name: str, rows: int, draw: Draw) -> Iterator[Case]:
    """K1, K2 and K3."""
    width, heads, hidden = sizes.width, sizes.num_heads, 4 * sizes.width
    channels, number = width // heads, draw.dtype.itemsize
    yield elementwise(
        "bias_gelu", f"{name} S={rows} F={hidden}", draw, bias_gelu, plain_gelu.bias_gelu,
        lambda: (draw(rows, hidden), draw(hidden)), number * hidden * (2 * rows + 1),
    )  # fmt: skip

    def rope_inputs() -> tuple[Any, ...]:
        angles = draw(rows, channels // 2).float() * 9
        tables = torch.cat((angles, angles), dim=-1)
        cos, sin = tables.cos().to(draw.dtype), tables.sin().to(draw.dtype)
        return draw(rows, 3, heads, channels), draw(3, heads, channels), cos, sin, channels**-0.5

    yield elementwise(
        "qkv_rope", f"{name} S={rows} H={heads} C={channels}", draw, qkv_rope, plain_rope.qkv_rope, rope_inputs,
        number * (rows * (6 * width + 2 * channels) + 3 * width),
    )  # fmt: skip
    yield elementwise(
        "residual_layer_norm", f"{name} S={rows} E={width}", draw, residual_layer_norm, plain_norm.residual_layer_norm,
        lambda: (draw(rows, width), draw(rows, width), draw(width), draw(width), draw(width), EPS),
        number * width * (4 * rows + 3),
    )  # fmt: skip


def elementwise(
    op: str, shape: str, draw: Draw, ours: Callable[..., Any], plain: Callable[..., Any],
    make: Callable[[], tuple[Any, ...]], num_bytes: int,
) -> Case:  # fmt: skip
    """An operation that reads and writes each element once, forward only."""
    sets = [make() for _ in range(SETS)]

    def exact() -> Sequence[Tensor]:
        wide = [each.double() if isinstance(each, Tensor) else each for each in sets[0]]
        found = plain(*wide)
        return [found] if isinstance(found, Tensor) else found

    providers = {
        "ours": lambda: Step(rotating(sets, ours)),
        "eager": lambda: Step(rotating(sets, plain)),
        "torch.compile": lambda: Step(rotating(sets, compiled(plain))),
    }
    return Case(op, "forward", shape, draw.dtype, num_bytes, 0, TOLERANCES[draw.dtype], exact, providers)


def splicing(sizes: Sizes, name: str, num_examples: int, draw: Draw) -> Iterator[Case]:
    """K8, both passes: an example is some words with one protein's latents between them."""
    latents, width, example = sizes.num_latents, sizes.decoder_width, sizes.words + sizes.num_latents
    total, num_rows, before = num_examples * example, num_examples * latents, sizes.words // 4
    places = [begin * example + before + row for begin in range(num_examples) for row in range(latents)]
    tokens = torch.randint(sizes.vocabulary, (total,), generator=torch.Generator().manual_seed(0)).tolist()
    made = plan(tokens, dict(zip(places, range(num_rows), strict=True)), num_rows)
    our_plan = type(made)(*(each.to(draw.device) for each in made))
    ids, at = torch.tensor(tokens, device=draw.device), torch.tensor(places, device=draw.device)
    sets = [(draw(sizes.vocabulary, width), draw(num_rows, width, grad=True)) for _ in range(SETS)]

    def put(words: Tensor, rows: Tensor) -> Tensor:
        return F.embedding(ids, words).index_put((at,), rows)

    def loop(words: Tensor, rows: Tensor) -> Tensor:
        pieces = []
        for number in range(num_examples):
            own = ids[number * example : (number + 1) * example]
            pieces += [F.embedding(own[:before], words), rows[number * latents : (number + 1) * latents]]
            pieces.append(F.embedding(own[before + latents :], words))
        return torch.cat(pieces)

    ways: dict[str, Callable[..., Tensor]] = {
        "ours": lambda words, rows: splice(words, rows, our_plan), "index_put": put, "loop over examples": loop,
    }  # fmt: skip
    number = draw.dtype.itemsize
    shape, upstream = f"{name} T={total} L={num_rows} D={width}", draw(total, width)
    yield Case(
        "splice", "forward", shape, draw.dtype, 2 * total * width * number, 0, TOLERANCES[draw.dtype],
        lambda: [put(*(each.double() for each in sets[0]))],
        {way: partial(lambda do: Step(rotating(sets, do)), do) for way, do in ways.items()},
    )  # fmt: skip
    row_of = lambda inputs: [inputs[1]]  # noqa: E731
    yield Case(
        "splice", "backward", shape, draw.dtype, 2 * num_rows * width * number, 0, TOLERANCES[draw.dtype],
        lambda: [upstream.double()[at]],
        {way: partial(backward, do, sets, upstream, row_of) for way, do in ways.items()},
    )  # fmt: skip


def backward(
    do: Callable[..., Tensor], sets: Sequence[tuple[Tensor, ...]], upstream: Any,
    leaves_of: Callable[[tuple[Tensor, ...]], list[Tensor]],
) -> Step:  # fmt: skip
    """The backward pass alone, as often as asked, of forward passes that were done beforehand."""
    done = [(do(*inputs), leaves_of(inputs)) for inputs in sets]
    gradients = lambda output, leaves: torch.autograd.grad(output, leaves, upstream, retain_graph=True)  # noqa: E731
    return Step(rotating(done, gradients))


def one_by_one(states: Tensor, position: Tensor, *flat: Tensor) -> list[Tensor]:
    """Each layer's norm and projection of the residues by themselves."""
    media, layers = states + position, range(0, len(flat), 3)
    return [F.linear(F.layer_norm(media, position.shape, *flat[at : at + 2], EPS), flat[at + 2]) for at in layers]


def reading_media(sizes: Sizes, name: str, rows: int, draw: Draw) -> Case:
    """Keys and values of the residues for all layers, forward and backward; libraries multiply on every side.

    Weights are float32, as they are trained, and autocast computes the products in the case's dtype.
    """
    width, features, depth = sizes.width, 2 * sizes.bridge_heads * sizes.head_dim, sizes.depths[0]
    weigh = Draw(draw.device, torch.float32)
    weights = [weigh(*shape, grad=True) for _ in range(depth) for shape in ((width,), (width,), (features, width))]
    leaves = [weigh(width, grad=True), *weights]
    sets = [(draw(rows, width), *leaves) for _ in range(SETS)]
    upstream = [draw(rows, features) for _ in range(depth)]

    def ours(states: Tensor, position: Tensor, *flat: Tensor) -> Sequence[Tensor]:
        layers = [Layer(*flat[at : at + 3]) for at in range(0, len(flat), 3)]
        return media_keys_values(states, position, layers, eps=EPS)

    def both(do: Callable[..., Sequence[Tensor]], *inputs: Tensor) -> Sequence[Tensor]:
        half = draw.dtype != torch.float32 and inputs[0].dtype == draw.dtype
        with torch.autocast(draw.device.type, draw.dtype if half else torch.bfloat16, enabled=half):
            found = do(*inputs)
        return [*found, *torch.autograd.grad(found, inputs[1:], [each.to(found[0].dtype) for each in upstream])]

    def exact() -> Sequence[Tensor]:
        return both(one_by_one, *(each.detach().double().requires_grad_(each.requires_grad) for each in sets[0]))

    number, several = draw.dtype.itemsize, LIBRARY_TOLERANCE if draw.dtype == torch.float32 else HALF_TOLERANCE
    return Case(
        "media_keys_values", "forward + backward", f"{name} S={rows} E={width} F={features} depth={depth}", draw.dtype,
        2 * number * rows * (width + depth * features), 4 * rows * width * depth * features, several, exact,
        {
            "ours": lambda: Step(rotating(sets, partial(both, ours))),
            "layer by layer": lambda: Step(rotating(sets, partial(both, one_by_one))),
            "layer by layer, torch.compile": lambda: Step(rotating(sets, partial(both, compiled(one_by_one)))),
        },
    )  # fmt: skip
