// The attention of prefill.cu on Hopper's products of whole warpgroups: the same arguments and masks, for
// heads of 64 and 128 values.
//
// A block is two warpgroups with 64 packed queries each. Queries, keys and values lie in shared memory in
// panels of 64 values: a row of a panel is 128 bytes, and its eight pieces of 16 bytes are mixed with the
// row's number, as the 128-byte swizzle of the matrix descriptors wants it. Probabilities go from the
// registers of the scores into the second product as they are: both have the same layout.
//
// The scores of the next tile of keys are computed while the softmax of this one runs. Three stages of keys
// and values: one in use, one for those scores, one on its way.
//
// Rows are copied by `copy_async`, 16 bytes a thread, and the swizzle is written by hand. The copy engine
// (cp.async.bulk) is not used: without a tensor map it copies pieces as they are, without a swizzle; with one
// it cannot leave out the rows of a block behind the context's end, which may hold not-a-number and must
// be zeros here (0 times not-a-number is not 0), and the map is made by the driver in a form that no test
// without a GPU can read.
//
// Limits: sm_90a; it has run in emulation only.

const int QUERIES = 128, KEYS = 64, STAGES = 3;
// Bytes of a row of a panel, and of eight rows: after them the swizzle repeats.
const int ROW = 128, EIGHT_ROWS = 1024;

// Where piece `c` of row `r` lies in a panel, in bytes. Panels begin at multiples of EIGHT_ROWS.
DEVICE int panel_at(int r, int c) { return r * ROW + ((c ^ (r & 7)) << 4); }

// A matrix in shared memory as products take it, with the 128-byte swizzle. `stride`: from eight rows to the
// next eight. `leading`: from a panel to the next where the values of a row go on in it; where they do not
// it must be 16 by name, and is not used.
DEVICE u64 matrix(u32 address, u32 leading, u32 stride) {
    const u64 SWIZZLE_128 = 1ull << 62;
    return (u64)((address & 0x3ffff) >> 4) | (u64)(leading >> 4) << 16 | (u64)(stride >> 4) << 32 | SWIZZLE_128;
}

