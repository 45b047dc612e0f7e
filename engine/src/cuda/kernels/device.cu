// What the kernels need beside CUDA C++ itself: number formats, and instructions that have no name in
// the language. Nothing is included, so a bare NVRTC library compiles it.
//
// Every instruction written as PTX stands here and nowhere else. The tests put another file in this
// one's place, which does the same on the CPU, and run the kernels there.

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;
typedef long long i64;
// A brain float, as its bits.
typedef unsigned short bf16;

#define FULL_WARP 0xffffffffu
#define INFINITY __int_as_float(0x7f800000)
#define KERNEL extern "C" __global__ void
#define DEVICE static __device__ __forceinline__
// Shared memory whose size is said at the launch.
#define DYNAMIC_SHARED(name) extern __shared__ __align__(128) u8 name[]

DEVICE bf16 to_bf16(float x) {
    bf16 bits;
    asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(bits) : "f"(x));
    return bits;
}

// Two brain floats in a word, `low` in its lower half.
DEVICE u32 pack(float low, float high) {
    u32 word;
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(word) : "f"(high), "f"(low));
    return word;
}

// 2^x. Two units in the last place; 0 for minus infinity.
DEVICE float exp2_fast(float x) {
    float y;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
}

// 16 bytes that are read once: they do not push anything out of the L1 cache.
DEVICE uint4 load_once(const void* from) {
    uint4 v;
    asm volatile("ld.global.nc.L1::no_allocate.v4.u32 {%0,%1,%2,%3}, [%4];"
                 : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w)
                 : "l"(from));
    return v;
}

DEVICE uint2 load_once_8(const void* from) {
    uint2 v;
    asm volatile("ld.global.nc.L1::no_allocate.v2.u32 {%0,%1}, [%2];" : "=r"(v.x), "=r"(v.y) : "l"(from));
    return v;
}

// c += a b for a 16 x 16 tile of a, 16 x 8 of b, in brain floats with 32-bit sums.
// With g = lane / 4 and j = lane % 4: a[0] holds row g, columns 2j and 2j+1; a[1] row g+8; a[2] and a[3]
// the same rows, columns 8 further. b0 holds rows 2j and 2j+1 of column g; b1 8 rows further. c[0], c[1]
// are row g, columns 2j and 2j+1; c[2], c[3] row g+8.
DEVICE void mma(float c[4], const u32 a[4], u32 b0, u32 b1) {
    asm volatile(
        "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3},{%4,%5,%6,%7},{%8,%9},{%0,%1,%2,%3};"
        : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

DEVICE u32 shared_address(const void* p) { return (u32)__cvta_generic_to_shared(p); }

// Four 8 x 8 matrices of 16-bit values from shared memory. Lane l gives the address of row l % 8 of
// matrix l / 8; in matrix i it gets row lane / 4, columns 2 (lane % 4) and the next, as r[i].
DEVICE void load_matrices(u32 r[4], const void* row) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(shared_address(row))
                 : "memory");
}

// The same, each matrix transposed on the way.
DEVICE void load_matrices_transposed(u32 r[4], const void* row) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(shared_address(row))
                 : "memory");
}

// Begins a copy of 16 bytes to shared memory; zeros instead where `valid` is false (nothing is read then).
DEVICE void copy_async(void* to, const void* from, bool valid) {
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(shared_address(to)), "l"(from),
                 "r"(valid ? 16 : 0)
                 : "memory");
}

// Closes the group of copies begun since the last call.
DEVICE void copy_commit() { asm volatile("cp.async.commit_group;" ::: "memory"); }

// Waits for all groups of this thread but the last N.
template <int N>
DEVICE void copy_wait() {
    asm volatile("cp.async.wait_group %0;" ::"n"(N) : "memory");
}
