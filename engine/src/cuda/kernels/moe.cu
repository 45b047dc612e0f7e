// Experts: who goes where, in the order in which the grouped product takes them, and back.

// Softmax over the experts, then the k best; the lowest expert wins a tie.
// Grid: tokens / 4 rounded up. Block: 128, one warp a token. logits [tokens, experts]; positions [tokens] (negative:
// a padding row, which goes to no expert); ids and weights [tokens, k]. At most 512 experts; k <= experts.
// With `normalise` the chosen weights of a token sum to 1.
KERNEL route(const float* logits, const int* positions, int* ids, float* weights, int tokens, int experts, int k,
             int normalise) {
    int token = blockIdx.x * 4 + (threadIdx.x >> 5), lane = threadIdx.x & 31;
    if (token >= tokens) return;
    const float* row = logits + (i64)token * experts;
    float v[16], top = -INFINITY;
#pragma unroll
    for (int i = 0; i < 16; i++) {
        v[i] = lane + 32 * i < experts ? row[lane + 32 * i] : -INFINITY;
        top = fmaxf(top, v[i]);
    }
    top = warp_max(top);
    float sum = 0.f, chosen = 0.f, mine = 0.f;
#pragma unroll
    for (int i = 0; i < 16; i++) sum += __expf(v[i] - top);
    sum = warp_sum(sum);
    bool padding = positions[token] < 0;
    // Lane l keeps choices l, l + 32, ...: k is rarely above 8, so a lane keeps one and writes the rest at once.
    for (int c = 0; c < k; c++) {
        float best = -INFINITY;
        int id = 0x7fffffff;
#pragma unroll
        for (int i = 0; i < 16; i++)
            if (v[i] > best) best = v[i], id = lane + 32 * i;
#pragma unroll
        for (int o = 16; o; o >>= 1) {
            float other = __shfl_xor_sync(FULL_WARP, best, o);
            int other_id = __shfl_xor_sync(FULL_WARP, id, o);
            if (other > best || (other == best && other_id < id)) best = other, id = other_id;
        }
#pragma unroll
        for (int i = 0; i < 16; i++)
            if (lane + 32 * i == id) v[i] = -INFINITY;
        mine = __expf(best - top) / sum;
        chosen += mine;
        if (lane == 0) {
            // Without a number among the logits there is no best; expert 0 gets the row and shows it.
            ids[(i64)token * k + c] = padding ? -1 : (id < experts ? id : 0);
            weights[(i64)token * k + c] = mine;
        }
    }
    __syncwarp();
    if (normalise)
        for (int c = lane; c < k; c += 32) weights[(i64)token * k + c] /= chosen;
}

// Stable counting sort of the choices by expert: block e finds its own and counts those before it.
// Grid: experts. Block: 256. ids [entries]; order [entries]: entries of expert 0, then 1, ...; place [entries]:
// where each went (-1: nowhere); starts [experts + 1].
KERNEL sort_by_expert(const int* ids, int* order, int* place, int* starts, int entries) {
    __shared__ float scratch[32];
    __shared__ int counts[8];
    int expert = blockIdx.x, warp = threadIdx.x >> 5, lane = threadIdx.x & 31;
    // Exact: fewer than 2^24 entries.
    float less = 0.f;
    for (int i = threadIdx.x; i < entries; i += blockDim.x) less += ids[i] >= 0 && ids[i] < expert ? 1.f : 0.f;
    int at = (int)block_sum(less, scratch);
    if (threadIdx.x == 0) starts[expert] = at;
    for (int base = 0; base < entries; base += blockDim.x) {
        int i = base + threadIdx.x;
        int id = i < entries ? ids[i] : -2;
        bool is_mine = id == expert;
        u32 votes = __ballot_sync(FULL_WARP, is_mine);
        if (lane == 0) counts[warp] = __popc(votes);
        __syncthreads();
        int before = 0, total = 0;
        for (int w = 0; w < 8; w++) {
            if (w < warp) before += counts[w];
            total += counts[w];
        }
        if (is_mine) {
            int to = at + before + __popc(votes & ((1u << lane) - 1));
            order[to] = i;
            place[i] = to;
        }
        if (expert == 0 && id == -1) place[i] = -1;
        at += total;
        __syncthreads();
    }
    if (expert == (int)gridDim.x - 1 && threadIdx.x == 0) starts[gridDim.x] = at;
}

// Tiles of at most `rows` rows that cover every expert's rows once.
// Grid: 1. Block: 512. starts [experts + 1], at most 512 experts; tiles [limit, 3]: expert (-1: none), first row,
// last row + 1. The limit is entries / rows + experts, rounded up.
KERNEL expert_tiles(const int* starts, int* tiles, int experts, int rows, int limit) {
    __shared__ int sums[16];
    int e = threadIdx.x, warp = e >> 5, lane = e & 31;
    int begin = e < experts ? starts[e] : 0, end = e < experts ? starts[e + 1] : 0;
    int mine = (end - begin + rows - 1) / rows, upto = mine;
#pragma unroll
    for (int o = 1; o < 32; o <<= 1) {
        int v = __shfl_up_sync(FULL_WARP, upto, o);
        if (lane >= o) upto += v;
    }
    if (lane == 31) sums[warp] = upto;
    __syncthreads();
    int total = 0;
    for (int w = 0; w < 16; w++) {
        if (w < warp) upto += sums[w];
        total += sums[w];
    }
    int at = upto - mine;
    for (int i = 0; i < mine; i++) {
        int* t = tiles + (at + i) * 3;
        t[0] = e;
        t[1] = begin + i * rows;
        t[2] = min(begin + (i + 1) * rows, end);
    }
    for (int i = total + e; i < limit; i += blockDim.x) tiles[i * 3] = -1, tiles[i * 3 + 1] = tiles[i * 3 + 2] = 0;
}

// residual[t] += sum over its choices of weight * y[place].
// Grid: tokens. Block: 256. y [entries, width] in the sorted order; place and weights [tokens, k]; width is a
// multiple of 2.
KERNEL combine_experts(const bf16* y, const int* place, const float* weights, float* residual, int width, int k) {
    const int* p = place + (i64)blockIdx.x * k;
    const float* w = weights + (i64)blockIdx.x * k;
    float* x = residual + (i64)blockIdx.x * width;
    for (int i = threadIdx.x * 2; i < width; i += blockDim.x * 2) {
        float2 sum = *(const float2*)(x + i);
        for (int c = 0; c < k; c++) {
            if (p[c] < 0) continue;
            u32 v = *(const u32*)(y + (i64)p[c] * width + i);
            sum.x += w[c] * low(v);
            sum.y += w[c] * high(v);
        }
        *(float2*)(x + i) = sum;
    }
}
