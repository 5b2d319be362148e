"""Triton kernels of the autofocus convolution and of a dilated one, for fused_cuda.py.

    Σ_k Λ_k(p) Σ_t W_t x(p + r_k t)  =  Σ_t W_t [ Σ_k Λ_k(p) x(p + r_k t) ]

: for each of the 27 taps t blend the K shifted inputs, then multiply once. A row is the channels of one voxel; rows
follow one another (sample, z, y, x). x, y and their gradients are (rows, channels), attention and its gradient
(K, rows), `faces` (rows) says which neighbours of a voxel lie inside its volume (see fused_cuda.py), all contiguous;
sums are float32. Tiles are (BLOCK, BRANCHES, channels): in this order Triton gives a thread all rates of a row, so that
it adds them up alone, and one blended tile a tap goes to the tensor cores.

Constants: K rates, BRANCHES the next power of two; IN and OUT channels, PADDED_* the next power of two from 16 on;
WEIGHTED: with attention, else a plain convolution of one rate; BLOCK: voxels a step.
"""

import triton
import triton.language as tl

EXISTS = tl.constexpr(1 << 30)
"""Set in the faces of every voxel, not in what is read beyond the last."""

SIZES = ["rows", "plane", "line"]
"""Not worth a compilation of their own for numbers that 16 divides."""


@triton.jit
def neighbours(tap, plane, line, rates_ptr, K: tl.constexpr, BRANCHES: tl.constexpr):
    """Return how many rows on the tap's neighbour lies at each rate, and the bits of `faces` it needs, (BRANCHES,).

    Along an axis tap 0, 1, 2 is the voxel before, itself, after, and needs bit 0, none, bit 1 of the axis' two.
    """
    k = tl.arange(0, BRANCHES)
    z, y, x = tap // 9, tap // 3 % 3, tap % 3
    step = (z - 1) * plane + (y - 1) * line + (x - 1)
    need = (2 * z + 1) % 3 + 4 * ((2 * y + 1) % 3) + 16 * ((2 * x + 1) % 3)
    shift = step * tl.load(rates_ptr + k, mask=k < K, other=0)
    return shift, tl.where(k < K, (need << (6 * k)) | EXISTS, -1)


@triton.jit
def shifted(x_ptr, shift, inside, CHANNELS: tl.constexpr, PADDED: tl.constexpr, BLOCK: tl.constexpr):
    """Return the block's rows at p + shift, (BLOCK, BRANCHES, PADDED), 0 where not `inside` (BLOCK, BRANCHES)."""
    column = tl.arange(0, PADDED)
    offset = tl.arange(0, BLOCK)[:, None] * CHANNELS + column[None, :]
    mask = inside[:, :, None]
    if CHANNELS != PADDED:
        mask = mask & (column < CHANNELS)[None, None, :]
    return tl.load(x_ptr + (offset[:, None, :] + (shift * CHANNELS)[None, :, None]), mask=mask, other=0.0)


@triton.jit
def weighted_sum(weight, value):
    """Σ_k of weight (BLOCK, BRANCHES) · value (BLOCK, BRANCHES, channels), in value's type."""
    return tl.sum(weight[:, :, None] * value.to(tl.float32), 1).to(value.dtype)


@triton.jit
def block_rows(ptr, exists, CHANNELS: tl.constexpr, PADDED: tl.constexpr, BLOCK: tl.constexpr):
    """Return pointers to the block's rows and their mask, both (BLOCK, PADDED)."""
    column = tl.arange(0, PADDED)
    mask = exists[:, None]
    if CHANNELS != PADDED:
        mask = mask & (column < CHANNELS)[None, :]
    return ptr + (tl.arange(0, BLOCK)[:, None] * CHANNELS + column[None, :]), mask


