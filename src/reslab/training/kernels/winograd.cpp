// Convolutions of 3x3, stride 1 and padding 1 by Winograd's F(4x4, 3x3), for training on a CPU.
//
// A tile of 4x4 outputs takes 36 multiplications a pair of channels, where the definition takes 144 (Lavin and Gray,
// "Fast Algorithms for Convolutional Neural Networks", 2016, with the points 0, 1, -1, 2, -2 and infinity):
//
//   output    y = A' [sum over c of (B' x B) * (G w G')] A
//   weights   dw = G' [sum over tiles of (B' x B) * (A dy A')] G
//
// and the gradient by the input is the output for dy, with each filter turned round and channels exchanged. Between
// the transforms stand 36 matrix products, one a point, over a few rows of tiles at a time, so that a tile's points
// never leave the caches.
//
// Activations are float or bfloat16 in channels-last order, weights (out, 3, 3, in); all arithmetic is in float.
// Channels are multiples of 16. Height and width are any: what a tile has beyond the edge is 0, or is not written.
// Each of `parts` takes its share of the tiles and adds up in a fixed order, so that results depend on that number
// alone. All memory is the caller's.

#include <omp.h>

#include <algorithm>
#include <cstdint>
#include <cstring>

#include "vectors.h"

namespace {

constexpr int kOut = 4;              // the edge of a tile of outputs
constexpr int kIn = 6;               // of the inputs that they come from
constexpr int kPoints = kIn * kIn;   // where both are multiplied
constexpr int kTaps = 3;             // the edge of a filter
constexpr int64_t kSpread = 16;      // numbers between planes, that points of one tile do not share a set of a cache
constexpr int64_t kLine = 16;        // numbers in a line of a cache
#if defined(__AVX512F__) || !defined(__AVX2__)
constexpr int kMostVectors = 4;  // of channels that a product keeps in registers, of which there are 32
#else
constexpr int kMostVectors = 2;  // there are 16
#endif

// ---- One dimension of each transform -------------------------------------------------------------------------------

inline void input_points(const Floats (&x)[kIn], Floats (&to)[kIn]) {  // B' x
  const Floats a = x[4] - 4.0f * x[2], b = x[3] - 4.0f * x[1], c = x[4] - x[2], d = x[3] - x[1];
  to[0] = 4.0f * x[0] + (x[4] - 5.0f * x[2]);
  to[1] = a + b;
  to[2] = a - b;
  to[3] = c + 2.0f * d;
  to[4] = c - 2.0f * d;
  to[5] = 4.0f * x[1] + (x[5] - 5.0f * x[3]);
}

inline void output_values(const Floats (&m)[kIn], Floats (&to)[kOut]) {  // A' m
  const Floats a = m[1] + m[2], b = m[1] - m[2], c = m[3] + m[4], d = m[3] - m[4];
  to[0] = m[0] + a + c;
  to[1] = b + 2.0f * d;
  to[2] = a + 4.0f * c;
  to[3] = b + 8.0f * d + m[5];
}

inline void gradient_points(const Floats (&g)[kOut], Floats (&to)[kIn]) {  // A g
  const Floats even = g[0] + g[2], odd = g[1] + g[3];
  const Floats even_of_2 = g[0] + 4.0f * g[2], odd_of_2 = 2.0f * g[1] + 8.0f * g[3];
  to[0] = g[0];
  to[1] = even + odd;
  to[2] = even - odd;
  to[3] = even_of_2 + odd_of_2;
  to[4] = even_of_2 - odd_of_2;
  to[5] = g[3];
}

inline void weight_points(const Floats (&w)[kTaps], Floats (&to)[kIn]) {  // G w
  const Floats ends = w[0] + w[2];
  const Floats even_of_2 = w[0] * (1.0f / 24) + w[2] * (1.0f / 6), odd_of_2 = w[1] * (1.0f / 12);
  to[0] = w[0] * 0.25f;
  to[1] = (ends + w[1]) * (-1.0f / 6);
  to[2] = (ends - w[1]) * (-1.0f / 6);
  to[3] = even_of_2 + odd_of_2;
  to[4] = even_of_2 - odd_of_2;
  to[5] = w[2];
}

inline void weight_values(const Floats (&u)[kIn], Floats (&to)[kTaps]) {  // G' u
  const Floats a = u[1] + u[2], b = u[1] - u[2], c = u[3] + u[4], d = u[3] - u[4];
  to[0] = 0.25f * u[0] - (1.0f / 6) * a + (1.0f / 24) * c;
  to[1] = (1.0f / 12) * d - (1.0f / 6) * b;
  to[2] = (1.0f / 6) * c - (1.0f / 6) * a + u[5];
}

// ---- Where things lie ----------------------------------------------------------------------------------------------

struct Shape {
  int64_t images, height, width, tiles_down, tiles_across;