// Grid: (items, kv_heads). Block: 256. Shared memory: 1024 D + 1024 bytes (queries, stages; its beginning is
// moved up to a multiple of 1024). Arguments as in prefill.cu, but a tile of `items` is 128 packed queries.
template <int D>
DEVICE void attend_warpgroups(const bf16* __restrict__ q, i64 q_stride, const bf16* __restrict__ keys,
                              const bf16* __restrict__ values, i64 block_stride, const int* __restrict__ tables,
                              int table_width, const int* __restrict__ starts, const int* __restrict__ contexts,
                              const int* __restrict__ items, bf16* __restrict__ out, int group, int shift,
                              float scale) {
    const int CHUNKS = D / 8, PANELS = D / 64;
    const int QUERY_PANEL = QUERIES * ROW, KEY_PANEL = KEYS * ROW, MATRIX = PANELS * KEY_PANEL;
    DYNAMIC_SHARED(shared);
    u8* queries = shared + ((0u - shared_address(shared)) & (EIGHT_ROWS - 1));  // [PANELS][QUERIES]
    u8* stages = queries + PANELS * QUERY_PANEL;                               // [STAGES][keys, values][PANELS][KEYS]

    int row = items[blockIdx.x * 2], first = items[blockIdx.x * 2 + 1] * QUERIES;
    if (row < 0) return;
    int kv = blockIdx.y, heads = gridDim.y * group;
    i64 start = starts[row];
    int length = starts[row + 1] - (int)start, context = contexts[row], before = context - length;
    int packed = length * group;
    int last = before + (min(first + QUERIES, packed) - 1) / group;  // the latest position of the tile
    int tiles = last / KEYS + 1;
    int warpgroup = threadIdx.x >> 7, warp = threadIdx.x >> 5, lane = threadIdx.x & 31, g = lane >> 2, j = lane & 3;
    const int* table = tables + (i64)row * table_width;

    for (int i = threadIdx.x; i < QUERIES * CHUNKS; i += 256) {
        int r = i / CHUNKS, c = i % CHUNKS, p = first + r;
        bool valid = p < packed;
        int at = valid ? p : 0;
        const bf16* from = q + (start + at / group) * q_stride + (i64)(kv * group + at % group) * D + c * 8;
        copy_async(queries + c / 8 * QUERY_PANEL + panel_at(r, c % 8), from, valid);
    }
    auto load = [&](int tile) {
        u8* to = stages + tile % STAGES * 2 * MATRIX;
        for (int i = threadIdx.x; i < KEYS * CHUNKS; i += 256) {
            int r = i / CHUNKS, c = i % CHUNKS, t = tile * KEYS + r;
            bool valid = t < context;
            int at = min(t, context - 1);
            i64 offset = kv_row<D>(keys, block_stride, table, kv, at, shift) - keys + c * 8;
            u8* piece = to + c / 8 * KEY_PANEL + panel_at(r, c % 8);
            copy_async(piece, keys + offset, valid);
            copy_async(piece + MATRIX, values + offset, valid);
        }
    };
    u32 own_queries = shared_address(queries) + warpgroup * 64 * ROW;
    u32 own_stages = shared_address(stages);
    // 16 values of a row are 32 bytes of it: the swizzle is a function of the address, so a descriptor moves on
    // within a row as if there were none.
    auto begin_scores = [&](float (&s)[32], int tile) {
        u32 k = own_stages + tile % STAGES * 2 * MATRIX;
#pragma unroll
        for (int c = 0; c < D / 16; c++)
            wgmma(s, matrix(own_queries + c / 4 * QUERY_PANEL + c % 4 * 32, 16, EIGHT_ROWS),
                  matrix(k + c / 4 * KEY_PANEL + c % 4 * 32, 16, EIGHT_ROWS), c > 0);
        wgmma_commit();
    };

    float acc[D / 2], s[32], next[32], most[2] = {-INFINITY, -INFINITY}, sum[2] = {0.f, 0.f};
#pragma unroll
    for (int i = 0; i < D / 2; i++) acc[i] = 0.f;
#pragma unroll
    for (int i = 0; i < 32; i++) s[i] = next[i] = 0.f;
    // Position of this thread's two queries, and of the first one of the warpgroup.
    int own = first + warp * 16 + g, limit[2] = {before + own / group, before + (own + 8) / group};
    int earliest = before + (first + warpgroup * 64) / group;

    auto use = [&](int tile) {
        // Only the last tiles reach beyond the position of some query.
        if ((tile + 1) * KEYS - 1 > earliest) {
#pragma unroll
            for (int i = 0; i < 32; i++)
                if (tile * KEYS + i / 4 * 8 + 2 * j + (i & 1) > limit[(i >> 1) & 1]) s[i] = -INFINITY;
        }
        // Position 0 is in the first tile and no query's position is before it: `most` is finite from then on.
#pragma unroll
        for (int r = 0; r < 2; r++) {
            float now = most[r];
#pragma unroll
            for (int n = 0; n < 8; n++) now = fmaxf(now, fmaxf(s[4 * n + 2 * r], s[4 * n + 2 * r + 1]));
            now = quad_max(now);
            float old = exp2_fast((most[r] - now) * scale);
            most[r] = now;
            float added = 0.f;
#pragma unroll
            for (int n = 0; n < 8; n++) {
                float &a = s[4 * n + 2 * r], &b = s[4 * n + 2 * r + 1];
                a = exp2_fast((a - now) * scale);
                b = exp2_fast((b - now) * scale);
                added += a + b;
            }
            sum[r] = sum[r] * old + added;
#pragma unroll
            for (int n = 0; n < D / 8; n++) acc[4 * n + 2 * r] *= old, acc[4 * n + 2 * r + 1] *= old;
        }
        u32 p[4][4], v = own_stages + (tile % STAGES * 2 + 1) * MATRIX;
#pragma unroll
        for (int c = 0; c < 4; c++) {
#pragma unroll
            for (int i = 0; i < 4; i++) p[c][i] = pack(s[8 * c + 2 * i], s[8 * c + 2 * i + 1]);
            hold(p[c]);
        }
        hold(acc);
        wgmma_fence();
#pragma unroll
        for (int c = 0; c < 4; c++) wgmma_wide(acc, p[c], matrix(v + c * 2 * EIGHT_ROWS, KEY_PANEL, EIGHT_ROWS));
        wgmma_commit();
        wgmma_wait<0>();
        hold(acc);
#pragma unroll
        for (int c = 0; c < 4; c++) hold(p[c]);
    };

    load(0);
    copy_commit();
    if (tiles > 1) load(1);
    copy_commit();
    copy_wait<1>();
    products_see_writes();
    __syncthreads();
    hold(s);
    wgmma_fence();
    begin_scores(s, 0);
    wgmma_wait<0>();
    hold(s);
    for (int tile = 0; tile + 1 < tiles; tile++) {
        copy_wait<0>();
        products_see_writes();
        // The next tile is there for everybody, and everybody is done with the one before this.
        __syncthreads();
        if (tile + 2 < tiles) load(tile + 2);
        copy_commit();
        hold(next);
        wgmma_fence();
        begin_scores(next, tile + 1);
        use(tile);
        hold(next);
#pragma unroll
        for (int i = 0; i < 32; i++) s[i] = next[i];
    }
    use(tiles - 1);

#pragma unroll
    for (int r = 0; r < 2; r++) {
        float total = quad_sum(sum[r]);
        int p = own + 8 * r;
        if (p >= packed) continue;
        bf16* to = out + ((start + p / group) * heads + kv * group + p % group) * D;
#pragma unroll
        for (int n = 0; n < D / 8; n++)
            *(u32*)(to + n * 8 + 2 * j) = pack(acc[4 * n + 2 * r] / total, acc[4 * n + 2 * r + 1] / total);
    }
}

#define PREFILL_WGMMA(D)                                                                                         \
    KERNEL __launch_bounds__(256) prefill_wgmma_##D(                                                             \
        const bf16* q, i64 q_stride, const bf16* keys, const bf16* values, i64 block_stride, const int* tables,  \
        int table_width, const int* starts, const int* contexts, const int* items, bf16* out, int group, int shift, \
        float scale) {                                                                                           \
        attend_warpgroups<D>(q, q_stride, keys, values, block_stride, tables, table_width, starts, contexts, items, \
                             out, group, shift, scale);                                                          \
    }
PREFILL_WGMMA(64)
PREFILL_WGMMA(128)
