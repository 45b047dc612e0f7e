// Takes the place of warpgroup.cu: products of a warpgroup, done on the CPU as the PTX ISA describes them.
//
// Written from the text of the PTX ISA (9.0, "Asynchronous Warpgroup Level Matrix Instructions"), not from the
// kernels, so that a wrong descriptor, swizzle, fence or wait stops the program or spoils the result. The
// facts it rests on, each read in two places (the second in brackets):
//
// - Descriptor: start address in bits 0-13, leading offset 16-29, stride offset 32-45, all in units of 16 bytes;
//   base offset 49-51; swizzle 62-63 with 0 none, 1 128 bytes, 2 64 bytes, 3 32 bytes. [CUTLASS's descriptor]
// - Canonical layouts of K-major and MN-major matrices, and what leading and stride offset mean in each.
//   [comments of CUTLASS's make_gmma_desc; DeepGEMM's use of them]
// - The swizzle is a function of the address: bits 7 up are mixed into bits 4 up, three, two or one of them. A
//   descriptor moves along a row by adding to its start address. [CUTLASS's Swizzle<3,4,3> over the pointer;
//   DeepGEMM's advance_gmma_desc_lo]
// - Which thread holds what of m64nNk16's d and a. The ISA has it as a picture; used is the layout of CUTLASS
//   (CLayout_64xN, ALayout_64x16). [it agrees with mma.m16n8k16 by warp, whose layout the ISA has in words]
// - Accumulators and registers of a must not be touched from begin to wait; wgmma.fence stands between their
//   last use and the product, except for sums into the same accumulators by products of the same shape.
//   [LLVM's description of the intrinsics; NVIDIA Fuser]
// - A product reads shared memory by the async proxy: who wrote it otherwise, cp.async too, fences with
//   fence.proxy.async before the barrier. [issues and reviews of Triton, Fuser, FlashKDA] CUTLASS leaves it out
//   behind cp.async; here it is demanded.
//
// Not known: how the hardware rounds within a product (here: 16 terms in 64 bits, then one rounding), what
// the base offset does to a pattern that begins elsewhere (refused here), and whether what the leading offset
// of a K-major swizzled matrix holds really does not matter (ignored here).
//
// Stricter than the ISA: a product's registers have to pass `hold` before the fence and behind the wait, which
// the compiler needs; results appear there and not before. Not seen: plain stores to shared memory.

#include <map>

