// Attention of one query token a row over its paged context, split over the context.
//
// Bound by reading keys and values once. Each goes from memory to registers in pieces of 16 bytes and
// straight into a tensor-core product: the G query heads that share a KV head are the rows of that product
// (padded to 16). A product over head dimensions gives the same sum in any order of them, and columns
// of the result may stand in any order, so lanes take whole pieces and both sides agree on the order;
// shared memory is not needed on the way.
//
// A work item is a part of one row's context. Four warps take its tiles of 16 tokens in turn, merge in
// shared memory, and write an unnormalised part; `attention_combine` adds the parts of a row up.

// 2 WORDS dimensions of a token.
template <int WORDS>
DEVICE void load_dims(u32* to, const bf16* from, bool valid) {
#pragma unroll
    for (int i = 0; i < WORDS; i++) to[i] = 0;
    if (!valid) return;
    if (WORDS == 4) {
        uint4 v = load_once(from);
        to[0] = v.x, to[1] = v.y, to[WORDS - 2] = v.z, to[WORDS - 1] = v.w;
    } else {
        uint2 v = load_once_8(from);
        to[0] = v.x, to[1] = v.y;
    }
}

// Grid: (items, kv_heads). Block: 128. G <= 8 unless WIDE, then <= 16. D: 32, 64 or 128.
// q: queries of token t, head h at q + t * q_stride + h * D. items [items, 4]: row of `tables` (negative: a
// padding item), its token, first and last + 1 position; the first is a multiple of 16. tables [rows,
// table_width]. parts [items, heads, D], unnormalised; sums [items, heads, 2]: greatest score and sum of weights,
// scores in units of `scale` times the product, powers of two.
template <int D, bool WIDE>
DEVICE void attend_part(const bf16* __restrict__ q, i64 q_stride, const bf16* __restrict__ keys,
                        const bf16* __restrict__ values, i64 block_stride, const int* __restrict__ tables,
                        int table_width, const int* __restrict__ items, float* __restrict__ parts,
                        float* __restrict__ sums, int group, int shift, float scale) {
    const int KC = D / 32;                  // pieces of 32 dimensions, of keys
    const int VW = D >= 64 ? 4 : 2;         // words of a lane's piece of values
    const int VC = D / (16 * VW);           // pieces of 16 VW dimensions, of values
    const int ROWS = WIDE ? 16 : 8;
    __shared__ float merged[4][ROWS][D];
    __shared__ float merged_sums[4][ROWS][2];

    int row = items[blockIdx.x * 4];
    if (row < 0) return;
    i64 token = items[blockIdx.x * 4 + 1];
    int begin = items[blockIdx.x * 4 + 2], end = items[blockIdx.x * 4 + 3];
    int kv = blockIdx.y, heads = gridDim.y * group;
    int warp = threadIdx.x >> 5, lane = threadIdx.x & 31, g = lane >> 2, j = lane & 3;
    const int* table = tables + (i64)row * table_width;

    // a[c][s]: step s of piece c. Dimensions 32 c + 8 j + {0..7} of head g (and g + 8).
    u32 a[KC][2][4];
#pragma unroll
    for (int c = 0; c < KC; c++) {
        uint4 v = make_uint4(0, 0, 0, 0), w = v;
        const bf16* from = q + token * q_stride + (i64)kv * group * D + 32 * c + 8 * j;
        if (g < group) v = *(const uint4*)(from + (i64)g * D);
        if (WIDE && g + 8 < group) w = *(const uint4*)(from + (i64)(g + 8) * D);
        a[c][0][0] = v.x, a[c][0][1] = w.x, a[c][0][2] = v.y, a[c][0][3] = w.y;
        a[c][1][0] = v.z, a[c][1][1] = w.z, a[c][1][2] = v.w, a[c][1][3] = w.w;
    }

    float out[VC * 2 * VW][4], most[2] = {-INFINITY, -INFINITY}, sum[2] = {0.f, 0.f};
#pragma unroll
    for (int i = 0; i < VC * 2 * VW; i++) out[i][0] = out[i][1] = out[i][2] = out[i][3] = 0.f;

    for (int t0 = begin + warp * 16; t0 < end; t0 += 64) {
        u32 k[2][KC][4], v[4][VC][VW];
#pragma unroll
        for (int half = 0; half < 2; half++) {
            int t = t0 + 8 * half + g;
            const bf16* from = kv_row<D>(keys, block_stride, table, kv, min(t, end - 1), shift) + 8 * j;
#pragma unroll
            for (int c = 0; c < KC; c++) load_dims<4>(k[half][c], from + 32 * c, t < end);
        }
#pragma unroll
        for (int i = 0; i < 4; i++) {
            int t = t0 + (i >> 1) * 8 + 2 * j + (i & 1);
            const bf16* from = kv_row<D>(values, block_stride, table, kv, min(t, end - 1), shift) + 2 * VW * g;
#pragma unroll
            for (int c = 0; c < VC; c++) load_dims<VW>(v[i][c], from + 16 * VW * c, t < end);
        }

        float s[2][4];
#pragma unroll
        for (int half = 0; half < 2; half++) {
            s[half][0] = s[half][1] = s[half][2] = s[half][3] = 0.f;
#pragma unroll
            for (int c = 0; c < KC; c++) {
                mma(s[half], a[c][0], k[half][c][0], k[half][c][1]);
                mma(s[half], a[c][1], k[half][c][2], k[half][c][3]);
            }
#pragma unroll
            for (int i = 0; i < 4; i++) {
                int t = t0 + 8 * half + 2 * j + (i & 1);
                s[half][i] = t < end ? s[half][i] * scale : -INFINITY;
            }
        }

        // A tile has at least one token, so the new greatest score is finite.
        u32 p[4] = {0, 0, 0, 0};
#pragma unroll
        for (int r = 0; r < (WIDE ? 2 : 1); r++) {
            float now = quad_max(fmaxf(fmaxf(s[0][2 * r], s[0][2 * r + 1]), fmaxf(s[1][2 * r], s[1][2 * r + 1])));
            now = fmaxf(now, most[r]);
            float old = exp2_fast(most[r] - now);
            most[r] = now;
#pragma unroll
            for (int half = 0; half < 2; half++) {
                s[half][2 * r] = exp2_fast(s[half][2 * r] - now);
                s[half][2 * r + 1] = exp2_fast(s[half][2 * r + 1] - now);
            }
            sum[r] = sum[r] * old + s[0][2 * r] + s[0][2 * r + 1] + s[1][2 * r] + s[1][2 * r + 1];
            p[r] = pack(s[0][2 * r], s[0][2 * r + 1]);
            p[r + 2] = pack(s[1][2 * r], s[1][2 * r + 1]);
#pragma unroll
            for (int i = 0; i < VC * 2 * VW; i++) out[i][2 * r] *= old, out[i][2 * r + 1] *= old;
        }
        // Column n of result i of piece c is dimension 16 VW c + 2 VW n + i.
#pragma unroll
        for (int c = 0; c < VC; c++) {
#pragma unroll
            for (int i = 0; i < 2 * VW; i++) {
                u32 pick = i & 1 ? 0x7632 : 0x5410;
                mma(out[c * 2 * VW + i], p, __byte_perm(v[0][c][i / 2], v[1][c][i / 2], pick),
                    __byte_perm(v[2][c][i / 2], v[3][c][i / 2], pick));
            }
        }
    }

#pragma unroll
    for (int r = 0; r < (WIDE ? 2 : 1); r++) {
        int head = g + 8 * r;
        float total = quad_sum(sum[r]);
        if (j == 0) merged_sums[warp][head][0] = most[r], merged_sums[warp][head][1] = total;
#pragma unroll
        for (int c = 0; c < VC; c++) {
#pragma unroll
            for (int i = 0; i < 2 * VW; i++) {
                int d = 16 * VW * c + 2 * VW * (2 * j) + i;
                merged[warp][head][d] = out[c * 2 * VW + i][2 * r];
                merged[warp][head][d + 2 * VW] = out[c * 2 * VW + i][2 * r + 1];
            }
        }
    }
    __syncthreads();
    for (int i = threadIdx.x; i < group * D; i += 128) {
        int head = i / D, d = i % D;
        float top = -INFINITY, total = 0.f, value = 0.f;
        for (int w = 0; w < 4; w++) top = fmaxf(top, merged_sums[w][head][0]);
        for (int w = 0; w < 4; w++) {
            float weight = exp2_fast(merged_sums[w][head][0] - top);
            total += merged_sums[w][head][1] * weight;
            value += merged[w][head][d] * weight;
        }
        i64 part = (i64)blockIdx.x * heads + kv * group + head;
        parts[part * D + d] = value;
        if (d == 0) sums[part * 2] = top, sums[part * 2 + 1] = total;
    }
}

