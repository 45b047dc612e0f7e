// The parts of a layer that look at one token at a time: embedding, normalisation, the gated activation,
// and the choice of the next token. All are bound by memory traffic and small beside the matrices.

// residual[t] = table[ids[t]].
// Grid: tokens. Block: 256. ids [tokens] (negative: a padding row, zeros), table [vocabulary, width],
// residual [tokens, width]; width is a multiple of 4.
KERNEL embed(const int* ids, const bf16* table, float* residual, int width) {
    int id = ids[blockIdx.x];
    float* to = residual + (i64)blockIdx.x * width;
    const bf16* from = table + (i64)(id < 0 ? 0 : id) * width;
    for (int i = threadIdx.x * 4; i < width; i += blockDim.x * 4) {
        uint2 v = *(const uint2*)(from + i);
        float4 f = make_float4(low(v.x), high(v.x), low(v.y), high(v.y));
        if (id < 0) f = make_float4(0.f, 0.f, 0.f, 0.f);
        *(float4*)(to + i) = f;
    }
}

// residual += delta, then out = residual / rms(residual) * gain.
// Grid: rows of the result. Block: 256. residual [tokens, width] and gain [width] in 32 bits, delta
// [tokens, width] or null, out [rows, width]; width is a multiple of 4.
// `rows` (or null: all tokens in order) says which token each row is; the residual stays as it was then,
// since nothing reads it after the last normalisation.
KERNEL rms_norm(float* residual, const bf16* delta, const int* rows, const float* gain, bf16* out, int width,
                float eps) {
    __shared__ float scratch[32];
    i64 token = rows ? max(rows[blockIdx.x], 0) : (int)blockIdx.x;
    float* x = residual + token * width;
    const bf16* d = delta ? delta + token * width : nullptr;
    float squares = 0.f;
    for (int i = threadIdx.x * 4; i < width; i += blockDim.x * 4) {
        float4 v = *(const float4*)(x + i);
        if (d) {
            uint2 w = *(const uint2*)(d + i);
            v.x += low(w.x), v.y += high(w.x), v.z += low(w.y), v.w += high(w.y);
            if (!rows) *(float4*)(x + i) = v;
        }
        squares += v.x * v.x + v.y * v.y + v.z * v.z + v.w * v.w;
    }
    float scale = rsqrtf(block_sum(squares, scratch) / width + eps);
    bf16* y = out + (i64)blockIdx.x * width;
    for (int i = threadIdx.x * 4; i < width; i += blockDim.x * 4) {
        float4 v = *(const float4*)(x + i);
        if (d && rows) {
            uint2 w = *(const uint2*)(d + i);
            v.x += low(w.x), v.y += high(w.x), v.z += low(w.y), v.w += high(w.y);
        }
        float4 g = *(const float4*)(gain + i);
        *(uint2*)(y + i) = make_uint2(pack(v.x * scale * g.x, v.y * scale * g.y),
                                      pack(v.z * scale * g.z, v.w * scale * g.w));
    }
}

// out = silu(gate) * up.
// Grid: (rows, ff / 1024 rounded up). Block: 256. gate_up [rows, 2 ff], gate first; out [rows, ff]; ff is a
// multiple of 4.
KERNEL silu_mul(const bf16* gate_up, bf16* out, int ff) {
    int i = (blockIdx.y * blockDim.x + threadIdx.x) * 4;
    if (i >= ff) return;
    const bf16* row = gate_up + (i64)blockIdx.x * 2 * ff;
    uint2 g = *(const uint2*)(row + i), u = *(const uint2*)(row + ff + i);
    float a = low(g.x), b = high(g.x), c = low(g.y), d = high(g.y);
    a = a / (1.f + __expf(-a)) * low(u.x);
    b = b / (1.f + __expf(-b)) * high(u.x);
    c = c / (1.f + __expf(-c)) * low(u.y);
    d = d / (1.f + __expf(-d)) * high(u.y);
    *(uint2*)(out + (i64)blockIdx.x * ff + i) = make_uint2(pack(a, b), pack(c, d));
}

// The likeliest token of each row; the lowest id wins a tie. A row without a number gives INT_MAX.
// Grid: rows. Block: 1024. logits [rows, vocabulary], out [rows].
KERNEL argmax(const float* logits, int* out, int vocabulary) {
    __shared__ float values[32];
    __shared__ int ids[32];
    const float* row = logits + (i64)blockIdx.x * vocabulary;
    float best = -INFINITY;
    int id = 0x7fffffff;
    for (int i = threadIdx.x; i < vocabulary; i += blockDim.x) {
        float v = row[i];
        if (v > best) best = v, id = i;
    }
    for (int stage = 0; stage < 2; stage++) {
#pragma unroll
        for (int o = 16; o; o >>= 1) {
            float v = __shfl_xor_sync(FULL_WARP, best, o);
            int other = __shfl_xor_sync(FULL_WARP, id, o);
            if (v > best || (v == best && other < id)) best = v, id = other;
        }
        if (stage == 1) break;
        if ((threadIdx.x & 31) == 0) values[threadIdx.x >> 5] = best, ids[threadIdx.x >> 5] = id;
        __syncthreads();
        if (threadIdx.x >= 32) return;
        bool there = threadIdx.x < (blockDim.x >> 5);
        best = there ? values[threadIdx.x] : -INFINITY;
        id = there ? ids[threadIdx.x] : 0x7fffffff;
    }
    if (threadIdx.x == 0) out[blockIdx.x] = id;
}
