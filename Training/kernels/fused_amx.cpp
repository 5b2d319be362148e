// The autofocus convolution of the paper's flavour and its gradients on processors with AMX (bfloat16 matrix tiles),
// by the identity
//     sum_k L_k(p) sum_t W_t x(p + r_k t)  =  sum_t W_t [ sum_k L_k(p) x(p + r_k t) ]
// : blend the shifted inputs of a tap first, then multiply once. Without attention there is nothing to blend, and it
// is a dilated convolution. Products of bfloat16 are summed in float32.
//
// A volume is (depth, height, width + 2 margin, 32) bfloat16, the margin (the largest rate) all zero; attention is
// (depth, height, 4, width + 2 margin) 32-bit words, each a pair of bfloat16 of which one is zero: the lower holds
// the attention of rates 0 and 2, the upper that of 1 and 3, so that an OR of two words is the pair that
// vdpbf16ps multiplies. Weights are (27, 2, 16, 16, 2): tap, half of the output channels, pair of input channels,
// output channel, one of the pair. 32 channels in and out, width >= 16. Built and called by fused_amx.py.

#include <cstdint>

#if defined(__AMX_BF16__) && defined(__AVX512BF16__)

#include <immintrin.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <vector>

#include "in_parallel.h"

namespace {

constexpr int CHANNELS = 32, TAPS = 27, TILE = 16, RATES = 4;
constexpr int TILE_WEIGHTS = TILE * TILE * 2, TAP_WEIGHTS = 2 * TILE_WEIGHTS;
constexpr int ROW_BYTES = CHANNELS * 2;
typedef uint16_t bf16;

struct Shape {
    int depth, height, width, margin;
    int branches;  // 0: no attention, one rate
    int rates[RATES];
    int padded() const { return width + 2 * margin; }
    int used() const { return branches ? branches : 1; }
};

struct alignas(64) TileConfig {
    uint8_t palette = 1, start = 0, reserved[14] = {};
    uint16_t bytes[16] = {};
    uint8_t rows[16] = {};
    TileConfig() {
        for (int t = 0; t < 8; t++) bytes[t] = 64, rows[t] = TILE;
    }
};

// Where the K sources of one tap start for a row of the output, and the attention to weigh them with.
struct Tap {
    const bf16* x[RATES];
    const uint32_t* attention[RATES];
    bool any;
};

// GCC does not know that a tile is loaded from memory: what was written before must be written by now.
inline void settle() { asm volatile("" ::: "memory"); }

struct Rows {  // what lies beyond the volume
    std::vector<bf16> x;
    std::vector<uint32_t> attention;
    explicit Rows(const Shape& s) : x(s.padded() * CHANNELS), attention(s.padded()) {}
};

Tap sources(const Shape& s, const Rows& zero, const bf16* x, const uint32_t* attention, bool at_source, int z, int y,
            int tap) {
    const int tz = tap / 9 - 1, ty = tap / 3 % 3 - 1, tx = tap % 3 - 1;
    Tap found;
    found.any = false;
    for (int k = 0; k < RATES; k++) {
        const int rate = s.rates[k], sz = z + tz * rate, sy = y + ty * rate;
        const bool inside = k < s.used() && sz >= 0 && sz < s.depth && sy >= 0 && sy < s.height;
        const long row = long(sz) * s.height + sy, own = long(z) * s.height + y;
        found.any |= inside;
        found.x[k] = inside ? x + (row * s.padded() + s.margin + tx * rate) * CHANNELS
                            : zero.x.data() + s.margin * CHANNELS;
        if (!attention) continue;
        found.attention[k] = !inside ? zero.attention.data() + s.margin
            : attention + ((at_source ? row : own) * RATES + k) * s.padded() + s.margin + (at_source ? tx * rate : 0);
    }
    return found;
}

// to[p] = sum_k attention_k[p] x_k[p]. The channels come out in another order: see BLENDED_ORDER in fused_amx.py.
void blend(int width, const Tap& tap, bf16* to) {
    for (int p = 0; p < width; p++) {
        const __m512i x0 = _mm512_loadu_si512(tap.x[0] + p * CHANNELS), x1 = _mm512_loadu_si512(tap.x[1] + p * CHANNELS);
        const __m512i x2 = _mm512_loadu_si512(tap.x[2] + p * CHANNELS), x3 = _mm512_loadu_si512(tap.x[3] + p * CHANNELS);
        const __m512bh a01 = (__m512bh)_mm512_or_si512(_mm512_set1_epi32(tap.attention[0][p]),
                                                       _mm512_set1_epi32(tap.attention[1][p]));
        const __m512bh a23 = (__m512bh)_mm512_or_si512(_mm512_set1_epi32(tap.attention[2][p]),
                                                       _mm512_set1_epi32(tap.attention[3][p]));
        __m512 low = _mm512_dpbf16_ps(_mm512_setzero_ps(), (__m512bh)_mm512_unpacklo_epi16(x0, x1), a01);
        __m512 high = _mm512_dpbf16_ps(_mm512_setzero_ps(), (__m512bh)_mm512_unpackhi_epi16(x0, x1), a01);
        low = _mm512_dpbf16_ps(low, (__m512bh)_mm512_unpacklo_epi16(x2, x3), a23);
        high = _mm512_dpbf16_ps(high, (__m512bh)_mm512_unpackhi_epi16(x2, x3), a23);
        _mm512_storeu_si512(to + p * CHANNELS, (__m512i)_mm512_cvtne2ps_pbh(high, low));
    }
}

// The input of a tap for a row of the output: the volume itself, or blended into `buffer`.
const bf16* input(const Shape& s, const Tap& tap, bf16* buffer) {
    if (!s.branches) return tap.x[0];
    blend(s.width, tap, buffer);
    return buffer;
}

// sums[first + 0…15][32] = sum over taps of rows[tap][first + 0…15][32] times the tap's weights; with BOTH the same for
// `second`, so that two blocks of 16 voxels share what is loaded of the weights.
template <bool BOTH>
void multiply(const bf16* const* rows, const bf16* weights, int first, int second, float* sums) {
    _tile_zero(0);
    _tile_zero(1);
    if constexpr (BOTH) {
        _tile_zero(2);
        _tile_zero(3);
    }
    for (int tap = 0; tap < TAPS; tap++) {
        if (!rows[tap]) continue;
        _tile_loadd(4, rows[tap] + first * CHANNELS, ROW_BYTES);
        _tile_loadd(6, weights + tap * TAP_WEIGHTS, ROW_BYTES);
        _tile_dpbf16ps(0, 4, 6);
        _tile_loadd(7, weights + tap * TAP_WEIGHTS + TILE_WEIGHTS, ROW_BYTES);
        _tile_dpbf16ps(1, 4, 7);
        if constexpr (BOTH) {
            _tile_loadd(5, rows[tap] + second * CHANNELS, ROW_BYTES);
            _tile_dpbf16ps(2, 5, 6);
            _tile_dpbf16ps(3, 5, 7);
        }
    }
    _tile_stored(0, sums + first * CHANNELS, CHANNELS * 4);
    _tile_stored(1, sums + first * CHANNELS + TILE, CHANNELS * 4);
    if constexpr (BOTH) {
        _tile_stored(2, sums + second * CHANNELS, CHANNELS * 4);
        _tile_stored(3, sums + second * CHANNELS + TILE, CHANNELS * 4);
    }
}

// The first voxels of the blocks of 16 that cover a row; the last one overlaps its neighbour.
std::vector<int> blocks(int width) {
    std::vector<int> starts;
    for (int first = 0; first < width; first += TILE) starts.push_back(std::min(first, width - TILE));
    return starts;
}

inline __m512i rounded(const float* from) {
    return (__m512i)_mm512_cvtne2ps_pbh(_mm512_loadu_ps(from + TILE), _mm512_loadu_ps(from));
}

// `in_parallel` by threads that are ready for tiles.
template <class Work>
void in_parallel_with_tiles(int planes, int threads, Work work) {
    in_parallel(planes, threads, [&](int thread, int begin, int end) {
        const TileConfig config;
        _tile_loadconfig(&config);
        work(thread, begin, end);
        _tile_release();
    });
}

Shape shape_of(int depth, int height, int width, int margin, int branches, const int* rates) {
    Shape s{depth, height, width, margin, branches, {}};
    for (int k = 0; k < s.used(); k++) s.rates[k] = rates[k];
    return s;
}

// The channels of a row of 32-channel voxels become rows of `stride` voxels.
void transpose(int width, const bf16* row, int stride, bf16* to) {
    for (int p = 0; p < width; p++)
        for (int c = 0; c < CHANNELS; c++) to[c * stride + p] = row[p * CHANNELS + c];
}

// Two voxels' values of a channel side by side, as tiles of 16 pairs by 16 channels: pairs (steps, 2, 16, 16, 2).
void interleave(int width, const bf16* row, bf16* pairs) {
    for (int p = 0; p < width; p += 2) {
        const __m512i first = _mm512_loadu_si512(row + p * CHANNELS);
        const __m512i second = p + 1 < width ? _mm512_loadu_si512(row + (p + 1) * CHANNELS) : _mm512_setzero_si512();
        bf16* to = pairs + (p / 32) * TAP_WEIGHTS + (p / 2 % TILE) * CHANNELS;
        _mm512_storeu_si512(to, _mm512_unpacklo_epi16(first, second));
        _mm512_storeu_si512(to + TILE_WEIGHTS, _mm512_unpackhi_epi16(first, second));
    }
}

}  // namespace

