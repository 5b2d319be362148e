// The autofocus convolution of the paper's flavour and its gradients on a CPU, by the identity
//     sum_k L_k(p) sum_t W_t x(p + r_k t)  =  sum_t W_t [ sum_k L_k(p) x(p + r_k t) ]
// : blend the K shifted inputs first, then multiply once, so that the layer costs about one convolution
// instead of K.
//
// Arrays are float32 and contiguous. x is (depth, height, width, in), attention (depth, height, width, K),
// y and its gradient (depth, height, width, out); weights are (27, in, out) and transposed (27, out, in).
// 'Same' size: what a kernel reads beyond the volume is 0. `in` and `out` are multiples of 8. Built and called by
// fused_layers.py.

#include <algorithm>
#include <cstring>
#include <vector>

#include "in_parallel.h"

namespace {

constexpr int LANES = 8;
typedef float Vector __attribute__((vector_size(4 * LANES), aligned(4)));

inline Vector load(const float* from) { return *reinterpret_cast<const Vector*>(from); }
inline void store(float* to, Vector v) { *reinterpret_cast<Vector*>(to) = v; }

struct Shape {
    int depth, height, width, in, out, branches;
};

// c[rows][8*V] += sum_i a[row][i] * w[i][8*V], with a[i][row] in its place where it is transposed.
template <int V, int ROWS, bool TRANSPOSED>
inline void multiply_block(int inner, const float* __restrict a, long a_stride, const float* __restrict w,
                           long w_stride, float* __restrict c, long c_stride) {
    Vector sums[ROWS][V];
    for (int row = 0; row < ROWS; row++)
        for (int v = 0; v < V; v++) sums[row][v] = load(c + row * c_stride + v * LANES);
    for (int i = 0; i < inner; i++) {
        Vector weights[V];
        for (int v = 0; v < V; v++) weights[v] = load(w + i * w_stride + v * LANES);
        for (int row = 0; row < ROWS; row++) {
            const float value = TRANSPOSED ? a[row + i * a_stride] : a[row * a_stride + i];
            for (int v = 0; v < V; v++) sums[row][v] += value * weights[v];
        }
    }
    for (int row = 0; row < ROWS; row++)
        for (int v = 0; v < V; v++) store(c + row * c_stride + v * LANES, sums[row][v]);
}

template <int V, int ROWS, bool TRANSPOSED>
void multiply_rows(int rows, int inner, const float* a, long a_stride, const float* w, long w_stride, float* c,
                   long c_stride) {
    const long a_step = TRANSPOSED ? 1 : a_stride;
    int row = 0;
    for (; row + ROWS <= rows; row += ROWS)
        multiply_block<V, ROWS, TRANSPOSED>(inner, a + row * a_step, a_stride, w, w_stride, c + row * c_stride,
                                            c_stride);
    for (; row < rows; row++)
        multiply_block<V, 1, TRANSPOSED>(inner, a + row * a_step, a_stride, w, w_stride, c + row * c_stride, c_stride);
}

// c += a w. Six rows of two vectors are twelve sums, which leaves registers for the weights and a value of a.
template <bool TRANSPOSED>
void multiply(int rows, int inner, int columns, const float* a, long a_stride, const float* w, long w_stride, float* c,
              long c_stride) {
    for (int first = 0; first < columns;) {
        const int vectors = std::min((columns - first) / LANES, 2);
        auto run = vectors == 2 ? multiply_rows<2, 6, TRANSPOSED> : multiply_rows<1, 8, TRANSPOSED>;
        run(rows, inner, a, a_stride, w + first, w_stride, c + first, c_stride);
        first += vectors * LANES;
    }
}

// One branch of one tap for a row of the output: where its source lies, and for which x there is one.
struct Source {
    long offset;  // of the source voxel of x = 0, in voxels of the volume
    int first, last;
    int branch;
};

int sources_of(const Shape& s, const int* rates, int z, int y, int tap, Source* found) {
    const int tz = tap / 9 - 1, ty = tap / 3 % 3 - 1, tx = tap % 3 - 1;
    int count = 0;
    for (int k = 0; k < s.branches; k++) {
        const int sz = z + tz * rates[k], sy = y + ty * rates[k], shift = tx * rates[k];
        if (sz < 0 || sz >= s.depth || sy < 0 || sy >= s.height) continue;
        const int first = std::max(0, -shift), last = std::min(s.width, s.width - shift);
        if (first >= last) continue;
        found[count++] = {(long(sz) * s.height + sy) * s.width + shift, first, last, k};
    }
    return count;
}

// blended[x] = sum_k attention[x][k] * input[source_k + x], for rows of V vectors (0: any number).
template <int V>
void blend_row(const Shape& s, const float* input, const float* attention, const Source* sources, int count,
               float* blended) {
    const int vectors = V ? V : s.in / LANES;
    std::memset(blended, 0, sizeof(float) * s.width * s.in);
    int first = 0, last = s.width;  // where every branch has a source
    for (int n = 0; n < count; n++) first = std::max(first, sources[n].first), last = std::min(last, sources[n].last);
    last = std::max(first, last);
    const auto add = [&](const Source& source, int x) {
        const float part = attention[long(x) * s.branches + source.branch];
        const float* from = input + (source.offset + x) * s.in;
        float* to = blended + long(x) * s.in;
        for (int v = 0; v < vectors; v++) store(to + v * LANES, load(to + v * LANES) + part * load(from + v * LANES));
    };
    for (int n = 0; n < count; n++) {
        for (int x = sources[n].first; x < std::min(first, sources[n].last); x++) add(sources[n], x);
        for (int x = std::max(last, sources[n].first); x < sources[n].last; x++) add(sources[n], x);
    }
    if (count != 4) {
        for (int n = 0; n < count; n++)
            for (int x = first; x < last; x++) add(sources[n], x);
        return;
    }
    for (int x = first; x < last; x++) {  // four rates in one pass over the row
        const float* parts = attention + long(x) * s.branches;
        const float part0 = parts[sources[0].branch], part1 = parts[sources[1].branch];
        const float part2 = parts[sources[2].branch], part3 = parts[sources[3].branch];
        const float* from0 = input + (sources[0].offset + x) * s.in;
        const float* from1 = input + (sources[1].offset + x) * s.in;
        const float* from2 = input + (sources[2].offset + x) * s.in;
        const float* from3 = input + (sources[3].offset + x) * s.in;
        float* to = blended + long(x) * s.in;
        for (int v = 0; v < vectors * LANES; v += LANES)
            store(to + v, part0 * load(from0 + v) + part1 * load(from1 + v) + part2 * load(from2 + v) +
                              part3 * load(from3 + v));
    }
}

void blend(const Shape& s, const float* input, const float* attention, const Source* sources, int count,
           float* blended) {
    const int vectors = s.in / LANES;
    auto run = vectors == 2 ? blend_row<2> : vectors == 3 ? blend_row<3> : vectors == 4 ? blend_row<4> : blend_row<0>;
    run(s, input, attention, sources, count, blended);
}

// What one branch of a tap gives back: dx[source + x] += attention[x] * back[x], dots[x] += x[source + x] . back[x].
template <int V>
void give_back(const Shape& s, const Source& source, const float* x, const float* attention, const float* back,
               float* dx, Vector* dots) {
    const int vectors = V ? V : s.in / LANES;
    for (int at = source.first; at < source.last; at++) {
        const float part = attention[long(at) * s.branches + source.branch];
        const float* from = x + (source.offset + at) * s.in;
        float* to = dx + (source.offset + at) * s.in;
        const float* g = back + long(at) * s.in;
        Vector dot = dots[long(at) * s.branches + source.branch];
        for (int v = 0; v < vectors * LANES; v += LANES) {
            const Vector value = load(g + v);
            dot += value * load(from + v);
            store(to + v, load(to + v) + part * value);
        }
        dots[long(at) * s.branches + source.branch] = dot;
    }
}

}  // namespace

