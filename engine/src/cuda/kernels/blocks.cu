// Fills: poison for KV blocks, random weights made where they are needed. (Blocks move to host memory and
// back without a kernel: each is one piece of memory, which the copy engines take as it is.)

// Not-a-number everywhere: any use shows.
// Grid: (blocks, pieces / 1024 rounded up). Block: 256. pool: blocks of `pieces` x 16 bytes; list [blocks].
KERNEL poison_blocks(uint4* pool, const int* list, int pieces) {
    uint4* to = pool + (i64)list[blockIdx.x] * pieces;
    uint4 bad = make_uint4(0xffffffffu, 0xffffffffu, 0xffffffffu, 0xffffffffu);
    int end = min(pieces, (int)(blockIdx.y + 1) * 1024);
    for (int i = blockIdx.y * 1024 + threadIdx.x; i < end; i += blockDim.x) to[i] = bad;
}

// Value i is a function of (seed, i) alone: uniform in [-scale, scale), 24 bits of the finaliser of SplitMix64.
// Grid: any. Block: 256.
KERNEL random_fill(bf16* to, i64 count, u64 seed, float scale) {
    i64 step = (i64)gridDim.x * blockDim.x;
    for (i64 i = (i64)blockIdx.x * blockDim.x + threadIdx.x; i < count; i += step) {
        u64 z = seed + (u64)(i + 1) * 0x9e3779b97f4a7c15ull;
        z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
        z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
        z = z ^ (z >> 31);
        float u = (float)(u32)(z >> 40) * (1.f / 8388608.f) - 1.f;
        to[i] = to_bf16(u * scale);
    }
}

// The same value everywhere, for norms of random models. Grid: any. Block: 256.
KERNEL fill(float* to, i64 count, float value) {
    i64 step = (i64)gridDim.x * blockDim.x;
    for (i64 i = (i64)blockIdx.x * blockDim.x + threadIdx.x; i < count; i += step) to[i] = value;
}
