// Attention of many query tokens a row over their paged context: causal, rows of any lengths in one launch.
//
// The G query heads of a KV head are packed with the tokens: packed query p of a row is token p / G, head p % G
// of the group, so one read of keys and values serves all of them, and a chunk of few tokens still fills a
// tile. A tile is 64 packed queries, 16 a warp; keys and values come in tiles of 64 tokens through shared
// memory, the next one on its way while this one is used.
//
// Tiles of keys begin at multiples of 64, wherever the chunk begins, and a tile beyond a query's own position
// changes nothing of its sums. So a query's result is the same, bit for bit, however its context was cut into
// chunks and whatever else is in the batch.

// Grid: (items, kv_heads). Block: 128. Shared memory: 640 D bytes (queries, two stages of keys and values).
// items [items, 2]: row (negative: a padding item) and tile of 64 packed queries. starts [rows + 1]: first token
// of each row in q and out; contexts [rows]: tokens in KV after the step; tables [rows, table_width].
// q: token t, head h at q + t * q_stride + h * D; out [tokens, heads * D].
template <int D>
DEVICE void attend_tile(const bf16* __restrict__ q, i64 q_stride, const bf16* __restrict__ keys,
                        const bf16* __restrict__ values, i64 block_stride, const int* __restrict__ tables,
                        int table_width, const int* __restrict__ starts, const int* __restrict__ contexts,
                        const int* __restrict__ items, bf16* __restrict__ out, int group, int shift, float scale) {
    const int CHUNKS = D / 8, TILE = 64;
    DYNAMIC_SHARED(shared);
    uint4* queries = (uint4*)shared;
    uint4* stages = queries + TILE * CHUNKS;  // [2][keys, values][TILE][CHUNKS]

    int row = items[blockIdx.x * 2], first = items[blockIdx.x * 2 + 1] * TILE;
    if (row < 0) return;
    int kv = blockIdx.y, heads = gridDim.y * group;
    i64 start = starts[row];
    int length = starts[row + 1] - (int)start, context = contexts[row], before = context - length;
    int packed = length * group;
    int last = before + (min(first + TILE, packed) - 1) / group;  // the latest position of the tile
    int tiles = last / TILE + 1;
    int warp = threadIdx.x >> 5, lane = threadIdx.x & 31, g = lane >> 2, j = lane & 3;
    const int* table = tables + (i64)row * table_width;

    for (int i = threadIdx.x; i < TILE * CHUNKS; i += 128) {
        int r = i / CHUNKS, c = i % CHUNKS, p = first + r;
        bool valid = p < packed;
        int at = valid ? p : 0;
        const bf16* from = q + (start + at / group) * q_stride + (i64)(kv * group + at % group) * D + c * 8;
        copy_async(queries + swizzled<CHUNKS>(r, c), from, valid);
    }
    auto load = [&](int tile) {
        uint4* to = stages + (tile & 1) * 2 * TILE * CHUNKS;
        for (int i = threadIdx.x; i < TILE * CHUNKS; i += 128) {
            int r = i / CHUNKS, c = i % CHUNKS, t = tile * TILE + r;
            bool valid = t < context;
            int at = min(t, context - 1);
            i64 offset = kv_row<D>(keys, block_stride, table, kv, at, shift) - keys + c * 8;
            copy_async(to + swizzled<CHUNKS>(r, c), keys + offset, valid);
            copy_async(to + TILE * CHUNKS + swizzled<CHUNKS>(r, c), values + offset, valid);
        }
    };
    load(0);
    copy_commit();

    u32 a[D / 16][4];
    float acc[D / 8][4], most[2] = {-INFINITY, -INFINITY}, sum[2] = {0.f, 0.f};
#pragma unroll
    for (int i = 0; i < D / 8; i++) acc[i][0] = acc[i][1] = acc[i][2] = acc[i][3] = 0.f;
    int limit[2] = {before + (first + warp * 16 + g) / group, before + (first + warp * 16 + g + 8) / group};

    for (int tile = 0; tile < tiles; tile++) {
        if (tile + 1 < tiles) load(tile + 1);
        copy_commit();
        copy_wait<1>();
        __syncthreads();
        if (tile == 0) {
#pragma unroll
            for (int c = 0; c < D / 16; c++)
                load_matrices(a[c], queries + swizzled<CHUNKS>(warp * 16 + (lane & 15), c * 2 + (lane >> 4)));
        }
        const uint4* k = stages + (tile & 1) * 2 * TILE * CHUNKS;
        const uint4* v = k + TILE * CHUNKS;

        float s[8][4];
#pragma unroll
        for (int n = 0; n < 8; n++) s[n][0] = s[n][1] = s[n][2] = s[n][3] = 0.f;
#pragma unroll
        for (int c = 0; c < D / 16; c++) {
#pragma unroll
            for (int n = 0; n < 8; n += 2) {
                u32 b[4];
                load_matrices(b, k + swizzled<CHUNKS>(n * 8 + (lane & 7) + (lane >> 4) * 8, c * 2 + ((lane >> 3) & 1)));
                mma(s[n], a[c], b[0], b[1]);
                mma(s[n + 1], a[c], b[2], b[3]);
            }
        }
        // Only the last tiles reach beyond the position of some query.
        if ((tile + 1) * TILE - 1 > before + first / group) {
#pragma unroll
            for (int n = 0; n < 8; n++) {
#pragma unroll
                for (int i = 0; i < 4; i++) {
                    if (tile * TILE + n * 8 + 2 * j + (i & 1) > limit[i >> 1]) s[n][i] = -INFINITY;
                }
            }
        }
        // Position 0 is in the first tile and no query's position is before it: `most` is finite from then on.
#pragma unroll
        for (int r = 0; r < 2; r++) {
            float now = most[r];
#pragma unroll
            for (int n = 0; n < 8; n++) now = fmaxf(now, fmaxf(s[n][2 * r], s[n][2 * r + 1]));
            now = quad_max(now);
            float old = exp2_fast((most[r] - now) * scale);
            most[r] = now;
            float added = 0.f;
#pragma unroll
            for (int n = 0; n < 8; n++) {
                s[n][2 * r] = exp2_fast((s[n][2 * r] - now) * scale);
                s[n][2 * r + 1] = exp2_fast((s[n][2 * r + 1] - now) * scale);
                added += s[n][2 * r] + s[n][2 * r + 1];
            }
            sum[r] = sum[r] * old + added;
#pragma unroll
            for (int i = 0; i < D / 8; i++) acc[i][2 * r] *= old, acc[i][2 * r + 1] *= old;
        }
#pragma unroll
        for (int c = 0; c < 4; c++) {
            u32 p[4] = {pack(s[2 * c][0], s[2 * c][1]), pack(s[2 * c][2], s[2 * c][3]),
                        pack(s[2 * c + 1][0], s[2 * c + 1][1]), pack(s[2 * c + 1][2], s[2 * c + 1][3])};
#pragma unroll
            for (int n = 0; n < D / 8; n += 2) {
                u32 b[4];
                load_matrices_transposed(b, v + swizzled<CHUNKS>(c * 16 + (lane & 15), n + (lane >> 4)));
                mma(acc[n], p, b[0], b[1]);
                mma(acc[n + 1], p, b[2], b[3]);
            }
        }
        __syncthreads();
    }

#pragma unroll
    for (int r = 0; r < 2; r++) {
        float total = quad_sum(sum[r]);
        int p = first + warp * 16 + g + 8 * r;
        if (p >= packed) continue;
        bf16* to = out + ((start + p / group) * heads + kv * group + p % group) * D;
#pragma unroll
        for (int n = 0; n < D / 8; n++)
            *(u32*)(to + n * 8 + 2 * j) = pack(acc[n][2 * r] / total, acc[n][2 * r + 1] / total);
    }
}

#define PREFILL(D)                                                                                              \
    KERNEL __launch_bounds__(128) prefill_##D(const bf16* q, i64 q_stride, const bf16* keys, const bf16* values, \
                                              i64 block_stride, const int* tables, int table_width,             \
                                              const int* starts, const int* contexts, const int* items, bf16* out, \
                                              int group, int shift, float scale) {                              \
        attend_tile<D>(q, q_stride, keys, values, block_stride, tables, table_width, starts, contexts, items, out, \
                       group, shift, scale);                                                                    \
    }
PREFILL(32)
PREFILL(64)
PREFILL(128)
