// C = A W^T on tensor cores, for one matrix or for one a group of rows (experts).
//
// Every element is summed along k from front to back in steps of 16, whatever the tile: a row's result does
// not depend on what other rows there are. That is why the executor can run all its products through this
// file when schedules must not change a bit, and through cuBLASLt when they may.

DEVICE void store_pair(bf16* to, float a, float b, bool both) {
    if (both && ((u64)to & 3) == 0) {
        *(u32*)to = pack(a, b);
    } else {
        to[0] = to_bf16(a);
        if (both) to[1] = to_bf16(b);
    }
}

DEVICE void store_pair(float* to, float a, float b, bool both) {
    to[0] = a;
    if (both) to[1] = b;
}

// Grid: (tiles of rows, n / BN rounded up). Block: 32 WM WN. Shared memory: 128 STAGES (BM + BN) bytes.
// a [*, k]; w [groups, n, k]; c [rows, n]; k is a multiple of 8.
// tiles [tiles, 3] or null: group (negative: a padding tile), first row, last row + 1 of each tile; with
// null, tile i is rows BM i to m of group 0. `from` [rows] or null: row r of the product is row from[r] / divisor
// of a.
template <int BM, int BN, int WM, int WN, int STAGES, class Out>
DEVICE void gemm(const bf16* __restrict__ a, const int* __restrict__ from, int divisor, const bf16* __restrict__ w,
                 Out* __restrict__ c, const int* __restrict__ tiles, int m, int n, int k) {
    const int THREADS = 32 * WM * WN, TM = BM / WM, TN = BN / WN, STAGE = (BM + BN) * 8;
    DYNAMIC_SHARED(shared);
    uint4* stages = (uint4*)shared;
    int group = 0, row0 = blockIdx.x * BM, row1 = m;
    if (tiles) group = tiles[blockIdx.x * 3], row0 = tiles[blockIdx.x * 3 + 1], row1 = tiles[blockIdx.x * 3 + 2];
    if (group < 0) return;
    int col0 = blockIdx.y * BN;
    const bf16* b = w + (i64)group * n * k;
    int warp = threadIdx.x >> 5, lane = threadIdx.x & 31, wm = warp / WN, wn = warp % WN;

    // A thread copies the same rows in every step: where they begin is worked out once.
    const int A_COPIES = (BM * 8 + THREADS - 1) / THREADS, B_COPIES = (BN * 8 + THREADS - 1) / THREADS;
    const bf16* a_row[A_COPIES];
    const bf16* b_row[B_COPIES];
#pragma unroll
    for (int i = 0; i < A_COPIES; i++) {
        int r = row0 + (threadIdx.x + i * THREADS) / 8;
        int source = r < row1 ? (from ? from[r] / divisor : r) : -1;
        a_row[i] = source < 0 ? nullptr : a + (i64)source * k;
    }
#pragma unroll
    for (int i = 0; i < B_COPIES; i++) {
        int r = col0 + (threadIdx.x + i * THREADS) / 8;
        b_row[i] = r < n ? b + (i64)r * k : nullptr;
    }
    auto load = [&](int step) {
        uint4* to = stages + (step % STAGES) * STAGE;
#pragma unroll
        for (int i = 0; i < A_COPIES; i++) {
            int at = threadIdx.x + i * THREADS, chunk = at % 8, x = step * 64 + chunk * 8;
            bool valid = a_row[i] && x < k;
            if (BM * 8 % THREADS == 0 || at < BM * 8)
                copy_async(to + swizzled<8>(at / 8, chunk), valid ? a_row[i] + x : a, valid);
        }
#pragma unroll
        for (int i = 0; i < B_COPIES; i++) {
            int at = threadIdx.x + i * THREADS, chunk = at % 8, x = step * 64 + chunk * 8;
            bool valid = b_row[i] && x < k;
            copy_async(to + BM * 8 + swizzled<8>(at / 8, chunk), valid ? b_row[i] + x : w, valid);
        }
    };

    float acc[TM / 16][TN / 8][4];
#pragma unroll
    for (int i = 0; i < TM / 16; i++)
#pragma unroll
        for (int j = 0; j < TN / 8; j++) acc[i][j][0] = acc[i][j][1] = acc[i][j][2] = acc[i][j][3] = 0.f;

    int steps = (k + 63) / 64;
#pragma unroll
    for (int s = 0; s < STAGES - 1; s++) {
        if (s < steps) load(s);
        copy_commit();
    }
    for (int step = 0; step < steps; step++) {
        copy_wait<STAGES - 2>();
        __syncthreads();
        // This stage was used in the step before, which all have left.
        if (step + STAGES - 1 < steps) load(step + STAGES - 1);
        copy_commit();
        const uint4* sa = stages + (step % STAGES) * STAGE;
        const uint4* sb = sa + BM * 8;
#pragma unroll
        for (int kk = 0; kk < 4; kk++) {
            u32 fa[TM / 16][4], fb[TN / 8][2];
#pragma unroll
            for (int i = 0; i < TM / 16; i++)
                load_matrices(fa[i], sa + swizzled<8>(wm * TM + i * 16 + (lane & 15), kk * 2 + (lane >> 4)));
#pragma unroll
            for (int j = 0; j < TN / 8; j += 2) {
                u32 four[4];
                load_matrices(four, sb + swizzled<8>(wn * TN + j * 8 + (lane & 7) + (lane >> 4) * 8,
                                                     kk * 2 + ((lane >> 3) & 1)));
                fb[j][0] = four[0], fb[j][1] = four[1], fb[j + 1][0] = four[2], fb[j + 1][1] = four[3];
            }
#pragma unroll
            for (int i = 0; i < TM / 16; i++)
#pragma unroll
                for (int j = 0; j < TN / 8; j++) mma(acc[i][j], fa[i], fb[j][0], fb[j][1]);
        }
    }
#pragma unroll
    for (int i = 0; i < TM / 16; i++) {
#pragma unroll
        for (int j = 0; j < TN / 8; j++) {
            int row = row0 + wm * TM + i * 16 + (lane >> 2), col = col0 + wn * TN + j * 8 + 2 * (lane & 3);
            if (col >= n) continue;
            if (row < row1) store_pair(c + (i64)row * n + col, acc[i][j][0], acc[i][j][1], col + 1 < n);
            if (row + 8 < row1) store_pair(c + (i64)(row + 8) * n + col, acc[i][j][2], acc[i][j][3], col + 1 < n);
        }
    }
}

#define GEMM(NAME, BM, BN, WM, WN, STAGES, Out)                                                                \
    KERNEL __launch_bounds__(32 * WM * WN)                                                                     \
        NAME(const bf16* a, const int* from, int divisor, const bf16* w, Out* c, const int* tiles, int m, int n, \
             int k) {                                                                                          \
        gemm<BM, BN, WM, WN, STAGES, Out>(a, from, divisor, w, c, tiles, m, n, k);                             \
    }
// Few rows a group: bound by reading w; many small stages keep its reads under way.
GEMM(gemm_16, 16, 64, 1, 4, 4, bf16)
GEMM(gemm_f32_16, 16, 64, 1, 4, 4, float)
// Many rows: bound by the tensor cores.
GEMM(gemm_128, 128, 128, 2, 4, 3, bf16)
GEMM(gemm_f32_128, 128, 128, 2, 4, 3, float)
