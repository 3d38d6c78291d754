"""`ragged_cross_attention` in Triton: an online softmax over two segments, and a backward pass that reads them once.

The latents of one protein and head stay on chip. Forward goes over the latents' own keys first, so the running maximum
is finite even where a protein has no residue, then over the residues (FlashAttention, arXiv:2205.14135). Backward keeps
the queries' gradient in registers, forms softmax's inner product itself and writes each key's and value's gradient
once: five products a tile, no atomic operation, so the result is the same at every run. Parts of long proteins
leave partial results, which a second small kernel joins in order.

Scores are kept in base 2: ``exp2(score * log2(e) - maximum)``.
"""

import triton
import triton.language as tl

RAGGED = ["block_rows", "latent_block_rows"]
"""Integers that change from batch to batch: no machine code is made for their values."""


@triton.jit  # type: ignore[untyped-decorator]
def _product(left, right, PRECISION: tl.constexpr, UPCAST: tl.constexpr):  # type: ignore[no-untyped-def]
    """Matrix product with float32 sums; the interpreter's half-precision product is wrong, so there it is not used."""
    if UPCAST:
        left, right = left.to(tl.float32), right.to(tl.float32)
    return tl.dot(left, right, input_precision=PRECISION)


@triton.jit  # type: ignore[untyped-decorator]
def _tile(base, row, stride, end, C: tl.constexpr, BLOCK_C: tl.constexpr):  # type: ignore[no-untyped-def]
    """Where rows of C channels lie, ``stride`` apart, and which places of the tile hold any: none from ``end`` on."""
    channel = tl.arange(0, BLOCK_C)[None, :]
    return base + row[:, None] * stride + channel, (row < end)[:, None] & (channel < C)


@triton.jit  # type: ignore[untyped-decorator]
def _load(base, row, stride, end, C: tl.constexpr, BLOCK_C: tl.constexpr):  # type: ignore[no-untyped-def]
    """A tile of rows, zero where there are none."""
    place, inside = _tile(base, row, stride, end, C, BLOCK_C)
    return tl.load(place, mask=inside, other=0.0)


@triton.jit  # type: ignore[untyped-decorator]
def _store(base, row, stride, end, values, C: tl.constexpr, BLOCK_C: tl.constexpr):  # type: ignore[no-untyped-def]
    """Write a tile's rows, and nothing beside them."""
    place, inside = _tile(base, row, stride, end, C, BLOCK_C)
    tl.store(place, values, mask=inside)


@triton.jit  # type: ignore[untyped-decorator]
def _attend(  # type: ignore[no-untyped-def]
    queries, keys, values, key_stride, value_stride, begin, end, maximum, total, sums, factor, C: tl.constexpr,
    BLOCK_N: tl.constexpr, BLOCK_C: tl.constexpr, PRECISION: tl.constexpr, UPCAST: tl.constexpr,
):  # fmt: skip
    """Go over the keys from row ``begin`` to ``end`` and update the running softmax."""
    for start in range(begin, end, BLOCK_N):
        row = (start + tl.arange(0, BLOCK_N)).to(tl.int64)
        key = _load(keys, row, key_stride, end, C, BLOCK_C)
        value = _load(values, row, value_stride, end, C, BLOCK_C)
        scores = _product(queries, tl.trans(key), PRECISION, UPCAST) * factor
        scores = tl.where((row < end)[None, :], scores, float("-inf"))
        larger = tl.maximum(maximum, tl.max(scores, 1))
        weights = tl.exp2(scores - larger[:, None])
        shrink = tl.exp2(maximum - larger)
        total = total * shrink + tl.sum(weights, 1)
        sums = sums * shrink[:, None] + _product(weights.to(value.dtype), value, PRECISION, UPCAST)
        maximum = larger
    return maximum, total, sums