@triton.jit
def block_attention(attention_ptr, rows, exists, K: tl.constexpr, BRANCHES: tl.constexpr, BLOCK: tl.constexpr):
    """Return pointers to the block's attention and their mask, both (BLOCK, BRANCHES)."""
    k = tl.arange(0, BRANCHES)
    return (attention_ptr + tl.arange(0, BLOCK)[:, None] + k.to(tl.int64)[None, :] * rows,
            exists[:, None] & (k < K)[None, :])


@triton.jit(do_not_specialize=SIZES)
def convolve(x_ptr, attention_ptr, weight_ptr, bias_ptr, faces_ptr, rates_ptr, y_ptr, rows, plane, line,
             K: tl.constexpr, BRANCHES: tl.constexpr, IN: tl.constexpr, OUT: tl.constexpr, PADDED_IN: tl.constexpr,
             PADDED_OUT: tl.constexpr, WEIGHTED: tl.constexpr, AT_SOURCE: tl.constexpr, BIASED: tl.constexpr,
             BLOCK: tl.constexpr):
    """y(p) = bias + Σ_t W_t Σ_k Λ_k x(p + r_k t); W is (27, PADDED_IN, PADDED_OUT). One program a block of voxels.

    Λ_k is that of p, or with AT_SOURCE that of p + r_k t.
    """
    start = tl.program_id(0).to(tl.int64) * BLOCK
    exists = tl.arange(0, BLOCK) < rows - start
    faces = tl.load(faces_ptr + start + tl.arange(0, BLOCK), mask=exists, other=0)
    channel = tl.arange(0, PADDED_OUT)
    weights = weight_ptr + (tl.arange(0, PADDED_IN)[:, None] * PADDED_OUT + channel[None, :])
    attention_at, known = block_attention(attention_ptr + start, rows, exists, K, BRANCHES, BLOCK)
    if WEIGHTED and not AT_SOURCE:
        attention = tl.load(attention_at, mask=known, other=0.0).to(tl.float32)
    total = tl.zeros((BLOCK, PADDED_OUT), tl.float32)
    for tap in range(27):
        shift, bits = neighbours(tap, plane, line, rates_ptr, K, BRANCHES)
        inside = (faces[:, None] & bits[None, :]) == bits[None, :]
        value = shifted(x_ptr + start * IN, shift, inside, IN, PADDED_IN, BLOCK)
        if not WEIGHTED:
            blended = tl.reshape(value, (BLOCK, PADDED_IN))
        elif AT_SOURCE:
            there = tl.load(attention_at + shift[None, :], mask=inside, other=0.0).to(tl.float32)
            blended = weighted_sum(there, value)
        else:
            blended = weighted_sum(attention, value)
        weight = tl.load(weights + tap * (PADDED_IN * PADDED_OUT))
        total = tl.dot(blended, weight, acc=total, input_precision="ieee")
    if BIASED:
        total += tl.load(bias_ptr + channel, mask=channel < OUT, other=0.0).to(tl.float32)[None, :]
    y_at, mask = block_rows(y_ptr + start * OUT, exists, OUT, PADDED_OUT, BLOCK)
    tl.store(y_at, total.to(y_ptr.dtype.element_ty), mask=mask)