  Shape(int64_t images, int64_t height, int64_t width)
      : images(images),
        height(height),
        width(width),
        tiles_down((height + kOut - 1) / kOut),
        tiles_across((width + kOut - 1) / kOut) {}

  int64_t rows() const { return images * tiles_down; }  // of tiles
};

struct Row {  // of tiles
  int64_t image, top;

  Row(const Shape& shape, int64_t index)
      : image(index / shape.tiles_down), top(index % shape.tiles_down * kOut) {}
};

// 36 matrices of (tiles, channels). A product may write plane p where plane p - 1 of its input was.
struct Planes {
  float* data;
  int64_t channels, stride;

  Planes(float* data, int64_t tiles, int64_t channels, int64_t widest)
      : data(data), channels(channels), stride(size_of_one(tiles, widest)) {}

  static int64_t size_of_one(int64_t tiles, int64_t channels) { return tiles * channels + kSpread; }
  float* at(int64_t point, int64_t tile) const { return data + point * stride + tile * channels; }
};

inline int64_t in_lines(int64_t numbers) { return (numbers + kLine - 1) / kLine * kLine; }

// ---- Transforms of activations -------------------------------------------------------------------------------------

// One row of tiles. `strip` is for six rows of (4 * tiles_across + 2, channels), zero beyond the image's sides.
template <typename T>
inline void transform_input(const T* x, const Shape& shape, Row row, int64_t channels, float* strip, Planes to,
                            int64_t first_tile) {
  const int64_t length = shape.width * channels, strip_stride = (shape.tiles_across * kOut + 2) * channels;
  const T* rows[kIn];
  Bits inside[kIn];
  for (int i = 0; i < kIn; ++i) {
    const int64_t y = row.top - 1 + i;
    inside[i] = Bits{} - (y >= 0 && y < shape.height ? 1u : 0u);
    rows[i] = x + (row.image * shape.height + std::clamp<int64_t>(y, 0, shape.height - 1)) * length;
  }
  for (int64_t at = 0; at < length; at += kLanes) {
    Floats values[kIn], points[kIn];
#pragma GCC unroll 6
    for (int i = 0; i < kIn; ++i)
      values[i] = reinterpret_cast<Floats>(reinterpret_cast<Bits>(load(rows[i] + at)) & inside[i]);
    input_points(values, points);
#pragma GCC unroll 6
    for (int i = 0; i < kIn; ++i) store(strip + i * strip_stride + channels + at, points[i]);
  }
  for (int i = 0; i < kIn; ++i)
    for (int64_t tile = 0; tile < shape.tiles_across; ++tile)
      for (int64_t c = 0; c < channels; c += kLanes) {
        Floats values[kIn], points[kIn];
        const float* from = strip + i * strip_stride + tile * kOut * channels + c;
#pragma GCC unroll 6
        for (int j = 0; j < kIn; ++j) values[j] = load(from + j * channels);
        input_points(values, points);
        float* at = to.at(i * kIn, first_tile + tile) + c;
#pragma GCC unroll 6
        for (int j = 0; j < kIn; ++j) store(at + j * to.stride, points[j]);
      }
}

void clear_sides(const Shape& shape, int64_t channels, float* strip) {
  const int64_t columns = shape.tiles_across * kOut + 2;
  for (int i = 0; i < kIn; ++i) {
    float* row = strip + i * columns * channels;
    std::memset(row, 0, channels * sizeof(float));
    std::memset(row + (shape.width + 1) * channels, 0, (columns - shape.width - 1) * channels * sizeof(float));
  }
}

// Whether tiles of a row reach beyond the image, and what of them lies within.
struct Within {
  int64_t down, across;