@triton.jit  # type: ignore[untyped-decorator]
def attention_forward_kernel(  # type: ignore[no-untyped-def]
    queries, latent_keys, latent_values, keys, values, output, normalizers, part_sums, part_normalizers, items,
    query_stride_b, query_stride_k, latent_key_stride_b, latent_key_stride_k, latent_value_stride_b,
    latent_value_stride_k, key_stride, value_stride, factor, first_rows, K: tl.constexpr, H: tl.constexpr,
    C: tl.constexpr, BLOCK_K: tl.constexpr, BLOCK_N: tl.constexpr, BLOCK_C: tl.constexpr, PRECISION: tl.constexpr,
    UPCAST: tl.constexpr,
):  # fmt: skip
    """One item of the work list, one head and one block of latents a program."""
    item, head = tl.program_id(0), tl.program_id(1)
    protein = tl.load(items + item * 4).to(tl.int64)
    begin, end, slot = tl.load(items + item * 4 + 1), tl.load(items + item * 4 + 2), tl.load(items + item * 4 + 3)
    latent = tl.program_id(2) * BLOCK_K + tl.arange(0, BLOCK_K)
    query = _load(queries + protein * query_stride_b + head * C, latent, query_stride_k, K, C, BLOCK_C)
    maximum = tl.full([BLOCK_K], -1e30, tl.float32)
    total = tl.zeros([BLOCK_K], tl.float32)
    sums = tl.zeros([BLOCK_K, BLOCK_C], tl.float32)
    if begin == tl.load(first_rows + protein):
        maximum, total, sums = _attend(
            query, latent_keys + protein * latent_key_stride_b + head * C,
            latent_values + protein * latent_value_stride_b + head * C, latent_key_stride_k, latent_value_stride_k,
            0, K, maximum, total, sums, factor, C, BLOCK_N, BLOCK_C, PRECISION, UPCAST,
        )  # fmt: skip
    maximum, total, sums = _attend(
        query, keys + head * C, values + head * C, key_stride, value_stride, begin, end, maximum, total, sums, factor,
        C, BLOCK_N, BLOCK_C, PRECISION, UPCAST,
    )  # fmt: skip
    sums = sums / total[:, None]
    normalizer = maximum + tl.log2(total)
    if slot < 0:
        first = protein * K * H + head
        _store(output + first * C, latent, H * C, K, sums, C, BLOCK_C)
        tl.store(normalizers + first + latent * H, normalizer, mask=latent < K)
    else:
        first = slot.to(tl.int64) * K * H + head
        _store(part_sums + first * C, latent, H * C, K, sums, C, BLOCK_C)
        tl.store(part_normalizers + first + latent * H, normalizer, mask=latent < K)


@triton.jit  # type: ignore[untyped-decorator]
def join_attention_kernel(  # type: ignore[no-untyped-def]
    part_sums, part_normalizers, output, normalizers, cut, K: tl.constexpr, H: tl.constexpr, C: tl.constexpr,
    BLOCK_K: tl.constexpr, BLOCK_C: tl.constexpr,
):  # fmt: skip
    """Join the parts of one protein and head, in order: each is a softmax whose normalizer is known."""
    number, head = tl.program_id(0), tl.program_id(1)
    protein = tl.load(cut + number * 3).to(tl.int64)
    first, num_slots = tl.load(cut + number * 3 + 1).to(tl.int64), tl.load(cut + number * 3 + 2)
    latent = tl.program_id(2) * BLOCK_K + tl.arange(0, BLOCK_K)
    maximum = tl.full([BLOCK_K], -1e30, tl.float32)
    total = tl.zeros([BLOCK_K], tl.float32)
    sums = tl.zeros([BLOCK_K, BLOCK_C], tl.float32)
    for slot in range(first, first + num_slots):
        begin = slot * K * H + head
        part = _load(part_sums + begin * C, latent, H * C, K, C, BLOCK_C)
        normalizer = tl.load(part_normalizers + begin + latent * H, mask=latent < K, other=0.0)
        larger = tl.maximum(maximum, normalizer)
        weight, shrink = tl.exp2(normalizer - larger), tl.exp2(maximum - larger)
        total = total * shrink + weight
        sums = sums * shrink[:, None] + part * weight[:, None]
        maximum = larger
    begin = protein * K * H + head
    _store(output + begin * C, latent, H * C, K, sums / total[:, None], C, BLOCK_C)
    tl.store(normalizers + begin + latent * H, maximum + tl.log2(total), mask=latent < K)


@triton.jit  # type: ignore[untyped-decorator]
def _differentiate(  # type: ignore[no-untyped-def]
    query, upstream, normalizer, inner, query_gradient, keys, values, key_gradients, value_gradients, key_stride,
    value_stride, gradient_stride, begin, end, factor, scale, C: tl.constexpr, BLOCK_N: tl.constexpr,
    BLOCK_C: tl.constexpr, PRECISION: tl.constexpr, UPCAST: tl.constexpr,
):  # fmt: skip
    """Go over the keys from row ``begin`` to ``end``: write their gradients, add to the queries'."""
    for start in range(begin, end, BLOCK_N):
        row = (start + tl.arange(0, BLOCK_N)).to(tl.int64)
        key = _load(keys, row, key_stride, end, C, BLOCK_C)
        value = _load(values, row, value_stride, end, C, BLOCK_C)
        scores = _product(query, tl.trans(key), PRECISION, UPCAST) * factor
        weights = tl.where((row < end)[None, :], tl.exp2(scores - normalizer[:, None]), 0.0)
        value_gradient = _product(tl.trans(weights.to(value.dtype)), upstream, PRECISION, UPCAST)
        weight_gradient = _product(upstream, tl.trans(value), PRECISION, UPCAST)
        score_gradient = (weights * (weight_gradient - inner[:, None]) * scale).to(key.dtype)
        key_gradient = _product(tl.trans(score_gradient), query, PRECISION, UPCAST)
        query_gradient += _product(score_gradient, key, PRECISION, UPCAST)
        _store(value_gradients, row, gradient_stride, end, value_gradient, C, BLOCK_C)
        _store(key_gradients, row, gradient_stride, end, key_gradient, C, BLOCK_C)
    return query_gradient


