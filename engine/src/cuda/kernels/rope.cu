// Queries and keys get their bias, their normalisation and their rotation; keys and values go to the
// paged cache. One pass over the projections instead of five.

// Cosine and sine of every rotation of the step, once for all layers.
// Grid: tokens. Block: 64. positions [tokens], inverse [half], turns [tokens, half, 2]. Angles are products
// of 32-bit floats, as other engines and the reference compute them.
KERNEL rotations(const int* positions, const float* inverse, float* turns, int half) {
    int position = max(positions[blockIdx.x], 0);
    for (int i = threadIdx.x; i < half; i += blockDim.x) {
        float angle = (float)position * inverse[i];
        float* to = turns + ((i64)blockIdx.x * half + i) * 2;
        to[0] = cosf(angle);
        to[1] = sinf(angle);
    }
}

// Grid: (tokens, (heads + 2 kv_heads) / 4 rounded up). Block: 128, one warp a head.
// qkv [tokens, (heads + 2 kv_heads) * D]: queries are changed in place, keys and values are only read.
// bias [(heads + 2 kv_heads) * D] or null; q_gain and k_gain [D] or null. slots [tokens]: block * block size
// + offset; negative: nothing is written (a padding row). Rotary pairs are (i, i + D / 2). D is even, at
// most 256.
KERNEL rope_write(bf16* qkv, const float* bias, const float* q_gain, const float* k_gain, const float* turns,
                  const int* slots, bf16* keys, bf16* values, i64 block_stride, int heads, int kv_heads, int D,
                  int shift, float eps) {
    int head = blockIdx.y * 4 + (threadIdx.x >> 5), lane = threadIdx.x & 31, half = D / 2;
    if (head >= heads + 2 * kv_heads) return;
    i64 token = blockIdx.x;
    bf16* x = qkv + (token * (heads + 2 * kv_heads) + head) * D;
    const float* b = bias ? bias + (i64)head * D : nullptr;
    // Lane l has the pairs (l, l + half), (l + 32, l + 32 + half), ...
    float first[4], second[4], squares = 0.f;
#pragma unroll
    for (int k = 0; k < 4; k++) {
        int i = lane + 32 * k;
        if (i < half) {
            first[k] = to_float(x[i]) + (b ? b[i] : 0.f);
            second[k] = to_float(x[i + half]) + (b ? b[i + half] : 0.f);
            squares += first[k] * first[k] + second[k] * second[k];
        }
    }
    bool is_query = head < heads, is_key = !is_query && head < heads + kv_heads;
    const float* gain = is_query ? q_gain : is_key ? k_gain : nullptr;
    float scale = gain ? rsqrtf(warp_sum(squares) / D + eps) : 1.f;
    bf16* to = x;
    if (!is_query) {
        int slot = slots[token];
        if (slot < 0) return;
        int kv = (head - heads) % kv_heads;
        int inside = slot & ((1 << shift) - 1);
        to = (is_key ? keys : values) + (i64)(slot >> shift) * block_stride + (i64)((kv << shift) + inside) * D;
    }
#pragma unroll
    for (int k = 0; k < 4; k++) {
        int i = lane + 32 * k;
        if (i < half) {
            float p = first[k], q = second[k];
            if (gain) p *= scale * gain[i], q *= scale * gain[i + half];
            if (is_query || is_key) {
                const float* turn = turns + (token * half + i) * 2;
                float c = turn[0], s = turn[1], r = p * c - q * s;
                q = q * c + p * s;
                p = r;
            }
            to[i] = to_bf16(p);
            to[i + half] = to_bf16(q);
        }
    }
}