extern "C" {

// y = sum_k attention_k * (x convolved at rate k), without bias.
void convolve(int depth, int height, int width, int in, int out, int branches, const int* rates, int threads,
              const float* x, const float* attention, const float* weights, float* y) {
    const Shape s{depth, height, width, in, out, branches};
    in_parallel(depth, threads, [&](int, int begin, int end) {
        std::vector<float> blended(long(width) * in);
        std::vector<Source> sources(branches);
        for (int z = begin; z < end; z++)
            for (int row = 0; row < height; row++) {
                const long voxel = (long(z) * height + row) * width;
                float* to = y + voxel * out;
                std::memset(to, 0, sizeof(float) * width * out);
                for (int tap = 0; tap < 27; tap++) {
                    const int count = sources_of(s, rates, z, row, tap, sources.data());
                    if (!count) continue;
                    const float* w = weights + long(tap) * in * out;
                    blend(s, x, attention + voxel * branches, sources.data(), count, blended.data());
                    multiply<false>(width, in, out, blended.data(), in, w, out, to, out);
                }
            }
    });
}

// Gradients of `convolve`. dx and dweights have one copy a thread, one after another, all zero at the start; the
// caller adds them up.
void convolve_backward(int depth, int height, int width, int in, int out, int branches, const int* rates, int threads,
                       const float* x, const float* attention, const float* transposed, const float* dy, float* dx,
                       float* dattention, float* dweights) {
    const Shape s{depth, height, width, in, out, branches};
    const long volume = long(depth) * height * width;
    in_parallel(depth, threads, [&](int thread, int begin, int end) {
        std::vector<float> blended(long(width) * in), back(long(width) * in);
        std::vector<Vector> dots(long(width) * branches);
        std::vector<Source> sources(branches);
        float* my_dx = dx + thread * volume * in;
        float* my_dweights = dweights + thread * 27L * in * out;
        for (int z = begin; z < end; z++)
            for (int row = 0; row < height; row++) {
                const long voxel = (long(z) * height + row) * width;
                const float* gradient = dy + voxel * out;
                std::fill(dots.begin(), dots.end(), Vector{});
                for (int tap = 0; tap < 27; tap++) {
                    const int count = sources_of(s, rates, z, row, tap, sources.data());
                    if (!count) continue;
                    float* dw = my_dweights + long(tap) * in * out;
                    blend(s, x, attention + voxel * branches, sources.data(), count, blended.data());
                    multiply<true>(in, width, out, blended.data(), in, gradient, out, dw, out);
                    const float* w = transposed + long(tap) * in * out;
                    std::memset(back.data(), 0, sizeof(float) * width * in);
                    multiply<false>(width, out, in, gradient, out, w, in, back.data(), in);
                    const int vectors = in / LANES;
                    auto give = vectors == 2 ? give_back<2> : vectors == 3 ? give_back<3>
                              : vectors == 4 ? give_back<4> : give_back<0>;
                    for (int n = 0; n < count; n++)
                        give(s, sources[n], x, attention + voxel * branches, back.data(), my_dx, dots.data());
                }
                for (long n = 0; n < long(width) * branches; n++) {
                    float sum = 0;
                    for (int lane = 0; lane < LANES; lane++) sum += dots[n][lane];
                    dattention[voxel * branches + n] = sum;
                }
            }
    });
}

}  // extern "C"
