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

#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>

#include "vectors.h"

namespace {

constexpr int kOut = 4;              // the edge of a tile of outputs
constexpr int kIn = 6;               // of the inputs that they come from
constexpr int kPoints = kIn * kIn;   // where both are multiplied
constexpr int kTaps = 3;             // the edge of a filter
constexpr int64_t kSpread = 16;      // numbers between tiles, that they do not share a set of a cache
constexpr int64_t kLine = kLineBytes / sizeof(float);
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

// What some rows of tiles are of a tensor, with so many lines of pixels above and below them where there are any.
inline Range elements_of(const Shape& shape, Range rows, int64_t channels, int64_t around = 0) {
  if (rows.begin >= rows.end) return {0, 0};
  const Row first(shape, rows.begin), last(shape, rows.end - 1);
  const int64_t begin = first.image * shape.height + first.top - around, line = shape.width * channels;
  const int64_t end = last.image * shape.height + std::min(last.top + kOut, shape.height) + around;
  return {std::max<int64_t>(begin, 0) * line, std::min(end, shape.images * shape.height) * line};
}

// The points of some tiles, (tiles, points, channels). A product may write point p where point p - 1 of its input was.
struct Points {
  float* data;
  int64_t channels, apart, stride;  // from one point to the next, and from one tile to the next

