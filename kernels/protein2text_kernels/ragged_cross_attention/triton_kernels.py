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


@triton.jit  # type: ignore[untyped-decorator]
def _product(left, right, PRECISION: tl.constexpr, UPCAST: tl.constexpr):  # type: ignore[no-untyped-def]
    """Matrix product with float32 sums; the interpreter's half-precision product is wrong, so there it is not used."""
    if UPCAST:
        left, right = left.to(tl.float32), right.to(tl.float32)
    return tl.dot(left, right, input_precision=PRECISION)


@triton.jit  # type: ignore[untyped-decorator]
def _attend(  # type: ignore[no-untyped-def]
    queries, keys, values, key_stride, value_stride, begin, end, maximum, total, sums, factor, C: tl.constexpr,
    BLOCK_N: tl.constexpr, BLOCK_C: tl.constexpr, PRECISION: tl.constexpr, UPCAST: tl.constexpr,
):  # fmt: skip
    """Go over the keys from row ``begin`` to ``end`` and update the running softmax."""
    channel = tl.arange(0, BLOCK_C)
    for start in range(begin, end, BLOCK_N):
        row = start + tl.arange(0, BLOCK_N)
        inside = (row < end)[:, None] & (channel < C)[None, :]
        place = row.to(tl.int64)[:, None]
        key = tl.load(keys + place * key_stride + channel[None, :], mask=inside, other=0.0)
        value = tl.load(values + place * value_stride + channel[None, :], mask=inside, other=0.0)
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
    channel = tl.arange(0, BLOCK_C)
    inside = (latent < K)[:, None] & (channel < C)[None, :]
    place = latent[:, None] * query_stride_k + channel[None, :]
    query = tl.load(queries + protein * query_stride_b + head * C + place, mask=inside, other=0.0)
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
        row = (protein * K + latent) * H + head
        tl.store(output + row[:, None] * C + channel[None, :], sums, mask=inside)
        tl.store(normalizers + row, normalizer, mask=latent < K)
    else:
        row = (slot.to(tl.int64) * K + latent) * H + head
        tl.store(part_sums + row[:, None] * C + channel[None, :], sums, mask=inside)
        tl.store(part_normalizers + row, normalizer, mask=latent < K)


@triton.jit  # type: ignore[untyped-decorator]
def join_attention_kernel(  # type: ignore[no-untyped-def]
    part_sums, part_normalizers, output, normalizers, cut, K: tl.constexpr, H: tl.constexpr, C: tl.constexpr,
    BLOCK_K: tl.constexpr, BLOCK_C: tl.constexpr,
):  # fmt: skip
    """Join the parts of one protein and head, in order: each is a softmax whose normalizer is known."""
    number, head = tl.program_id(0), tl.program_id(1)
    protein = tl.load(cut + number * 3).to(tl.int64)
    first, num_slots = tl.load(cut + number * 3 + 1), tl.load(cut + number * 3 + 2)
    latent = tl.program_id(2) * BLOCK_K + tl.arange(0, BLOCK_K)
    channel = tl.arange(0, BLOCK_C)
    inside = (latent < K)[:, None] & (channel < C)[None, :]
    maximum = tl.full([BLOCK_K], -1e30, tl.float32)
    total = tl.zeros([BLOCK_K], tl.float32)
    sums = tl.zeros([BLOCK_K, BLOCK_C], tl.float32)
    for slot in range(first, first + num_slots):
        row = (slot * K + latent).to(tl.int64) * H + head
        part = tl.load(part_sums + row[:, None] * C + channel[None, :], mask=inside, other=0.0)
        normalizer = tl.load(part_normalizers + row, mask=latent < K, other=0.0)
        larger = tl.maximum(maximum, normalizer)
        weight, shrink = tl.exp2(normalizer - larger), tl.exp2(maximum - larger)
        total = total * shrink + weight
        sums = sums * shrink[:, None] + part * weight[:, None]
        maximum = larger
    row = (protein * K + latent) * H + head
    tl.store(output + row[:, None] * C + channel[None, :], sums / total[:, None], mask=inside)
    tl.store(normalizers + row, maximum + tl.log2(total), mask=latent < K)