@triton.jit(do_not_specialize=RAGGED)  # type: ignore[untyped-decorator]
def attention_backward_kernel(  # type: ignore[no-untyped-def]
    queries, latent_keys, latent_values, keys, values, output, upstreams, normalizers, query_gradients,
    latent_key_gradients, latent_value_gradients, key_gradients, value_gradients, part_gradients, items,
    query_stride_b, query_stride_k, latent_key_stride_b, latent_key_stride_k, latent_value_stride_b,
    latent_value_stride_k, key_stride, value_stride, factor, scale, first_rows, block_rows, latent_block_rows,
    K: tl.constexpr, H: tl.constexpr, C: tl.constexpr, BLOCK_K: tl.constexpr, BLOCK_N: tl.constexpr,
    BLOCK_C: tl.constexpr, PRECISION: tl.constexpr, UPCAST: tl.constexpr,
):  # fmt: skip
    """One item of the work list, one head and one block of latents a program; gradients are contiguous.

    Keys and values have a gradient from each block of latents, ``block_rows`` or ``latent_block_rows`` rows apart.
    """
    item, head = tl.program_id(0), tl.program_id(1)
    protein = tl.load(items + item * 4).to(tl.int64)
    begin, end, slot = tl.load(items + item * 4 + 1), tl.load(items + item * 4 + 2), tl.load(items + item * 4 + 3)
    latent = tl.program_id(2) * BLOCK_K + tl.arange(0, BLOCK_K)
    first = protein * K * H + head
    query = _load(queries + protein * query_stride_b + head * C, latent, query_stride_k, K, C, BLOCK_C)
    upstream = _load(upstreams + first * C, latent, H * C, K, C, BLOCK_C)
    attended = _load(output + first * C, latent, H * C, K, C, BLOCK_C)
    inner = tl.sum(upstream.to(tl.float32) * attended.to(tl.float32), 1)
    normalizer = tl.load(normalizers + first + latent * H, mask=latent < K, other=1e30)
    gradient = tl.zeros([BLOCK_K, BLOCK_C], tl.float32)
    block = tl.program_id(2).to(tl.int64)
    key_gradients += block * block_rows * (H * C) + head * C
    value_gradients += block * block_rows * (H * C) + head * C
    if begin == tl.load(first_rows + protein):
        own = (block * latent_block_rows + protein * K) * (H * C) + head * C
        gradient = _differentiate(
            query, upstream, normalizer, inner, gradient, latent_keys + protein * latent_key_stride_b + head * C,
            latent_values + protein * latent_value_stride_b + head * C, latent_key_gradients + own,
            latent_value_gradients + own, latent_key_stride_k, latent_value_stride_k, H * C, 0, K, factor, scale, C,
            BLOCK_N, BLOCK_C, PRECISION, UPCAST,
        )  # fmt: skip
    gradient = _differentiate(
        query, upstream, normalizer, inner, gradient, keys + head * C, values + head * C, key_gradients,
        value_gradients, key_stride, value_stride, H * C, begin, end, factor, scale, C, BLOCK_N, BLOCK_C, PRECISION,
        UPCAST,
    )  # fmt: skip
    if slot < 0:
        _store(query_gradients + first * C, latent, H * C, K, gradient, C, BLOCK_C)
    else:
        part = slot.to(tl.int64) * K * H + head
        _store(part_gradients + part * C, latent, H * C, K, gradient, C, BLOCK_C)


@triton.jit  # type: ignore[untyped-decorator]
def join_gradients_kernel(  # type: ignore[no-untyped-def]
    part_gradients, query_gradients, cut, K: tl.constexpr, H: tl.constexpr, C: tl.constexpr, BLOCK_K: tl.constexpr,
    BLOCK_C: tl.constexpr,
):  # fmt: skip
    """Add the queries' gradients of one protein's parts, in order."""
    number, head = tl.program_id(0), tl.program_id(1)
    protein = tl.load(cut + number * 3).to(tl.int64)
    first, num_slots = tl.load(cut + number * 3 + 1).to(tl.int64), tl.load(cut + number * 3 + 2)
    latent = tl.program_id(2) * BLOCK_K + tl.arange(0, BLOCK_K)
    gradient = tl.zeros([BLOCK_K, BLOCK_C], tl.float32)
    for slot in range(first, first + num_slots):
        part = slot * K * H + head
        gradient += _load(part_gradients + part * C, latent, H * C, K, C, BLOCK_C)
    begin = protein * K * H + head
    _store(query_gradients + begin * C, latent, H * C, K, gradient, C, BLOCK_C)
