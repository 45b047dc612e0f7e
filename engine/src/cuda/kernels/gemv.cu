// y = x W^T for a few rows of x: bound by reading W once. One warp an output; the rows of x are in L1.
//
// Grid: n / 8 rounded up. Block: 256. x [m, k], w [n, k], y [m, n]; k is a multiple of 8. m is at most M:
// rows beyond m are read from the last one and thrown away.

DEVICE void store(bf16* to, float v) { *to = to_bf16(v); }
DEVICE void store(float* to, float v) { *to = v; }

DEVICE float dot8(const uint4& a, const uint4& b) {
    return low(a.x) * low(b.x) + high(a.x) * high(b.x) + low(a.y) * low(b.y) + high(a.y) * high(b.y) +
           low(a.z) * low(b.z) + high(a.z) * high(b.z) + low(a.w) * low(b.w) + high(a.w) * high(b.w);
}

template <int M, class Out>
DEVICE void gemv(const bf16* __restrict__ x, const bf16* __restrict__ w, Out* __restrict__ y, int m, int n, int k) {
    int row = blockIdx.x * 8 + (threadIdx.x >> 5), lane = threadIdx.x & 31;
    if (row >= n) return;
    const uint4* weights = (const uint4*)(w + (i64)row * k);
    float sums[M];
#pragma unroll
    for (int i = 0; i < M; i++) sums[i] = 0.f;
#pragma unroll 4
    for (int c = lane; c < k / 8; c += 32) {
        uint4 v = load_once(weights + c);
#pragma unroll
        for (int i = 0; i < M; i++) {
            uint4 a = ((const uint4*)(x + (i64)min(i, m - 1) * k))[c];
            sums[i] += dot8(v, a);
        }
    }
#pragma unroll
    for (int i = 0; i < M; i++) {
        float s = warp_sum(sums[i]);
        if (lane == 0 && i < m) store(y + (i64)i * n + row, s);
    }
}

#define GEMV(M)                                                                                                \
    KERNEL __launch_bounds__(256) gemv_##M(const bf16* x, const bf16* w, bf16* y, int m, int n, int k) {       \
        gemv<M, bf16>(x, w, y, m, n, k);                                                                       \
    }                                                                                                          \
    KERNEL __launch_bounds__(256) gemv_f32_##M(const bf16* x, const bf16* w, float* y, int m, int n, int k) {  \
        gemv<M, float>(x, w, y, m, n, k);                                                                      \
    }
GEMV(1)
GEMV(2)
GEMV(4)
GEMV(8)