  Within(const Shape& shape, Row row, int64_t tile)
      : down(std::min<int64_t>(kOut, shape.height - row.top)),
        across(std::min<int64_t>(kOut, shape.width - tile * kOut)) {}
  bool whole() const { return down == kOut && across == kOut; }
};

template <typename T>
inline void transform_gradient(const T* g, const Shape& shape, Row row, int64_t channels, Planes to,
                               int64_t first_tile) {
  const int64_t length = shape.width * channels;
  const auto one = [&](int64_t tile, int64_t c, auto value_at) {
    Floats columns[kIn][kOut];
#pragma GCC unroll 4
    for (int j = 0; j < kOut; ++j) {
      Floats values[kOut], points[kIn];
#pragma GCC unroll 4
      for (int i = 0; i < kOut; ++i) values[i] = value_at(i, j);
      gradient_points(values, points);
#pragma GCC unroll 6
      for (int i = 0; i < kIn; ++i) columns[i][j] = points[i];
    }
    float* at = to.at(0, first_tile + tile) + c;
#pragma GCC unroll 6
    for (int i = 0; i < kIn; ++i) {
      Floats points[kIn];
      gradient_points(columns[i], points);
#pragma GCC unroll 6
      for (int j = 0; j < kIn; ++j) store(at + (i * kIn + j) * to.stride, points[j]);
    }
  };
  for (int64_t tile = 0; tile < shape.tiles_across; ++tile) {
    const Within within(shape, row, tile);
    const T* from = g + (row.image * shape.height + row.top) * length + tile * kOut * channels;
    for (int64_t c = 0; c < channels; c += kLanes) {
      if (within.whole())
        one(tile, c, [&](int i, int j) { return load(from + i * length + j * channels + c); });
      else
        one(tile, c, [&](int i, int j) {
          return i < within.down && j < within.across ? load(from + i * length + j * channels + c) : Floats{};
        });
    }
  }
}

template <typename T>
inline void transform_output(Planes from, int64_t first_tile, const Shape& shape, Row row, int64_t channels, T* y) {
  const int64_t length = shape.width * channels;
  const auto one = [&](int64_t tile, int64_t c, auto put) {
    Floats columns[kOut][kIn];
    const float* at = from.at(0, first_tile + tile) + c;
#pragma GCC unroll 6
    for (int j = 0; j < kIn; ++j) {
      Floats points[kIn], values[kOut];
#pragma GCC unroll 6
      for (int i = 0; i < kIn; ++i) points[i] = load(at + (i * kIn + j) * from.stride);
      output_values(points, values);
#pragma GCC unroll 4
      for (int i = 0; i < kOut; ++i) columns[i][j] = values[i];
    }
#pragma GCC unroll 4
    for (int i = 0; i < kOut; ++i) {
      Floats values[kOut];
      output_values(columns[i], values);
#pragma GCC unroll 4
      for (int j = 0; j < kOut; ++j) put(i, j, values[j]);
    }
  };
  for (int64_t tile = 0; tile < shape.tiles_across; ++tile) {
    const Within within(shape, row, tile);
    T* to = y + (row.image * shape.height + row.top) * length + tile * kOut * channels;
    for (int64_t c = 0; c < channels; c += kLanes) {
      if (within.whole())
        one(tile, c, [&](int i, int j, Floats value) { store(to + i * length + j * channels + c, value); });
      else
        one(tile, c, [&](int i, int j, Floats value) {
          if (i < within.down && j < within.across) store(to + i * length + j * channels + c, value);
        });
    }
  }
}

// ---- Transforms of weights -----------------------------------------------------------------------------------------

// How wide the panels are in which a product reads its second matrix: as many columns as it keeps in registers.
inline int vectors_of(int64_t channels) {
  for (int vectors = kMostVectors; vectors > 1; vectors /= 2)
    if (channels % (vectors * kLanes) == 0) return vectors;
  return 1;
}

// U as (points, panels, rows, panel's width): for one vector of columns, `value_at(tap down, tap across)`.
template <typename Value>
inline void put_weights(float* u, int64_t rows, int64_t columns, int64_t row, int64_t column, Value value_at) {
  Floats half[kIn][kTaps];
  for (int j = 0; j < kTaps; ++j) {
    Floats taps[kTaps], points[kIn];
    for (int i = 0; i < kTaps; ++i) taps[i] = value_at(i, j);
    weight_points(taps, points);
    for (int i = 0; i < kIn; ++i) half[i][j] = points[i];
  }
  const int64_t width = vectors_of(columns) * kLanes;
  float* at = u + (column / width * rows + row) * width + column % width;
  for (int i = 0; i < kIn; ++i) {
    Floats points[kIn];
    weight_points(half[i], points);
    for (int j = 0; j < kIn; ++j) store(at + (i * kIn + j) * rows * columns, points[j]);
  }
}

// For outputs: rows are channels in, columns channels out. `range` is of the vectors of columns.
void transform_weights(const float* w, int64_t in, int64_t out, float* u, Range range) {
  for (int64_t k = range.begin * kLanes; k < range.end * kLanes; k += kLanes)
    for (int64_t c = 0; c < in; ++c)
      put_weights(u, in, out, c, k, [=](int i, int j) {
        const float* from = w + k * kTaps * kTaps * in + (i * kTaps + j) * in + c;
        Floats values;
        for (int64_t lane = 0; lane < kLanes; ++lane) values[lane] = from[lane * kTaps * kTaps * in];
        return values;
      });
}

// For gradients by the input: rows are channels out, columns channels in, and filters are turned round.
void transform_turned_weights(const float* w, int64_t in, int64_t out, float* u, Range range) {
  for (int64_t c = range.begin * kLanes; c < range.end * kLanes; c += kLanes)
    for (int64_t k = 0; k < out; ++k)
      put_weights(u, out, in, k, c, [=](int i, int j) {
        return load(w + (k * kTaps * kTaps + (kTaps - 1 - i) * kTaps + kTaps - 1 - j) * in + c);
      });
}

// ---- Products ------------------------------------------------------------------------------------------------------

// (kTiles, depth) x (depth, a panel): `to` has rows of `columns`.
template <int kTiles, int kVectors>
inline void multiply(const float* v, int64_t depth, const float* panel, float* to, int64_t columns) {
  Floats sums[kTiles][kVectors]{};
#pragma GCC unroll 4
  for (int64_t c = 0; c < depth; ++c) {
    Floats weights[kVectors];
#pragma GCC unroll 4
    for (int k = 0; k < kVectors; ++k) weights[k] = load(panel + (c * kVectors + k) * kLanes);
#pragma GCC unroll 16
    for (int t = 0; t < kTiles; ++t)
#pragma GCC unroll 4
      for (int k = 0; k < kVectors; ++k) sums[t][k] += v[t * depth + c] * weights[k];
  }
#pragma GCC unroll 16
  for (int t = 0; t < kTiles; ++t)
#pragma GCC unroll 4
    for (int k = 0; k < kVectors; ++k) store(to + t * columns + k * kLanes, sums[t][k]);
}

template <int kVectors>
constexpr int kTilesAtOnce = kMostVectors == 2 ? 4 : 16 / kVectors;

// At all points: `to` may begin one plane before `v`.
template <int kVectors>
void multiply_planes(Planes v, int64_t tiles, const float* u, Planes to) {
  constexpr int kTiles = kTilesAtOnce<kVectors>;
  constexpr int64_t kWidth = kVectors * kLanes;
  const int64_t depth = v.channels, columns = to.channels;
  for (int point = 0; point < kPoints; ++point)
    for (int64_t k = 0; k < columns; k += kWidth) {
      const float* panel = u + point * depth * columns + k * depth;
      int64_t t = 0;
      const auto in_blocks = [&]<int kBlock>() {
        for (; t + kBlock <= tiles; t += kBlock)
          multiply<kBlock, kVectors>(v.at(point, t), depth, panel, to.at(point, t) + k, columns);
      };
      in_blocks.template operator()<kTiles>();
      in_blocks.template operator()<(kTiles + 1) / 2>();
      in_blocks.template operator()<1>();
    }
}

void multiply_planes(Planes v, int64_t tiles, const float* u, Planes to) {
  switch (vectors_of(to.channels)) {
    case 1:
      return multiply_planes<1>(v, tiles, u, to);
    case 2:
      return multiply_planes<2>(v, tiles, u, to);
    default:
      return multiply_planes<kMostVectors>(v, tiles, u, to);
  }
}

// Adds (kRows, tiles) x (tiles, kVectors) to the sums: g and v have rows of `rows` and of `columns`.
template <int kRows, int kVectors>
inline void add_product(const float* g, int64_t rows, const float* v, int64_t columns, int64_t tiles, float* sums) {
  Floats values[kRows][kVectors];
#pragma GCC unroll 16
  for (int r = 0; r < kRows; ++r)
#pragma GCC unroll 4
    for (int k = 0; k < kVectors; ++k) values[r][k] = load(sums + r * columns + k * kLanes);
#pragma GCC unroll 4
  for (int64_t t = 0; t < tiles; ++t) {
    Floats inputs[kVectors];
#pragma GCC unroll 4
    for (int k = 0; k < kVectors; ++k) inputs[k] = load(v + t * columns + k * kLanes);
#pragma GCC unroll 16
    for (int r = 0; r < kRows; ++r)
#pragma GCC unroll 4
      for (int k = 0; k < kVectors; ++k) values[r][k] += g[t * rows + r] * inputs[k];
  }
#pragma GCC unroll 16
  for (int r = 0; r < kRows; ++r)
#pragma GCC unroll 4
    for (int k = 0; k < kVectors; ++k) store(sums + r * columns + k * kLanes, values[r][k]);
}

template <int kVectors>
void add_products(Planes g, Planes v, int64_t tiles, float* sums) {
  constexpr int kRows = kTilesAtOnce<kVectors>;
  const int64_t rows = g.channels, columns = v.channels;
  for (int point = 0; point < kPoints; ++point)
    for (int64_t c = 0; c < columns; c += kVectors * kLanes)
      for (int64_t r = 0; r < rows; r += kRows)
        add_product<kRows, kVectors>(g.at(point, 0) + r, rows, v.at(point, 0) + c, columns, tiles,
                                     sums + (point * rows + r) * columns + c);
}

void add_products(Planes g, Planes v, int64_t tiles, float* sums) {
  switch (vectors_of(v.channels)) {
    case 1:
      return add_products<1>(g, v, tiles, sums);
    case 2:
      return add_products<2>(g, v, tiles, sums);
    default:
      return add_products<kMostVectors>(g, v, tiles, sums);
  }
}

// ---- Convolutions --------------------------------------------------------------------------------------------------

#ifndef RESLAB_NUMBERS
#define RESLAB_NUMBERS 8192
#endif
#ifndef RESLAB_NUMBERS_W
#define RESLAB_NUMBERS_W 16384
#endif
// Rows of tiles that go through the transforms and products together.
inline int64_t rows_together(const Shape& shape, int64_t channels, int64_t numbers) {
  const int64_t tiles = std::max<int64_t>(8, numbers / (kPoints * channels));
  return std::clamp<int64_t>(tiles / shape.tiles_across, 1, shape.rows());
}

struct Sizes {  // of one part's scratch, in numbers
  int64_t tiles, strip, planes;

