// Small functions that several kernels share.

DEVICE float to_float(bf16 x) { return __uint_as_float((u32)x << 16); }
DEVICE float low(u32 word) { return __uint_as_float(word << 16); }
DEVICE float high(u32 word) { return __uint_as_float(word & 0xffff0000u); }

DEVICE float warp_sum(float v) {
#pragma unroll
    for (int o = 16; o; o >>= 1) v += __shfl_xor_sync(FULL_WARP, v, o);
    return v;
}

DEVICE float warp_max(float v) {
#pragma unroll
    for (int o = 16; o; o >>= 1) v = fmaxf(v, __shfl_xor_sync(FULL_WARP, v, o));
    return v;
}

// Over the four lanes that hold one row of an mma result.
DEVICE float quad_sum(float v) {
    v += __shfl_xor_sync(FULL_WARP, v, 1);
    return v + __shfl_xor_sync(FULL_WARP, v, 2);
}

DEVICE float quad_max(float v) {
    v = fmaxf(v, __shfl_xor_sync(FULL_WARP, v, 1));
    return fmaxf(v, __shfl_xor_sync(FULL_WARP, v, 2));
}

// Sum over the block, the same for every thread. `scratch` holds 32 values; blockDim.x is a multiple of 32.
DEVICE float block_sum(float v, float* scratch) {
    v = warp_sum(v);
    if ((threadIdx.x & 31) == 0) scratch[threadIdx.x >> 5] = v;
    __syncthreads();
    float total = 0.f;
    for (int i = 0; i < (int)(blockDim.x >> 5); i++) total += scratch[i];
    __syncthreads();
    return total;
}

// Where the 16 bytes number `chunk` of a row of CHUNKS such pieces lie in shared memory, in pieces. Rows
// that a warp reads together fall on different banks: 128 bytes are 8 pieces, and the row's number
// is mixed into the piece's.
template <int CHUNKS>
DEVICE int swizzled(int row, int chunk) {
    if (CHUNKS >= 8) return row * CHUNKS + (chunk ^ (row & 7));
    if (CHUNKS == 4) return row * CHUNKS + (chunk ^ ((row >> 1) & 3));
    return row * CHUNKS + chunk;
}

// Paged KV. `base` is where a layer's keys (or values) lie in block 0; blocks are `block_stride` values apart
// and hold `[kv_heads, block_size, D]` of each. `shift` is the binary logarithm of the block size.
template <int D>
DEVICE const bf16* kv_row(const bf16* base, i64 block_stride, const int* table, int kv, int token, int shift) {
    i64 block = table[token >> shift];
    int inside = token & ((1 << shift) - 1);
    return base + block * block_stride + (i64)((kv << shift) + inside) * D;
}