@triton.jit(do_not_specialize=SIZES)
def attention_gradient(x_ptr, weight_ptr, faces_ptr, rates_ptr, dy_ptr, dattention_ptr, rows, plane, line,
                       K: tl.constexpr, BRANCHES: tl.constexpr, IN: tl.constexpr, OUT: tl.constexpr,
                       PADDED_IN: tl.constexpr, PADDED_OUT: tl.constexpr, BLOCK: tl.constexpr):
    """dΛ_k(p) = Σ_t ⟨W_tᵀ dy(p), x(p + r_k t)⟩; W is (27, PADDED_OUT, PADDED_IN). One program a block of voxels.

    Every eight channels have a sum of their own until the end, so that threads need not exchange at every tap.
    """
    start = tl.program_id(0).to(tl.int64) * BLOCK
    exists = tl.arange(0, BLOCK) < rows - start
    faces = tl.load(faces_ptr + start + tl.arange(0, BLOCK), mask=exists, other=0)
    weights = weight_ptr + (tl.arange(0, PADDED_OUT)[:, None] * PADDED_IN + tl.arange(0, PADDED_IN)[None, :])
    dy_at, mask = block_rows(dy_ptr + start * OUT, exists, OUT, PADDED_OUT, BLOCK)
    dy = tl.load(dy_at, mask=mask, other=0.0)
    sums = tl.zeros((BLOCK, BRANCHES, PADDED_IN // 8), tl.float32)
    for tap in range(27):
        shift, bits = neighbours(tap, plane, line, rates_ptr, K, BRANCHES)
        inside = (faces[:, None] & bits[None, :]) == bits[None, :]
        value = shifted(x_ptr + start * IN, shift, inside, IN, PADDED_IN, BLOCK)
        back = tl.dot(dy, tl.load(weights + tap * (PADDED_IN * PADDED_OUT)), input_precision="ieee")
        products = value.to(tl.float32) * back[:, None, :]
        sums += tl.sum(tl.reshape(products, (BLOCK, BRANCHES, PADDED_IN // 8, 8)), 3)
    to, known = block_attention(dattention_ptr + start, rows, exists, K, BRANCHES, BLOCK)
    tl.store(to, tl.sum(sums, 2).to(dattention_ptr.dtype.element_ty), mask=known)


@triton.jit(do_not_specialize=SIZES)
def weight_gradient(x_ptr, attention_ptr, faces_ptr, rates_ptr, dy_ptr, partial_ptr, rows, plane, line,
                    K: tl.constexpr, BRANCHES: tl.constexpr, IN: tl.constexpr, OUT: tl.constexpr,
                    PADDED_IN: tl.constexpr, PADDED_OUT: tl.constexpr, WEIGHTED: tl.constexpr, BLOCK: tl.constexpr,
                    STEPS: tl.constexpr):
    """dW_t = Σ_p blend_t(p)ᵀ dy(p) over chunks of STEPS blocks of voxels: (chunks, 27, PADDED_IN, PADDED_OUT).

    The 27 programs of a chunk follow one another, so that they find its rows in the cache.
    """
    tap = tl.program_id(0) % 27
    first = (tl.program_id(0) // 27).to(tl.int64) * (STEPS * BLOCK)
    shift, bits = neighbours(tap, plane, line, rates_ptr, K, BRANCHES)
    total = tl.zeros((PADDED_IN, PADDED_OUT), tl.float32)
    for step in range(STEPS):
        start = first + step * BLOCK
        exists = tl.arange(0, BLOCK) < rows - start
        faces = tl.load(faces_ptr + start + tl.arange(0, BLOCK), mask=exists, other=0)
        inside = (faces[:, None] & bits[None, :]) == bits[None, :]
        value = shifted(x_ptr + start * IN, shift, inside, IN, PADDED_IN, BLOCK)
        if WEIGHTED:
            attention_at, known = block_attention(attention_ptr + start, rows, exists, K, BRANCHES, BLOCK)
            blended = weighted_sum(tl.load(attention_at, mask=known, other=0.0).to(tl.float32), value)
        else:
            blended = tl.reshape(value, (BLOCK, PADDED_IN))
        dy_at, mask = block_rows(dy_ptr + start * OUT, exists, OUT, PADDED_OUT, BLOCK)
        total = tl.dot(tl.trans(blended), tl.load(dy_at, mask=mask, other=0.0), acc=total, input_precision="ieee")
    to = partial_ptr + tl.program_id(0).to(tl.int64) * (PADDED_IN * PADDED_OUT)
    channel = tl.arange(0, PADDED_OUT)
    tl.store(to + tl.arange(0, PADDED_IN)[:, None] * PADDED_OUT + channel[None, :], total)