  Sizes(const Shape& shape, int64_t widest, int64_t rows)
      : tiles(rows * shape.tiles_across),
        strip(in_lines(kIn * (shape.tiles_across * kOut + 2) * widest)),
        planes(in_lines((kPoints + 1) * Planes::size_of_one(tiles, widest))) {}
};

// One part of y = x * u, channels from `in` to `out`.
template <typename T>
void convolve_part(const T* x, const float* u, T* y, const Shape& shape, int64_t in, int64_t out, Range range,
                   float* scratch) {
  const int64_t widest = std::max(in, out), together = rows_together(shape, widest, RESLAB_NUMBERS);
  const Sizes sizes(shape, widest, together);
  float *strip = scratch, *planes = scratch + sizes.strip;
  const Planes products(planes, sizes.tiles, out, widest), inputs(planes + products.stride, sizes.tiles, in, widest);
  clear_sides(shape, in, strip);
  for (int64_t first = range.begin; first < range.end; first += together) {
    const int64_t rows = std::min(together, range.end - first);
    for (int64_t r = 0; r < rows; ++r)
      transform_input(x, shape, Row(shape, first + r), in, strip, inputs, r * shape.tiles_across);
    multiply_planes(inputs, rows * shape.tiles_across, u, products);
    for (int64_t r = 0; r < rows; ++r)
      transform_output(products, r * shape.tiles_across, shape, Row(shape, first + r), out, y);
  }
}

// One part of the sums that gradients by weights come from: (points, out, in).
template <typename T>
void add_up_part(const T* x, const T* g, float* sums, const Shape& shape, int64_t in, int64_t out, Range range,
                 float* scratch) {
  const int64_t widest = std::max(in, out), together = rows_together(shape, widest, RESLAB_NUMBERS_W);
  const Sizes sizes(shape, widest, together);
  float* strip = scratch;
  const Planes inputs(scratch + sizes.strip, sizes.tiles, in, widest);
  const Planes gradients(scratch + sizes.strip + sizes.planes, sizes.tiles, out, widest);
  std::memset(sums, 0, kPoints * in * out * sizeof(float));
  clear_sides(shape, in, strip);
  for (int64_t first = range.begin; first < range.end; first += together) {
    const int64_t rows = std::min(together, range.end - first);
    for (int64_t r = 0; r < rows; ++r) {
      const Row row(shape, first + r);
      transform_input(x, shape, row, in, strip, inputs, r * shape.tiles_across);
      transform_gradient(g, shape, row, out, gradients, r * shape.tiles_across);
    }
    add_products(gradients, inputs, rows * shape.tiles_across, sums);
  }
}

// Filters `range` of dw, from the parts' sums.
void finish_weights(const float* sums, int parts, int64_t in, int64_t out, Range range, float* dw) {
  const int64_t size = kPoints * in * out;
  for (int64_t k = range.begin; k < range.end; ++k)
    for (int64_t c = 0; c < in; c += kLanes) {
      Floats half[kTaps][kIn];
      for (int j = 0; j < kIn; ++j) {
        Floats points[kIn], taps[kTaps];
        for (int i = 0; i < kIn; ++i) {
          const float* at = sums + ((i * kIn + j) * out + k) * in + c;
          points[i] = load(at);
          for (int part = 1; part < parts; ++part) points[i] += load(at + part * size);
        }
        weight_values(points, taps);
        for (int i = 0; i < kTaps; ++i) half[i][j] = taps[i];
      }
      for (int i = 0; i < kTaps; ++i) {
        Floats taps[kTaps];
        weight_values(half[i], taps);
        for (int j = 0; j < kTaps; ++j) store(dw + ((k * kTaps + i) * kTaps + j) * in + c, taps[j]);
      }
    }
}

template <typename T>
void forward(const T* x, const float* w, T* y, const Shape& shape, int64_t in, int64_t out, int parts,
             float* scratch) {
  float* u = scratch;
  scratch += kPoints * in * out;
  const int64_t widest = std::max(in, out);
  const Sizes sizes(shape, widest, rows_together(shape, widest, RESLAB_NUMBERS));
#pragma omp parallel num_threads(parts)
  {
    const int first = omp_get_thread_num(), step = omp_get_num_threads();
    for (int p = first; p < parts; p += step) transform_weights(w, in, out, u, part_of(out / kLanes, p, parts));
#pragma omp barrier
    for (int p = first; p < parts; p += step)
      convolve_part(x, u, y, shape, in, out, part_of(shape.rows(), p, parts), scratch + p * (sizes.strip + sizes.planes));
  }
}

template <typename T>
void backward(const T* x, const T* g, const float* w, T* dx, float* dw, const Shape& shape, int64_t in, int64_t out,
              int parts, float* scratch) {
  const int64_t widest = std::max(in, out), size = kPoints * in * out;
  float *u = scratch, *sums = scratch + size;
  scratch += (parts + 1) * size;
  const Sizes sizes(shape, widest, rows_together(shape, widest, RESLAB_NUMBERS_W));
  const int64_t own = sizes.strip + 2 * sizes.planes;
#pragma omp parallel num_threads(parts)
  {
    const int first = omp_get_thread_num(), step = omp_get_num_threads();
    if (dx != nullptr) {
      for (int p = first; p < parts; p += step)
        transform_turned_weights(w, in, out, u, part_of(in / kLanes, p, parts));
#pragma omp barrier
    }
    for (int p = first; p < parts; p += step) {
      const Range range = part_of(shape.rows(), p, parts);
      if (dx != nullptr) convolve_part(g, u, dx, shape, out, in, range, scratch + p * own);
      add_up_part(x, g, sums + p * size, shape, in, out, range, scratch + p * own);
    }
#pragma omp barrier
    for (int p = first; p < parts; p += step) finish_weights(sums, parts, in, out, part_of(out, p, parts), dw);
  }
}

}  // namespace