extern "C" {

// Ask the kernel of the operating system for the tiles; 1 where they can be used.
int ready() {
    constexpr long REQUEST_PERMISSION = 0x1023, TILE_DATA = 18;
    return syscall(SYS_arch_prctl, REQUEST_PERMISSION, TILE_DATA) == 0;
}

// y (depth, height, width, 32) = sum_t W_t sum_k L_k(p) x(p + r_k t) + bias, with `at_source` of L_k(p + r_k t).
void convolve(int depth, int height, int width, int margin, int branches, const int* rates, int threads, int at_source,
              const bf16* x, const uint32_t* attention, const bf16* weights, const float* bias, bf16* y) {
    const Shape s = shape_of(depth, height, width, margin, branches, rates);
    const Rows zero(s);
    const std::vector<int> starts = blocks(width);
    in_parallel_with_tiles(depth, threads, [&](int, int begin, int end) {
        std::vector<bf16> blended(long(TAPS) * width * CHANNELS);
        std::vector<float> sums(width * CHANNELS);
        const bf16* rows[TAPS];
        for (int z = begin; z < end; z++)
            for (int row = 0; row < height; row++) {
                for (int t = 0; t < TAPS; t++) {
                    const Tap tap = sources(s, zero, x, attention, at_source, z, row, t);
                    rows[t] = tap.any ? input(s, tap, blended.data() + long(t) * width * CHANNELS) : nullptr;
                }
                settle();
                size_t n = 0;
                for (; n + 2 <= starts.size(); n += 2)
                    multiply<true>(rows, weights, starts[n], starts[n + 1], sums.data());
                if (n < starts.size()) multiply<false>(rows, weights, starts[n], starts[n], sums.data());
                bf16* to = y + (long(z) * height + row) * width * CHANNELS;
                const __m512 low = _mm512_loadu_ps(bias), high = _mm512_loadu_ps(bias + TILE);
                for (int p = 0; p < width; p++) {
                    const float* from = sums.data() + p * CHANNELS;
                    _mm512_storeu_si512(to + p * CHANNELS,
                        (__m512i)_mm512_cvtne2ps_pbh(_mm512_add_ps(_mm512_loadu_ps(from + TILE), high),
                                                     _mm512_add_ps(_mm512_loadu_ps(from), low)));
                }
            }
    });
}

// gradient (threads, 27, 2, 2, 16, 16): tap, half of the output channels, half of the input channels; one a thread,
// which the caller adds up. dy is a volume as x.
void weight_gradient(int depth, int height, int width, int margin, int branches, const int* rates, int threads,
                     const bf16* x, const uint32_t* attention, const bf16* dy, float* gradient) {
    const Shape s = shape_of(depth, height, width, margin, branches, rates);
    const Rows zero(s);
    const int steps = (width + 31) / 32, stride = steps * 32;
    in_parallel_with_tiles(depth, threads, [&](int thread, int begin, int end) {
        std::vector<bf16> blended(width * CHANNELS), pairs(steps * TAP_WEIGHTS), transposed(CHANNELS * stride);
        float* mine = gradient + long(thread) * TAPS * 4 * TILE * TILE;
        for (int z = begin; z < end; z++)
            for (int row = 0; row < height; row++) {
                const long at = (long(z) * height + row) * s.padded() + margin;
                transpose(width, dy + at * CHANNELS, stride, transposed.data());
                for (int t = 0; t < TAPS; t++) {
                    const Tap tap = sources(s, zero, x, attention, false, z, row, t);
                    if (!tap.any) continue;
                    interleave(width, input(s, tap, blended.data()), pairs.data());
                    float* sums = mine + t * 4 * TILE * TILE;
                    settle();
                    _tile_loadd(0, sums, 64);
                    _tile_loadd(1, sums + TILE * TILE, 64);
                    _tile_loadd(2, sums + 2 * TILE * TILE, 64);
                    _tile_loadd(3, sums + 3 * TILE * TILE, 64);
                    for (int step = 0; step < steps; step++) {
                        _tile_loadd(4, transposed.data() + step * 32, stride * 2);
                        _tile_loadd(5, transposed.data() + TILE * stride + step * 32, stride * 2);
                        _tile_loadd(6, pairs.data() + step * TAP_WEIGHTS, 64);
                        _tile_loadd(7, pairs.data() + step * TAP_WEIGHTS + TILE_WEIGHTS, 64);
                        _tile_dpbf16ps(0, 4, 6);
                        _tile_dpbf16ps(1, 4, 7);
                        _tile_dpbf16ps(2, 5, 6);
                        _tile_dpbf16ps(3, 5, 7);
                    }
                    _tile_stored(0, sums, 64);
                    _tile_stored(1, sums + TILE * TILE, 64);
                    _tile_stored(2, sums + 2 * TILE * TILE, 64);
                    _tile_stored(3, sums + 3 * TILE * TILE, 64);
                }
            }
    });
}

// gradient (depth, height, width, 4) of the attention: x(p + r_k t) . W_t' dy(p), summed over the taps. `transposed`
// are the weights with the channels exchanged; dy is a volume as x.
void attention_gradient(int depth, int height, int width, int margin, int branches, const int* rates, int threads,
                        const bf16* x, const bf16* transposed, const bf16* dy, float* gradient) {
    const Shape s = shape_of(depth, height, width, margin, branches, rates);
    const Rows zero(s);
    const std::vector<int> starts = blocks(width);
    constexpr int TOGETHER = 4;
    const int rounded_width = (width + TOGETHER - 1) / TOGETHER * TOGETHER;
    in_parallel_with_tiles(depth, threads, [&](int, int begin, int end) {
        std::vector<bf16> back(long(TAPS) * rounded_width * CHANNELS);  // W_t' dy of every tap
        alignas(64) float sums[TILE * CHANNELS];
        const bf16* from[TAPS * RATES];
        for (int z = begin; z < end; z++)
            for (int row = 0; row < height; row++) {
                const long at = (long(z) * height + row) * s.padded() + margin;
                for (int first : starts) {
                    _tile_loadd(4, dy + (at + first) * CHANNELS, ROW_BYTES);
                    for (int t = 0; t < TAPS; t++) {
                        _tile_zero(0);
                        _tile_zero(1);
                        _tile_loadd(6, transposed + t * TAP_WEIGHTS, 64);
                        _tile_loadd(7, transposed + t * TAP_WEIGHTS + TILE_WEIGHTS, 64);
                        _tile_dpbf16ps(0, 4, 6);
                        _tile_dpbf16ps(1, 4, 7);
                        _tile_stored(0, sums, CHANNELS * 4);
                        _tile_stored(1, sums + TILE, CHANNELS * 4);
                        bf16* to = back.data() + (long(t) * rounded_width + first) * CHANNELS;
                        for (int p = 0; p < TILE; p++)
                            _mm512_storeu_si512(to + p * CHANNELS, rounded(sums + p * CHANNELS));
                    }
                }
                for (int t = 0; t < TAPS; t++) {
                    const Tap tap = sources(s, zero, x, nullptr, false, z, row, t);
                    for (int k = 0; k < RATES; k++) from[t * RATES + k] = tap.x[k];
                }
                float* to = gradient + (long(z) * height + row) * width * RATES;
                for (int p = 0; p < width; p += TOGETHER) {
                    __m512 dots[TOGETHER][RATES];
                    for (auto& voxel : dots)
                        for (auto& dot : voxel) dot = _mm512_setzero_ps();
                    const int count = std::min(TOGETHER, width - p);
                    for (int t = 0; t < TAPS; t++)
                        for (int n = 0; n < TOGETHER; n++) {
                            const int q = p + std::min(n, count - 1);
                            const __m512bh g = (__m512bh)_mm512_loadu_si512(
                                back.data() + (long(t) * rounded_width + q) * CHANNELS);
                            for (int k = 0; k < RATES; k++)
                                dots[n][k] = _mm512_dpbf16_ps(dots[n][k], g,
                                    (__m512bh)_mm512_loadu_si512(from[t * RATES + k] + q * CHANNELS));
                        }
                    for (int n = 0; n < count; n++)
                        for (int k = 0; k < RATES; k++) to[(p + n) * RATES + k] = _mm512_reduce_add_ps(dots[n][k]);
                }
            }
    });
}

}  // extern "C"

#else

extern "C" int ready() { return 0; }

#endif
