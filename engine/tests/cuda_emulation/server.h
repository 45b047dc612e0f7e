// Runs launches as it is told on its standard input: the rest of the file that the tests compile.
// Numbers are little-endian; KERNELS is the table of kernels, which the tests write.

template <class T>
static T argument(u64 bits);
template <>
int argument<int>(u64 b) { return (int)b; }
template <>
i64 argument<i64>(u64 b) { return (i64)b; }
template <>
u64 argument<u64>(u64 b) { return b; }
template <>
float argument<float>(u64 b) { return __uint_as_float((u32)b); }
template <class T>
struct Argument { static T of(u64 b) { return argument<T>(b); } };
template <class T>
struct Argument<T*> { static T* of(u64 b) { return (T*)b; } };

struct Call { const u64* arguments; size_t count; };
struct Entry { const char* name; void (*call)(const void*); size_t arguments; };

template <auto F>
struct Kernel;
template <class... Args, void (*F)(Args...)>
struct Kernel<F> {
    template <size_t... I>
    static void with(const u64* a, std::index_sequence<I...>) { F(Argument<Args>::of(a[I])...); }
    static void call(const void* p) { with((const u64*)p, std::index_sequence_for<Args...>()); }
    static const size_t count = sizeof...(Args);
};
#define ENTRY(name) {#name, Kernel<&name>::call, Kernel<&name>::count}

static Entry entries[] = {KERNELS};

static void take(void* to, size_t bytes) {
    if (bytes && fread(to, 1, bytes, stdin) != bytes) _exit(0);
}
template <class T>
static T take() {
    T v;
    take(&v, sizeof v);
    return v;
}
static void give(const void* from, size_t bytes) {
    fwrite(from, 1, bytes, stdout);
    fflush(stdout);
}

static void crashed(int signal) {
    const char* what = signal == SIGSEGV || signal == SIGBUS ? "memory outside of its buffers" : "a misaligned access";
    emu::fail(what);
}

static void launch() {
    u32 which = take<u32>();
    if (which >= sizeof entries / sizeof *entries) emu::fail("no such kernel");
    Entry& e = entries[which];
    emu::kernel = e.name;
    emu::grid = take<dim3>();
    emu::block_size = take<dim3>();
    u32 shared = take<u32>(), seed = take<u32>(), count = take<u32>();
    u64 arguments[32];
    if (count > 32 || count != e.arguments) emu::fail("another number of arguments than the kernel takes");
    take(arguments, count * 8);
    if (emu::block_size.x > 1024 || emu::block_size.y != 1 || emu::block_size.z != 1) emu::fail("block shape");
    u8* memory = emu::guarded(shared);
    emu::dynamic = memory;
    emu::dynamic_bytes = shared;
    emu::body = e.call;
    emu::body_arguments = arguments;
    std::vector<int> order;
    emu::set_order(order, emu::block_size.x, seed);
    u64 blocks = (u64)emu::grid.x * emu::grid.y * emu::grid.z;
    for (u64 i = 0; i < blocks; i++) {
        // Blocks may run in any order too.
        u64 b = seed == 1 ? blocks - 1 - i : i;
        emu::block = {(u32)(b % emu::grid.x), (u32)(b / emu::grid.x % emu::grid.y), 0};
        memset(memory, 0xff, shared);
        emu::run_block(order);
    }
    u64 size = max<u64>(16, ((u64)shared + 15) / 16 * 16), pages = (size + 4095) / 4096 * 4096;
    munmap(memory + size - pages, pages + 4096);
    emu::kernel = "none";
    u8 ok = 0;
    give(&ok, 1);
}

// What cuBLASLt does: c = a w^T.
static void product() {
    u64 a = take<u64>(), w = take<u64>(), c = take<u64>();
    u32 m = take<u32>(), n = take<u32>(), k = take<u32>(), wide = take<u32>();
    emu::kernel = "product";
    for (u32 i = 0; i < m; i++)
        for (u32 j = 0; j < n; j++) {
            const bf16 *x = (const bf16*)a + (u64)i * k, *y = (const bf16*)w + (u64)j * k;
            float sum = 0.f;
            for (u32 p = 0; p < k; p++) sum += to_float(x[p]) * to_float(y[p]);
            if (wide) ((float*)c)[(u64)i * n + j] = sum;
            else ((bf16*)c)[(u64)i * n + j] = to_bf16(sum);
        }
    u8 ok = 0;
    give(&ok, 1);
}

int main() {
    static u8 alternate[65536];
    stack_t stack = {alternate, 0, sizeof alternate};
    sigaltstack(&stack, nullptr);
    struct sigaction action = {};
    action.sa_handler = crashed;
    action.sa_flags = SA_ONSTACK;
    for (int s : {SIGSEGV, SIGBUS, SIGILL, SIGTRAP, SIGFPE}) sigaction(s, &action, nullptr);
    for (;;) {
        switch (take<u8>()) {
        case 'A': {
            u64 at = (u64)emu::guarded(take<u64>());
            give(&at, 8);
            break;
        }
        case 'W': {
            u64 to = take<u64>(), bytes = take<u64>();
            take((void*)to, bytes);
            break;
        }
        case 'R': {
            u64 from = take<u64>(), bytes = take<u64>();
            give((const void*)from, bytes);
            break;
        }
        case 'C': {
            u64 to = take<u64>(), from = take<u64>(), bytes = take<u64>();
            memcpy((void*)to, (const void*)from, bytes);
            break;
        }
        case 'L': launch(); break;
        case 'G': product(); break;
        default: emu::fail("a message that is not understood");
        }
    }
}