extern "C" {

// Bytes that the two functions below need, the backward one if so said.
int64_t reslab_winograd_scratch(int64_t images, int64_t height, int64_t width, int64_t in, int64_t out, int parts,
                                int is_backward) {
  const Shape shape(images, height, width);
  const int64_t widest = std::max(in, out), size = kPoints * in * out;
  const Sizes sizes(shape, widest, rows_together(shape, widest, is_backward ? RESLAB_NUMBERS_W : RESLAB_NUMBERS));
  const int64_t own = sizes.strip + (is_backward ? 2 : 1) * sizes.planes;
  return ((is_backward ? parts + 1 : 1) * size + parts * own) * sizeof(float);
}

void reslab_winograd(int is_bf16, const void* x, const float* w, void* y, int64_t images, int64_t height,
                     int64_t width, int64_t in, int64_t out, int parts, float* scratch) {
  const Shape shape(images, height, width);
  if (is_bf16)
    forward(static_cast<const bf16*>(x), w, static_cast<bf16*>(y), shape, in, out, parts, scratch);
  else
    forward(static_cast<const float*>(x), w, static_cast<float*>(y), shape, in, out, parts, scratch);
}

// dx may be null, where nobody asks for it.
void reslab_winograd_backward(int is_bf16, const void* x, const void* g, const float* w, void* dx, float* dw,
                              int64_t images, int64_t height, int64_t width, int64_t in, int64_t out, int parts,
                              float* scratch) {
  const Shape shape(images, height, width);
  if (is_bf16)
    backward(static_cast<const bf16*>(x), static_cast<const bf16*>(g), w, static_cast<bf16*>(dx), dw, shape, in, out,
             parts, scratch);
  else
    backward(static_cast<const float*>(x), static_cast<const float*>(g), w, static_cast<float*>(dx), dw, shape, in,
             out, parts, scratch);
}
}