#define DECODE(D, NAME, WIDE)                                                                                  \
    KERNEL __launch_bounds__(128) NAME(const bf16* q, i64 q_stride, const bf16* keys, const bf16* values,      \
                                       i64 block_stride, const int* tables, int table_width, const int* items, \
                                       float* parts, float* sums, int group, int shift, float scale) {         \
        attend_part<D, WIDE>(q, q_stride, keys, values, block_stride, tables, table_width, items, parts, sums, \
                             group, shift, scale);                                                             \
    }
DECODE(32, decode_32, false)
DECODE(64, decode_64, false)
DECODE(128, decode_128, false)
DECODE(32, decode_32_wide, true)
DECODE(64, decode_64_wide, true)
DECODE(128, decode_128_wide, true)

// Grid: (rows, heads). Block: 32, 64 or 128, the head's width D. starts [rows + 1]: items of each row;
// tokens [rows]: where the result goes, out + token * heads * D (negative: nowhere). A row without items gets zeros.
KERNEL attention_combine(const float* parts, const float* sums, const int* starts, const int* tokens, bf16* out) {
    int heads = gridDim.y, D = blockDim.x, head = blockIdx.y, d = threadIdx.x;
    i64 token = tokens[blockIdx.x];
    if (token < 0) return;
    float top = -INFINITY, total = 0.f, value = 0.f;
    int begin = starts[blockIdx.x], end = starts[blockIdx.x + 1];
    for (int i = begin; i < end; i++) top = fmaxf(top, sums[((i64)i * heads + head) * 2]);
    for (int i = begin; i < end; i++) {
        i64 part = (i64)i * heads + head;
        float weight = exp2_fast(sums[part * 2] - top);
        total += sums[part * 2 + 1] * weight;
        value += parts[part * D + d] * weight;
    }
    out[(token * heads + head) * D + d] = to_bf16(begin < end ? value / total : 0.f);
}
