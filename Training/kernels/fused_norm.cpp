// What a batch norm of 32 channels computes, on bfloat16 voxels (voxels, 32), in as few passes over memory as there
// can be: sums of the channels, and a line through each of them. Built and called by fused_norm.py.

#include <cstdint>

#if defined(__AVX512BF16__)

#include <immintrin.h>

#include <algorithm>
#include <vector>

#include "in_parallel.h"

namespace {

constexpr int CHANNELS = 32, HALF = 16;
constexpr long BLOCK = 2048;  // voxels whose float32 sums are added up in double
typedef uint16_t bf16;

struct Voxel {
    __m512 low, high;
};

inline Voxel load(const bf16* from) {
    const auto half = [](const bf16* at) {
        return _mm512_castsi512_ps(_mm512_slli_epi32(
            _mm512_cvtepu16_epi32(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(at))), 16));
    };
    return {half(from), half(from + HALF)};
}

inline Voxel numbers(const float* from) { return {_mm512_loadu_ps(from), _mm512_loadu_ps(from + HALF)}; }

inline void store(bf16* to, __m512 low, __m512 high) {
    _mm512_storeu_si512(to, (__m512i)_mm512_cvtne2ps_pbh(high, low));
}

void add(double* sums, __m512 low, __m512 high) {
    float parts[CHANNELS];
    _mm512_storeu_ps(parts, low);
    _mm512_storeu_ps(parts + HALF, high);
    for (int c = 0; c < CHANNELS; c++) sums[c] += parts[c];
}

}  // namespace

extern "C" {

int ready() { return 1; }

// sums (threads, 2, 32), zero at the start: of b, and of a b, over the voxels; the caller adds up the threads.
void channel_sums(long voxels, int threads, const bf16* a, const bf16* b, double* sums) {
    in_parallel(voxels, threads, [&](int thread, long begin, long end) {
        double* mine = sums + thread * 2 * CHANNELS;
        for (long start = begin; start < end; start += BLOCK) {
            __m512 plain_low = _mm512_setzero_ps(), plain_high = plain_low, product_low = plain_low,
                   product_high = plain_low;
            for (long p = start; p < std::min(start + BLOCK, end); p++) {
                const Voxel x = load(a + p * CHANNELS), y = load(b + p * CHANNELS);
                plain_low = _mm512_add_ps(plain_low, y.low);
                plain_high = _mm512_add_ps(plain_high, y.high);
                product_low = _mm512_fmadd_ps(x.low, y.low, product_low);
                product_high = _mm512_fmadd_ps(x.high, y.high, product_high);
            }
            add(mine, plain_low, plain_high);
            add(mine + CHANNELS, product_low, product_high);
        }
    });
}

// y = scale x + shift.
void line(long voxels, int threads, const bf16* x, const float* scale, const float* shift, bf16* y) {
    in_parallel(voxels, threads, [&](int, long begin, long end) {
        const Voxel a = numbers(scale), b = numbers(shift);
        for (long p = begin; p < end; p++) {
            const Voxel v = load(x + p * CHANNELS);
            store(y + p * CHANNELS, _mm512_fmadd_ps(a.low, v.low, b.low), _mm512_fmadd_ps(a.high, v.high, b.high));
        }
    });
}

// z = scale x + slope y + shift.
void plane(long voxels, int threads, const bf16* x, const bf16* y, const float* scale, const float* slope,
           const float* shift, bf16* z) {
    in_parallel(voxels, threads, [&](int, long begin, long end) {
        const Voxel a = numbers(scale), b = numbers(slope), c = numbers(shift);
        for (long p = begin; p < end; p++) {
            const Voxel v = load(x + p * CHANNELS), w = load(y + p * CHANNELS);
            store(z + p * CHANNELS, _mm512_fmadd_ps(a.low, v.low, _mm512_fmadd_ps(b.low, w.low, c.low)),
                  _mm512_fmadd_ps(a.high, v.high, _mm512_fmadd_ps(b.high, w.high, c.high)));
        }
    });
}

}  // extern "C"

#else

extern "C" int ready() { return 0; }

#endif