@triton.jit  # type: ignore[untyped-decorator]
def _differentiate(  # type: ignore[no-untyped-def]
    query, upstream, normalizer, inner, query_gradient, keys, values, key_gradients, value_gradients, key_stride,
    value_stride, gradient_stride, begin, end, factor, scale, C: tl.constexpr, BLOCK_N: tl.constexpr,
    BLOCK_C: tl.constexpr, PRECISION: tl.constexpr, UPCAST: tl.constexpr,
):  # fmt: skip
    """Go over the keys from row ``begin`` to ``end``: write their gradients, add to the queries'."""
    channel = tl.arange(0, BLOCK_C)
    for start in range(begin, end, BLOCK_N):
        row = start + tl.arange(0, BLOCK_N)
        inside = (row < end)[:, None] & (channel < C)[None, :]
        place = row.to(tl.int64)[:, None]
        key = tl.load(keys + place * key_stride + channel[None, :], mask=inside, other=0.0)
        value = tl.load(values + place * value_stride + channel[None, :], mask=inside, other=0.0)
        scores = _product(query, tl.trans(key), PRECISION, UPCAST) * factor
        weights = tl.where((row < end)[None, :], tl.exp2(scores - normalizer[:, None]), 0.0)
        value_gradient = _product(tl.trans(weights.to(value.dtype)), upstream, PRECISION, UPCAST)
        weight_gradient = _product(upstream, tl.trans(value), PRECISION, UPCAST)
        score_gradient = (weights * (weight_gradient - inner[:, None]) * scale).to(key.dtype)
        key_gradient = _product(tl.trans(score_gradient), query, PRECISION, UPCAST)
        query_gradient += _product(score_gradient, key, PRECISION, UPCAST)
        out = place * gradient_stride + channel[None, :]
        tl.store(value_gradients + out, value_gradient, mask=inside)
        tl.store(key_gradients + out, key_gradient, mask=inside)
    return query_gradient


@triton.jit  # type: ignore[untyped-decorator]
def attention_backward_kernel(  # type: ignore[no-untyped-def]
    queries, latent_keys, latent_values, keys, values, output, upstreams, normalizers, query_gradients,
    latent_key_gradients, latent_value_gradients, key_gradients, value_gradients, part_gradients, items,
    query_stride_b, query_stride_k, latent_key_stride_b, latent_key_stride_k, latent_value_stride_b,
    latent_value_stride_k, key_stride, value_stride, factor, scale, first_rows, block_stride, latent_block_stride,
    K: tl.constexpr, H: tl.constexpr, C: tl.constexpr, BLOCK_K: tl.constexpr, BLOCK_N: tl.constexpr,
    BLOCK_C: tl.constexpr, PRECISION: tl.constexpr, UPCAST: tl.constexpr,
):  # fmt: skip
    """One item of the work list, one head and one block of latents a program; gradients are contiguous.

    Keys and values have a gradient from each block of latents, ``block_stride`` or ``latent_block_stride`` apart.
    """
    item, head = tl.program_id(0), tl.program_id(1)
    protein = tl.load(items + item * 4).to(tl.int64)
    begin, end, slot = tl.load(items + item * 4 + 1), tl.load(items + item * 4 + 2), tl.load(items + item * 4 + 3)
    latent = tl.program_id(2) * BLOCK_K + tl.arange(0, BLOCK_K)
    channel = tl.arange(0, BLOCK_C)
    inside = (latent < K)[:, None] & (channel < C)[None, :]
    row = (protein * K + latent) * H + head
    place = row[:, None] * C + channel[None, :]
    query = tl.load(
        queries + protein * query_stride_b + head * C + latent[:, None] * query_stride_k + channel[None, :],
        mask=inside, other=0.0,
    )  # fmt: skip
    upstream = tl.load(upstreams + place, mask=inside, other=0.0)
    attended = tl.load(output + place, mask=inside, other=0.0)
    inner = tl.sum(upstream.to(tl.float32) * attended.to(tl.float32), 1)
    normalizer = tl.load(normalizers + row, mask=latent < K, other=1e30)
    gradient = tl.zeros([BLOCK_K, BLOCK_C], tl.float32)
    block = tl.program_id(2).to(tl.int64)
    key_gradients += block * block_stride + head * C
    value_gradients += block * block_stride + head * C
    if begin == tl.load(first_rows + protein):
        own = block * latent_block_stride + protein * K * H * C + head * C
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
        tl.store(query_gradients + place, gradient, mask=inside)
    else:
        part = (slot.to(tl.int64) * K + latent) * H + head
        tl.store(part_gradients + part[:, None] * C + channel[None, :], gradient, mask=inside)


@triton.jit  # type: ignore[untyped-decorator]
def join_gradients_kernel(  # type: ignore[no-untyped-def]
    part_gradients, query_gradients, cut, K: tl.constexpr, H: tl.constexpr, C: tl.constexpr, BLOCK_K: tl.constexpr,
    BLOCK_C: tl.constexpr,
):  # fmt: skip
    """Add the queries' gradients of one protein's parts, in order."""
    number, head = tl.program_id(0), tl.program_id(1)
    protein = tl.load(cut + number * 3).to(tl.int64)
    first, num_slots = tl.load(cut + number * 3 + 1), tl.load(cut + number * 3 + 2)
    latent = tl.program_id(2) * BLOCK_K + tl.arange(0, BLOCK_K)
    channel = tl.arange(0, BLOCK_C)
    inside = (latent < K)[:, None] & (channel < C)[None, :]
    gradient = tl.zeros([BLOCK_K, BLOCK_C], tl.float32)
    for slot in range(first, first + num_slots):
        row = (slot * K + latent).to(tl.int64) * H + head
        gradient += tl.load(part_gradients + row[:, None] * C + channel[None, :], mask=inside, other=0.0)
    row = (protein * K + latent) * H + head
    tl.store(query_gradients + row[:, None] * C + channel[None, :], gradient, mask=inside)