namespace emu {

// Where the launch's shared memory begins in the shared window: not at a multiple of 1024.
static const u32 WINDOW = 1152;
static const u32 PIECES = 16384;

// What is going on with each 16 bytes of shared memory.
static u16 copies_on_way[PIECES], reads_on_way[PIECES], written_by[PIECES];

static int piece_of(const void* at) {
    i64 offset = (const u8*)at - dynamic;
    return offset < 0 || offset >= dynamic_bytes ? -1 : (int)(offset / 16);
}

// Registers of one thread that products use.
struct Registers {
    std::vector<u32> content;  // as `hold` saw them, then as a product left them
    u64 fences;                // of this thread, when they were held
    int products;              // in flight
    bool ended;                // a product has ended and they were not held since
    bool sums;                 // accumulators, not a
};

struct Product {
    int n, kind;
    bool add;
    u64 a, b;
    u32* d[32];
    u32* from[32];
    std::vector<int> pieces;
};

struct Warpgroups {
    std::map<u32*, Registers> registers[1024];
    std::vector<int> unfenced[1024];
    u64 fences[1024];
    std::vector<Product> open[32];
    std::deque<std::vector<Product>> groups[32];
    // What the warps of a warpgroup have begun, and how many each.
    std::vector<std::vector<u64>> begun[8];
    size_t own[32];
};
static Warpgroups* wg = new Warpgroups;

static void block_begins() {
    delete wg;
    wg = new Warpgroups();
    memset(copies_on_way, 0, sizeof copies_on_way);
    memset(reads_on_way, 0, sizeof reads_on_way);
    memset(written_by, 0, sizeof written_by);
}

static void block_ends() {
    for (int w = 0; w < 32; w++)
        if (!wg->open[w].empty() || !wg->groups[w].empty()) fail("a block ends with products that nobody waited for");
}

static void copy_begins(const void* to) {
    int piece = piece_of(to);
    if (piece < 0) return;
    if (reads_on_way[piece]) fail("a copy to shared memory that a product in flight reads");
    copies_on_way[piece]++;
}

static void copy_ends(const void* to) {
    int piece = piece_of(to);
    if (piece < 0) return;
    copies_on_way[piece]--;
    written_by[piece] = self->index.x + 1;
    wg->unfenced[self->index.x].push_back(piece);
}

static u32 field(u64 descriptor, int from) { return (u32)(descriptor >> from & 0x3fff) << 4; }

// Where 16 bytes of a matrix lie behind its start, before the swizzle. K-major: line is the row (of a) or
// column (of b), piece counts along k. MN-major: line is k, piece counts along rows or columns. These are the
// ISA's canonical layouts, with 16 bytes for T elements; width is that of the swizzle in such pieces, 1
// without.
static constexpr u32 canonical(u32 width, bool mn_major, u32 line, u32 piece, u32 leading, u32 stride) {
    if (width == 1 && mn_major) return piece * stride + line % 8 * 16 + line / 8 * leading;
    if (width == 1) return line % 8 * 16 + line / 8 * stride + piece * leading;
    if (mn_major) return piece % width * 16 + piece / width * leading + line % 8 * width * 16 + line / 8 * stride;
    return line % 8 * width * 16 + line / 8 * stride + piece * 16;
}
// The ISA's examples of exact layouts, in bytes: K-major without swizzle ((8,2),(4,4)):((4,32),(1,64)) and with
// 32 bytes ((8,2),(4,4)):((8,64),(1,4)), both of 4-byte elements; MN-major of 2-byte elements without swizzle
// ((8,1,2),(8,2)):((1,8,64),(8,128)), with 32 bytes ((8,2,2),(8,2)):((1,8,128),(16,256)), and with 64
// ((8,4,2),(8,2)):((1,8,256),(32,512)).
static_assert(canonical(1, false, 9, 3, 64 * 4, 32 * 4) == 4 * (1 * 4 + 1 * 32 + 3 * 64), "K-major");
static_assert(canonical(2, false, 11, 1, 16, 64 * 4) == 4 * (3 * 8 + 1 * 64 + 1 * 4), "K-major, 32 bytes");
static_assert(canonical(1, true, 13, 1, 128 * 2, 64 * 2) == 2 * (1 * 64 + 5 * 8 + 1 * 128), "MN-major");
static_assert(canonical(2, true, 13, 3, 128 * 2, 256 * 2) == 2 * (8 + 128 + 5 * 16 + 256), "MN-major, 32 bytes");
static_assert(canonical(4, true, 14, 7, 256 * 2, 512 * 2) == 2 * (3 * 8 + 256 + 6 * 32 + 512), "MN-major, 64 bytes");

// Its address.
static u32 address(u64 descriptor, bool mn_major, int line, int piece) {
    static const int WIDTHS[4] = {1, 8, 4, 2};
    if (descriptor & ~0xc000'3fff'3fff'3fffull) fail("a descriptor with a base offset or with bits that mean nothing");
    u32 start = field(descriptor, 0), leading = field(descriptor, 16), stride = field(descriptor, 32);
    int mode = (int)(descriptor >> 62), width = WIDTHS[mode];
    if (mode && !mn_major && (int)(start >> 4) % width + piece >= width)
        fail("a product that goes on behind the end of a swizzled row");
    u32 at = (start + canonical(width, mn_major, line, piece, leading, stride)) & 0x3ffff;
    return at ^ ((at >> 7 & (width - 1)) << 4);
}

static int matrix_piece(u64 descriptor, bool mn_major, int line, int piece) {
    u32 at = address(descriptor, mn_major, line, piece);
    if (at < WINDOW || at - WINDOW >= dynamic_bytes) fail("a product that reads beside shared memory");
    return (at - WINDOW) / 16;
}

static float element(int piece, int i) {
    u16 bits;
    memcpy(&bits, dynamic + piece * 16 + i * 2, 2);
    u32 word = (u32)bits << 16;
    float value;
    memcpy(&value, &word, 4);
    return value;
}

static u32 value_of(float x) {
    u32 bits;
    memcpy(&bits, &x, 4);
    return bits;
}

static float float_of(u32 bits) {
    float x;
    memcpy(&x, &bits, 4);
    return x;
}

static const u32 IN_FLIGHT = 0x7fbadbad;

// A lane hands registers to a product.
static void take_registers(Thread& lane, u32* at, int count, bool sums) {
    Registers& r = wg->registers[lane.index.x][at];
    if (r.products) {
        if (!sums || !r.sums || (int)r.content.size() != count) fail("registers of a product in flight used by another");
    } else {
        if ((int)r.content.size() != count) fail("registers of a product that were not held");
        if (r.ended) fail("registers used again before they were held behind their product's end");
        if (r.fences == wg->fences[lane.index.x]) fail("no fence between registers' last use and the product");
        if (memcmp(r.content.data(), at, 4 * count)) fail("registers of a product changed behind the fence");
        r.sums = sums;
    }
    r.products++;
    for (int i = 0; i < count; i++) at[i] = IN_FLIGHT;
}

static void give_registers(Thread& lane, u32* at) {
    Registers& r = wg->registers[lane.index.x][at];
    for (u32 i = 0; i < r.content.size(); i++)
        if (at[i] != IN_FLIGHT) fail("registers of a product in flight were written");
    r.products--;
    r.ended = true;
}

// One warp's part of m64nNk16: its 16 rows.
static void begin_product(Thread* lanes, int n, int kind) {
    int warp = lanes[0].warp;
    if (block_size.x % 128) fail("a block that is not whole warpgroups");
    bool a_is_shared = kind == 0;
    Product p = {n, kind, lanes[0].in[3] != 0, a_is_shared ? lanes[0].in[1] : 0, lanes[0].in[2]};
    for (int l = 0; l < 32; l++) {
        if (lanes[l].in[2] != p.b || (lanes[l].in[3] != 0) != p.add || (a_is_shared && lanes[l].in[1] != p.a))
            fail("lanes of a warp name different matrices");
        p.d[l] = (u32*)lanes[l].in[0];
        p.from[l] = a_is_shared ? nullptr : (u32*)lanes[l].in[1];
        take_registers(lanes[l], p.d[l], n / 2, true);
        if (!a_is_shared) take_registers(lanes[l], p.from[l], 4, false);
    }
    std::vector<u64> said = {(u64)n, (u64)kind, p.add, p.a, p.b};
    auto& begun = wg->begun[warp / 4];
    size_t own = wg->own[warp]++;
    if (own == begun.size()) begun.push_back(said);
    if (begun[own] != said) fail("warps of a warpgroup begin different products");

    if (a_is_shared)
        for (int i = 0; i < 32; i++) p.pieces.push_back(matrix_piece(p.a, false, warp % 4 * 16 + i / 2, i % 2));
    // K-major: n columns of two pieces. MN-major: 16 k of n / 8.
    for (int i = 0; i < 2 * n; i++)
        p.pieces.push_back(a_is_shared ? matrix_piece(p.b, false, i / 2, i % 2) : matrix_piece(p.b, true, i / (n / 8), i % (n / 8)));
    for (int piece : p.pieces) {
        if (copies_on_way[piece]) fail("a product that reads what a copy still writes");
        if (written_by[piece]) fail("a product that reads what was written without fence.proxy.async");
        reads_on_way[piece]++;
    }
    wg->open[warp].push_back(p);
}

static void end_product(Thread* lanes, Product& p) {
    float a[16][16], b[16][256];
    bool a_is_shared = p.kind == 0;
    const int* pieces = p.pieces.data();
    for (int l = 0; l < 32; l++) {
        int g = l >> 2, j = l & 3;
        if (a_is_shared) {
            for (int i = 0; i < 8; i++) a[l / 2][l % 2 * 8 + i] = element(pieces[l], i);
            continue;
        }
        u32* from = wg->registers[lanes[l].index.x][p.from[l]].content.data();
        for (int i = 0; i < 4; i++)
            for (int h = 0; h < 2; h++) a[g + 8 * (i & 1)][2 * j + h + 8 * (i >> 1)] = float_of(from[i] >> 16 * h << 16);
    }
    if (a_is_shared) pieces += 32;
    for (int i = 0; i < 2 * p.n; i++)
        for (int e = 0; e < 8; e++) {
            if (a_is_shared) b[i % 2 * 8 + e][i / 2] = element(pieces[i], e);
            else b[i / (p.n / 8)][i % (p.n / 8) * 8 + e] = element(pieces[i], e);
        }
    for (int l = 0; l < 32; l++) {
        int g = l >> 2, j = l & 3;
        std::vector<u32>& d = wg->registers[lanes[l].index.x][p.d[l]].content;
        for (int i = 0; i < p.n / 2; i++) {
            int row = g + 8 * ((i >> 1) & 1), column = i / 4 * 8 + 2 * j + (i & 1);
            double sum = p.add ? float_of(d[i]) : 0.0;
            for (int k = 0; k < 16; k++) sum += (double)a[row][k] * b[k][column];
            d[i] = value_of((float)sum);
        }
        give_registers(lanes[l], p.d[l]);
        if (!a_is_shared) give_registers(lanes[l], p.from[l]);
    }
    for (int piece : p.pieces) reads_on_way[piece]--;
}

static void hold_registers(u32* at, int count) {
    Registers& r = wg->registers[self->index.x][at];
    if (r.products) fail("registers touched while their product is in flight");
    if (r.ended) {
        for (int i = 0; i < count; i++)
            if (at[i] != IN_FLIGHT) fail("registers touched before they were held behind their product's end");
        memcpy(at, r.content.data(), 4 * count);
        r.ended = false;
    }
    r.content.assign(at, at + count);
    r.fences = wg->fences[self->index.x];
}

static void begin(int n, int kind, void* d, u64 a, u64 b, bool add) {
    self->in[0] = (u64)d, self->in[1] = a, self->in[2] = b, self->in[3] = add;
    meet(16 + n + kind, [=](Thread* lanes) { begin_product(lanes, n, kind); });
}

}  // namespace emu

template <int N>
static void hold(float (&registers)[N]) { emu::hold_registers((u32*)registers, N); }
template <int N>
static void hold(u32 (&registers)[N]) { emu::hold_registers(registers, N); }

static inline u32 shared_address(const void* p) { return (u32)((const u8*)p - emu::dynamic) + emu::WINDOW; }

static inline void products_see_writes() {
    std::vector<int>& written = emu::wg->unfenced[emu::self->index.x];
    for (int piece : written)
        if (emu::written_by[piece] == emu::self->index.x + 1) emu::written_by[piece] = 0;
    written.clear();
}
static inline void wgmma_fence() {
    emu::meet(10, [](emu::Thread* lanes) {
        for (int l = 0; l < 32; l++) emu::wg->fences[lanes[l].index.x]++;
    });
}
static inline void wgmma_commit() {
    emu::meet(11, [](emu::Thread* lanes) {
        int warp = lanes[0].warp;
        emu::wg->groups[warp].push_back({});
        emu::wg->groups[warp].back().swap(emu::wg->open[warp]);
    });
}
template <int N>
static void wgmma_wait() {
    emu::meet(12, [](emu::Thread* lanes) {
        auto& groups = emu::wg->groups[lanes[0].warp];
        for (; groups.size() > N; groups.pop_front())
            for (auto& product : groups.front()) emu::end_product(lanes, product);
    });
}
static inline void wgmma(float (&d)[32], u64 a, u64 b, bool add) { emu::begin(64, 0, d, a, b, add); }
static inline void wgmma_wide(float (&d)[32], const u32 (&a)[4], u64 b) { emu::begin(64, 1, d, (u64)a, b, true); }
static inline void wgmma_wide(float (&d)[64], const u32 (&a)[4], u64 b) { emu::begin(128, 1, d, (u64)a, b, true); }