  static int64_t stride_of(int64_t widest) { return (kPoints + 1) * widest + kSpread; }
  Points(float* data, int64_t channels, int64_t widest)
      : data(data), channels(channels), apart(widest), stride(stride_of(widest)) {}
  float* at(int64_t tile, int64_t point) const { return data + tile * stride + point * apart; }
};

// How many channels a loop has, where it is compiled for a number of its own, and elsewhere.
template <int64_t kChannels>
inline int64_t exactly(int64_t channels) {
  return kChannels == 0 ? channels : kChannels;
}

// Calls `work` with the number of channels where loops are compiled for it, and with 0 elsewhere.
template <typename Work>
inline void with_channels(int64_t in, int64_t out, Work work) {
  if (in == 16 && out == 16)
    work.template operator()<16>();
  else if (in == 32 && out == 32)
    work.template operator()<32>();
  else if (in == 64 && out == 64)
    work.template operator()<64>();
  else
    work.template operator()<0>();
}

inline int64_t in_lines(int64_t numbers) { return (numbers + kLine - 1) / kLine * kLine; }

// ---- Transforms of activations -------------------------------------------------------------------------------------

// A source gives values that a transform begins with, for the element `at` of a tensor and its channel c; a sink takes
// those that one ends with, tile by tile: open(c) gives what has put(at, values) and close(). Both are told by fetch()
// which elements come next, before the products, in which memory is idle.

template <typename T>
struct Plain {
  const T* x;
  Floats operator()(int64_t at, int64_t) const { return load(x + at); }
  void fetch(Range elements) const { fetch_to_read(x, elements); }
};

template <typename T>
struct Store {
  T* y;
  struct Tile {
    T* y;
    void put(int64_t at, Floats values) { store(y + at, values); }
    void close() {}
  };
  Tile open(int64_t) const { return {y}; }
  void fetch(Range elements) const { fetch_to_write(y, elements); }
};

// The second half of the transform of a row of tiles, from six rows of (4 * tiles_across + 2, channels).
template <int64_t kChannels>
void transform_across(const float* strip, int64_t tiles_across, Points to, int64_t first_tile) {
  const int64_t channels = exactly<kChannels>(to.channels), apart = exactly<kChannels>(to.apart);
  const int64_t length = (tiles_across * kOut + 2) * channels;
  for (int64_t tile = 0; tile < tiles_across; ++tile)
    for (int i = 0; i < kIn; ++i)
      for (int64_t c = 0; c < channels; c += kLanes) {
        Floats values[kIn], points[kIn];
        const float* from = strip + i * length + tile * kOut * channels + c;
#pragma GCC unroll 6
        for (int j = 0; j < kIn; ++j) values[j] = load(from + j * channels);
        input_points(values, points);
        float* at = to.at(first_tile + tile, i * kIn) + c;
#pragma GCC unroll 6
        for (int j = 0; j < kIn; ++j) store(at + j * apart, points[j]);
      }
}

// One row of tiles. `strip` is for six rows of (4 * tiles_across + 2, channels), zero beyond the image's sides.
template <typename Source>
inline void transform_input(Source source, const Shape& shape, Row row, int64_t channels, float* strip, Points to,
                            int64_t first_tile) {
  const int64_t length = shape.width * channels, strip_stride = (shape.tiles_across * kOut + 2) * channels;
  int64_t rows[kIn];
  Bits inside[kIn];
  for (int i = 0; i < kIn; ++i) {
    const int64_t y = row.top - 1 + i;
    inside[i] = Bits{} - (y >= 0 && y < shape.height ? 1u : 0u);
    rows[i] = (row.image * shape.height + std::clamp<int64_t>(y, 0, shape.height - 1)) * length;
  }
  for (int64_t c = 0; c < channels; c += kLanes)
    for (int64_t column = 0; column < length; column += channels) {
      Floats values[kIn], points[kIn];
#pragma GCC unroll 6
      for (int i = 0; i < kIn; ++i)
        values[i] = reinterpret_cast<Floats>(reinterpret_cast<Bits>(source(rows[i] + column + c, c)) & inside[i]);
      input_points(values, points);
#pragma GCC unroll 6
      for (int i = 0; i < kIn; ++i) store(strip + i * strip_stride + channels + column + c, points[i]);
    }
  with_channels(channels, to.apart, [&]<int64_t kChannels>() {
    transform_across<kChannels>(strip, shape.tiles_across, to, first_tile);
  });
}

inline void clear_sides(const Shape& shape, int64_t channels, float* strip) {
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

template <typename Source>
inline void transform_gradient(Source source, const Shape& shape, Row row, int64_t channels, Points to,
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
    float* at = to.at(first_tile + tile, 0) + c;
#pragma GCC unroll 6
    for (int i = 0; i < kIn; ++i) {
      Floats points[kIn];
      gradient_points(columns[i], points);
#pragma GCC unroll 6
      for (int j = 0; j < kIn; ++j) store(at + (i * kIn + j) * to.apart, points[j]);
    }
  };
  for (int64_t tile = 0; tile < shape.tiles_across; ++tile) {
    const Within within(shape, row, tile);
    const int64_t from = (row.image * shape.height + row.top) * length + tile * kOut * channels;
    for (int64_t c = 0; c < channels; c += kLanes) {
      if (within.whole())
        one(tile, c, [&](int i, int j) { return source(from + i * length + j * channels + c, c); });
      else
        one(tile, c, [&](int i, int j) {
          return i < within.down && j < within.across ? source(from + i * length + j * channels + c, c) : Floats{};
        });
    }
  }
}

template <typename Sink>
inline void transform_output(Points from, int64_t first_tile, const Shape& shape, Row row, int64_t channels,
                             Sink sink) {
  const int64_t length = shape.width * channels;
  const auto one = [&](int64_t tile, int64_t c, auto put) {
    Floats columns[kOut][kIn];
    const float* at = from.at(first_tile + tile, 0) + c;
#pragma GCC unroll 6
    for (int j = 0; j < kIn; ++j) {
      Floats points[kIn], values[kOut];
#pragma GCC unroll 6
      for (int i = 0; i < kIn; ++i) points[i] = load(at + (i * kIn + j) * from.apart);
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
    const int64_t to = (row.image * shape.height + row.top) * length + tile * kOut * channels;
    for (int64_t c = 0; c < channels; c += kLanes) {
      auto values = sink.open(c);
      if (within.whole())
        one(tile, c, [&](int i, int j, Floats value) { values.put(to + i * length + j * channels + c, value); });
      else
        one(tile, c, [&](int i, int j, Floats value) {
          if (i < within.down && j < within.across) values.put(to + i * length + j * channels + c, value);
        });
      values.close();
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
inline void transform_weights(const float* w, int64_t in, int64_t out, float* u, Range range) {
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
inline void transform_turned_weights(const float* w, int64_t in, int64_t out, float* u, Range range) {
  for (int64_t c = range.begin * kLanes; c < range.end * kLanes; c += kLanes)
    for (int64_t k = 0; k < out; ++k)
      put_weights(u, out, in, k, c, [=](int i, int j) {
        return load(w + (k * kTaps * kTaps + (kTaps - 1 - i) * kTaps + kTaps - 1 - j) * in + c);
      });
}

// ---- Products ------------------------------------------------------------------------------------------------------

template <int kVectors>
constexpr int kAtOnce = kMostVectors == 2 ? 4 : 16 / kVectors;  // tiles, or channels, beside so many vectors

// (kTiles, depth) x (depth, a panel).
template <int kTiles, int kVectors>
inline void multiply(const float* v, int64_t stride, int64_t depth, const float* panel, float* to) {
  Floats sums[kTiles][kVectors]{};
#pragma GCC unroll 4
  for (int64_t c = 0; c < depth; ++c) {
    Floats weights[kVectors];
#pragma GCC unroll 4
    for (int k = 0; k < kVectors; ++k) weights[k] = load(panel + (c * kVectors + k) * kLanes);
#pragma GCC unroll 16
    for (int t = 0; t < kTiles; ++t)
#pragma GCC unroll 4
      for (int k = 0; k < kVectors; ++k) sums[t][k] += v[t * stride + c] * weights[k];
  }
#pragma GCC unroll 16
  for (int t = 0; t < kTiles; ++t)
#pragma GCC unroll 4
    for (int k = 0; k < kVectors; ++k) store(to + t * stride + k * kLanes, sums[t][k]);
}

// At all points: `to` may begin one point before `v`.
template <int64_t kChannels, int kVectors>
void multiply_points(Points v, int64_t tiles, const float* u, Points to) {
  constexpr int kTiles = kAtOnce<kVectors>;
  const int64_t depth = exactly<kChannels>(v.channels), columns = exactly<kChannels>(to.channels);
  const int64_t stride = kChannels == 0 ? v.stride : Points::stride_of(kChannels);
  for (int point = 0; point < kPoints; ++point)
    for (int64_t k = 0; k < columns; k += kVectors * kLanes) {
      const float* panel = u + point * depth * columns + k * depth;
      int64_t t = 0;
      const auto in_blocks = [&]<int kBlock>() {
        for (; t + kBlock <= tiles; t += kBlock)
          multiply<kBlock, kVectors>(v.at(t, point), stride, depth, panel, to.at(t, point) + k);
      };
      in_blocks.template operator()<kTiles>();
      in_blocks.template operator()<(kTiles + 1) / 2>();
      in_blocks.template operator()<1>();
    }
}

// Adds (kRows, tiles) x (tiles, kVectors) to the sums, which have rows of `columns`. The tiles' products are added up
// by themselves before, which is more exact than one long sum.
template <int kRows, int kVectors>
inline void add_product(const float* g, const float* v, int64_t stride, int64_t tiles, float* sums, int64_t columns) {
  Floats values[kRows][kVectors]{};
#pragma GCC unroll 4
  for (int64_t t = 0; t < tiles; ++t) {
    Floats inputs[kVectors];
#pragma GCC unroll 4
    for (int k = 0; k < kVectors; ++k) inputs[k] = load(v + t * stride + k * kLanes);
#pragma GCC unroll 16
    for (int r = 0; r < kRows; ++r)
#pragma GCC unroll 4
      for (int k = 0; k < kVectors; ++k) values[r][k] += g[t * stride + r] * inputs[k];
  }
#pragma GCC unroll 16
  for (int r = 0; r < kRows; ++r)
#pragma GCC unroll 4
    for (int k = 0; k < kVectors; ++k) {
      float* to = sums + r * columns + k * kLanes;
      store(to, load(to) + values[r][k]);
    }
}

template <int64_t kChannels, int kVectors>
void add_products(Points g, Points v, int64_t tiles, float* sums) {
  constexpr int kRows = kAtOnce<kVectors>;
  const int64_t rows = exactly<kChannels>(g.channels), columns = exactly<kChannels>(v.channels);
  const int64_t stride = kChannels == 0 ? v.stride : Points::stride_of(kChannels);
  for (int point = 0; point < kPoints; ++point)
    for (int64_t c = 0; c < columns; c += kVectors * kLanes)
      for (int64_t r = 0; r < rows; r += kRows)
        add_product<kRows, kVectors>(g.at(0, point) + r, v.at(0, point) + c, stride, tiles,
                                     sums + (point * rows + r) * columns + c, columns);
}

// Calls `work` with the numbers that products are compiled for.
template <typename Work>
inline void with_sizes(int64_t in, int64_t out, int64_t columns, Work work) {
  with_channels(in, out, [&]<int64_t kChannels>() {
    switch (vectors_of(exactly<kChannels>(columns))) {
      case 1:
        return work.template operator()<kChannels, 1>();
      case 2:
        return work.template operator()<kChannels, 2>();
      default:
        return work.template operator()<kChannels, kMostVectors>();
    }
  });
}

inline void multiply_points(Points v, int64_t tiles, const float* u, Points to) {
  with_sizes(v.channels, to.channels, to.channels, [&]<int64_t kChannels, int kVectors>() {
    multiply_points<kChannels, kVectors>(v, tiles, u, to);
  });
}

inline void add_products(Points g, Points v, int64_t tiles, float* sums) {
  with_sizes(g.channels, v.channels, v.channels, [&]<int64_t kChannels, int kVectors>() {
    add_products<kChannels, kVectors>(g, v, tiles, sums);
  });
}

// ---- Convolutions --------------------------------------------------------------------------------------------------

// What a part needs to itself: memory for the points of some rows of tiles, which go through transforms and products
// together. Few tiles stay in a cache, and many make more of weights that do not, from 128 channels on.
struct Workspace {
  int64_t together, widest, strip_size, points_size;
  float* scratch;

  Workspace(const Shape& shape, int64_t in, int64_t out, float* scratch)
      : together(std::clamp<int64_t>(tiles_together(std::max(in, out)) / shape.tiles_across, 1, shape.rows())),
        widest(std::max(in, out)),
        strip_size(in_lines(kIn * (shape.tiles_across * kOut + 2) * widest)),
        points_size(together * shape.tiles_across * Points::stride_of(widest)),
        scratch(scratch) {}

  static int64_t tiles_together(int64_t channels) { return channels < 128 ? 1024 / channels : 64; }
  int64_t size() const { return 2 * strip_size + 2 * points_size; }
  Workspace of_part(int part) const {
    Workspace own = *this;
    own.scratch += part * size();
    return own;
  }
  Range rows_after(const Shape& shape, Range rows) const {
    return {rows.end, std::min(rows.end + together, shape.rows())};
  }
  float* strip(int which) const { return scratch + which * strip_size; }
  // Where products lie, and one point later what they are made from.
  Points products(int64_t channels) const { return {scratch + 2 * strip_size, channels, widest}; }
  Points inputs(int64_t channels) const { return {scratch + 2 * strip_size + widest, channels, widest}; }
  Points others(int64_t channels) const { return {scratch + 2 * strip_size + points_size, channels, widest}; }
};

// Some rows of tiles of a convolution by u, from `in` channels to `out`.
template <typename Source, typename Sink>
inline void convolve_rows(Source source, const float* u, Sink sink, const Shape& shape, int64_t in, int64_t out,
                          Range rows, const Workspace& workspace) {
  const Points inputs = workspace.inputs(in), products = workspace.products(out);
  for (int64_t r = rows.begin; r < rows.end; ++r)
    transform_input(source, shape, Row(shape, r), in, workspace.strip(0), inputs,
                    (r - rows.begin) * shape.tiles_across);
  source.fetch(elements_of(shape, workspace.rows_after(shape, rows), in));
  sink.fetch(elements_of(shape, rows, out));
  multiply_points(inputs, (rows.end - rows.begin) * shape.tiles_across, u, products);
  for (int64_t r = rows.begin; r < rows.end; ++r)
    transform_output(products, (r - rows.begin) * shape.tiles_across, shape, Row(shape, r), out, sink);
}

// Adds some rows of tiles to the sums that gradients by weights come from: (points, out, in).
template <typename Source, typename Gradient>
inline void add_up_rows(Source source, Gradient gradient, float* sums, const Shape& shape, int64_t in, int64_t out,
                        Range rows, const Workspace& workspace) {
  const Points inputs = workspace.inputs(in), gradients = workspace.others(out);
  for (int64_t r = rows.begin; r < rows.end; ++r) {
    const int64_t tile = (r - rows.begin) * shape.tiles_across;
    transform_input(source, shape, Row(shape, r), in, workspace.strip(1), inputs, tile);
    transform_gradient(gradient, shape, Row(shape, r), out, gradients, tile);
  }
  source.fetch(elements_of(shape, workspace.rows_after(shape, rows), in));
  add_products(gradients, inputs, (rows.end - rows.begin) * shape.tiles_across, sums);
}

// Calls `work` with one range after the other of rows that go together.
template <typename Work>
inline void for_rows(Range range, int64_t together, Work work) {
  for (int64_t first = range.begin; first < range.end; first += together)
    work(Range{first, std::min(first + together, range.end)});
}

// Filters `range` of dw, from the parts' sums.
inline void finish_weights(const float* sums, int parts, int64_t in, int64_t out, Range range, float* dw) {
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

}  // namespace
