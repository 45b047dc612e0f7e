// Takes the place of device.cu: the same names, done on the CPU.
//
// A block's threads are fibers on one system thread. A fiber runs until it waits: at a barrier for
// its block, at a warp operation for its warp. Which waiting fiber goes on is an order that the launch
// names, so a missing barrier shows as a result that changes with the order. Copies to shared memory
// happen when they are waited for, not before. Buffers end at a page that must not be touched, and
// begin filled with not-a-number.

#include <math.h>
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>
#include <unistd.h>

#include <algorithm>
#include <deque>
#include <vector>

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;
typedef long long i64;
typedef unsigned short bf16;
using std::max;
using std::min;

struct alignas(8) uint2 { u32 x, y; };
struct alignas(16) uint4 { u32 x, y, z, w; };
struct alignas(8) float2 { float x, y; };
struct alignas(16) float4 { float x, y, z, w; };
struct dim3 { u32 x, y, z; };
static inline uint2 make_uint2(u32 x, u32 y) { return {x, y}; }
static inline uint4 make_uint4(u32 x, u32 y, u32 z, u32 w) { return {x, y, z, w}; }
static inline float4 make_float4(float x, float y, float z, float w) { return {x, y, z, w}; }

namespace emu {

enum State { READY, AT_WARP, AT_BARRIER, DONE };
struct AsyncCopy { void* to; const void* from; bool valid; };

struct Thread {
    dim3 index;
    int warp, lane;
    State state;
    bool started;
    jmp_buf at;
    ucontext_t start;
    u64 in[8];
    u64 out[4];
    std::vector<AsyncCopy> open;
    std::deque<std::vector<AsyncCopy>> groups;
};

struct Warp { int size, arrived, operation; };

static Thread threads[1024];
static Warp warps[32];
static Thread* self;
static dim3 block, block_size, grid;
static int live, at_barrier;
static u8* dynamic;
static u32 dynamic_bytes;
static const char* kernel = "none";
static jmp_buf scheduler_at;
static ucontext_t scheduler_context;
static void (*body)(const void*);
static const void* body_arguments;

[[noreturn]] static void fail(const char* what) {
    fprintf(stderr, "%s: block (%u, %u)", kernel, block.x, block.y);
    if (self) fprintf(stderr, ", thread %u", self->index.x);
    fprintf(stderr, ": %s\n", what);
    _exit(1);
}

// What warpgroup.h keeps account of.
static void block_begins();
static void block_ends();
static void copy_begins(const void* to);
static void copy_ends(const void* to);

static void yield() {
    if (_setjmp(self->at) == 0) _longjmp(scheduler_at, 1);
}

static void release_barrier() {
    at_barrier = 0;
    for (u32 i = 0; i < block_size.x; i++)
        if (threads[i].state == AT_BARRIER) threads[i].state = READY;
}

static void barrier() {
    at_barrier++;
    if (at_barrier == live) {
        release_barrier();
        return;
    }
    self->state = AT_BARRIER;
    yield();
}

// All lanes of a warp meet; the last one does `all` for everyone.
template <class F>
static void meet(int operation, F all) {
    Warp& w = warps[self->warp];
    if (w.arrived == 0) w.operation = operation;
    if (w.operation != operation) fail("lanes of a warp are in different operations");
    Thread* lanes = self - self->lane;
    for (int i = 0; i < w.size; i++)
        if (lanes[i].state == DONE) fail("a lane has left, and its warp waits for it");
    if (w.size != 32) fail("a warp operation in a warp of fewer than 32 lanes");
    if (++w.arrived == w.size) {
        w.arrived = 0;
        all(lanes);
        for (int i = 0; i < w.size; i++) lanes[i].state = READY;
        return;
    }
    self->state = AT_WARP;
    yield();
}

static void entry() {
    body(body_arguments);
    self->state = DONE;
    live--;
    if (warps[self->warp].arrived) fail("a lane leaves while its warp waits for it");
    if (live && at_barrier == live) release_barrier();
    _longjmp(scheduler_at, 1);
}

// The order in which fibers get their turn: 0 up, 1 down, else shuffled by the number.
static void set_order(std::vector<int>& order, int count, u32 seed) {
    order.resize(count);
    for (int i = 0; i < count; i++) order[i] = seed == 1 ? count - 1 - i : i;
    if (seed < 2) return;
    for (int i = count - 1; i > 0; i--) {
        seed = seed * 1664525u + 1013904223u;
        std::swap(order[i], order[(seed >> 8) % (i + 1)]);
    }
}

static const size_t STACK = 128 * 1024;

static void run_block(const std::vector<int>& order) {
    static u8* stacks =
        (u8*)mmap(nullptr, STACK * 1024, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    int count = block_size.x;
    for (int i = 0; i < 32; i++) warps[i] = {min(32, count - 32 * i), 0, 0};
    for (int i = 0; i < count; i++) {
        Thread& t = threads[i];
        t.index = {(u32)i, 0, 0};
        t.warp = i / 32, t.lane = i % 32;
        t.state = READY, t.started = false;
        t.open.clear(), t.groups.clear();
    }
    live = count, at_barrier = 0;
    block_begins();
    while (live) {
        volatile bool moved = false;
        for (volatile size_t i = 0; i < order.size(); i = i + 1) {
            Thread& t = threads[order[i]];
            if (t.state != READY) continue;
            moved = true;
            self = &t;
            if (_setjmp(scheduler_at) == 0) {
                if (t.started) _longjmp(t.at, 1);
                t.started = true;
                getcontext(&t.start);
                t.start.uc_stack.ss_sp = stacks + STACK * order[i];
                t.start.uc_stack.ss_size = STACK;
                t.start.uc_link = nullptr;
                makecontext(&t.start, entry, 0);
                swapcontext(&scheduler_context, &t.start);
            }
            self = nullptr;
        }
        if (!moved) fail("threads wait for each other");
    }
    block_ends();
}

// Memory whose end (rounded up to 16 bytes) is the end of what may be touched.
static u8* guarded(u64 bytes) {
    u64 size = max<u64>(16, (bytes + 15) / 16 * 16), pages = (size + 4095) / 4096 * 4096;
    u8* at = (u8*)mmap(nullptr, pages + 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (at == MAP_FAILED) fail("no memory");
    mprotect(at + pages, 4096, PROT_NONE);
    memset(at, 0xff, pages);
    return at + pages - size;
}

}  // namespace emu

#define FULL_WARP 0xffffffffu
#define KERNEL extern "C" void
#define DEVICE static inline
#define DYNAMIC_SHARED(name) u8* name = emu::dynamic
#define __shared__ static
#define __launch_bounds__(...)
#define threadIdx (emu::self->index)
#define blockIdx (emu::block)
#define blockDim (emu::block_size)
#define gridDim (emu::grid)
#define __syncthreads emu::barrier

static inline u32 bits(float x) {
    u32 b;
    memcpy(&b, &x, 4);
    return b;
}
static inline float __uint_as_float(u32 b) {
    float x;
    memcpy(&x, &b, 4);
    return x;
}
static inline float rsqrtf(float x) { return 1.f / sqrtf(x); }
#define __expf expf
static inline float exp2_fast(float x) { return exp2f(x); }
static inline int __popc(u32 x) { return __builtin_popcount(x); }
static inline u32 __byte_perm(u32 a, u32 b, u32 selector) {
    u64 both = (u64)b << 32 | a;
    u32 out = 0;
    for (int i = 0; i < 4; i++) out |= (u32)((both >> 8 * ((selector >> 4 * i) & 7)) & 0xff) << 8 * i;
    return out;
}

// To the nearest brain float, ties to even.
static inline bf16 to_bf16(float x) {
    u32 b = bits(x);
    if (x != x) return 0x7fff;
    return (bf16)((b + 0x7fff + ((b >> 16) & 1)) >> 16);
}
static inline u32 pack(float low, float high) { return (u32)to_bf16(high) << 16 | to_bf16(low); }
static inline uint4 load_once(const void* from) { return *(const uint4*)from; }
static inline uint2 load_once_8(const void* from) { return *(const uint2*)from; }

static inline void __syncwarp() {
    emu::meet(1, [](emu::Thread*) {});
}

template <class T>
static T exchange(int operation, T value, int parameter, int (*source)(int, int)) {
    u64 b = 0;
    memcpy(&b, &value, sizeof value);
    emu::self->in[0] = b;
    emu::self->in[1] = parameter;
    emu::meet(operation, [&](emu::Thread* lanes) {
        for (int l = 0; l < 32; l++) {
            if (lanes[l].in[1] != lanes[0].in[1]) emu::fail("lanes shuffle by different distances");
            lanes[l].out[0] = lanes[source(l, parameter)].in[0];
        }
    });
    memcpy(&value, &emu::self->out[0], sizeof value);
    return value;
}
template <class T>
static T __shfl_xor_sync(u32, T value, int mask) {
    return exchange(2, value, mask, [](int l, int m) { return l ^ m; });
}
template <class T>
static T __shfl_up_sync(u32, T value, int by) {
    return exchange(3, value, by, [](int l, int m) { return l - m < 0 ? l : l - m; });
}
static inline u32 __ballot_sync(u32, bool vote) {
    emu::self->in[0] = vote;
    emu::meet(4, [](emu::Thread* lanes) {
        u32 votes = 0;
        for (int l = 0; l < 32; l++) votes |= (u32)lanes[l].in[0] << l;
        for (int l = 0; l < 32; l++) lanes[l].out[0] = votes;
    });
    return (u32)emu::self->out[0];
}

static inline float half_of(u64 word, int which) { return __uint_as_float((u32)(word >> 16 * which) << 16); }

// Fragments as the PTX ISA draws them for mma.m16n8k16 with 16-bit values: see device.cu.
static inline void mma(float c[4], const u32 a[4], u32 b0, u32 b1) {
    emu::Thread* t = emu::self;
    for (int i = 0; i < 4; i++) t->in[i] = a[i];
    t->in[4] = b0, t->in[5] = b1;
    t->in[6] = (u64)bits(c[1]) << 32 | bits(c[0]);
    t->in[7] = (u64)bits(c[3]) << 32 | bits(c[2]);
    emu::meet(5, [](emu::Thread* lanes) {
        float A[16][16], B[16][8];
        for (int l = 0; l < 32; l++) {
            int g = l >> 2, j = l & 3;
            for (int i = 0; i < 4; i++)
                for (int h = 0; h < 2; h++)
                    A[g + 8 * (i & 1)][2 * j + h + 8 * (i >> 1)] = half_of(lanes[l].in[i], h);
            for (int i = 0; i < 2; i++)
                for (int h = 0; h < 2; h++) B[2 * j + h + 8 * i][g] = half_of(lanes[l].in[4 + i], h);
        }
        for (int l = 0; l < 32; l++) {
            int g = l >> 2, j = l & 3;
            for (int i = 0; i < 4; i++) {
                float sum = __uint_as_float((u32)(lanes[l].in[6 + (i >> 1)] >> 32 * (i & 1)));
                for (int k = 0; k < 16; k++) sum += A[g + 8 * (i >> 1)][k] * B[k][2 * j + (i & 1)];
                lanes[l].out[i] = bits(sum);
            }
        }
    });
    for (int i = 0; i < 4; i++) c[i] = __uint_as_float((u32)t->out[i]);
}

static inline void matrices(u32 r[4], const void* row, bool transposed) {
    emu::Thread* t = emu::self;
    if ((u64)row % 16) emu::fail("a matrix row that is not aligned to 16 bytes");
    t->in[0] = (u64)row;
    emu::meet(transposed ? 6 : 7, [transposed](emu::Thread* lanes) {
        for (int l = 0; l < 32; l++) {
            int g = l >> 2, j = l & 3;
            for (int i = 0; i < 4; i++) {
                auto at = [&](int r, int c) { return (u32)((const u16*)lanes[i * 8 + r].in[0])[c]; };
                lanes[l].out[i] = transposed ? at(2 * j + 1, g) << 16 | at(2 * j, g) : at(g, 2 * j + 1) << 16 | at(g, 2 * j);
            }
        }
    });
    for (int i = 0; i < 4; i++) r[i] = (u32)t->out[i];
}
static inline void load_matrices(u32 r[4], const void* row) { matrices(r, row, false); }
static inline void load_matrices_transposed(u32 r[4], const void* row) { matrices(r, row, true); }

static inline void copy_async(void* to, const void* from, bool valid) {
    if ((u64)to % 16 || (u64)from % 16) emu::fail("an asynchronous copy that is not aligned to 16 bytes");
    emu::copy_begins(to);
    emu::self->open.push_back({to, from, valid});
}
static inline void copy_commit() {
    emu::self->groups.push_back({});
    emu::self->groups.back().swap(emu::self->open);
}
template <int N>
static void copy_wait() {
    auto& groups = emu::self->groups;
    for (; groups.size() > N; groups.pop_front())
        for (auto& c : groups.front()) {
            if (c.valid) memcpy(c.to, c.from, 16);
            else memset(c.to, 0, 16);
            emu::copy_ends(c.to);
        }
}
