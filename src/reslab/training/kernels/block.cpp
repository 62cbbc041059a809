// The branch of a basic block and what joins it, in training: y = relu(norm2(conv2(relu(norm1(conv1(x))))) [+ shortcut]).
//
// One call computes all of it by Winograd's convolutions (winograd.h), and one call its gradients. Norms cost hardly a
// pass of their own: sums are taken of what a convolution writes, and the next one normalises what it reads. Neither
// the activation in the middle nor the gradients by what the convolutions wrote are ever in memory.

#include <omp.h>

#include "norms.h"
#include "winograd.h"

namespace {

// relu(norm(z)).
template <typename T>
struct Activated {
  const T* z;
  const float *scale, *shift;
  Floats operator()(int64_t at, int64_t c) const { return relu(load(z + at) * load(scale + c) + load(shift + c)); }
  void fetch(Range elements) const { fetch_to_read(z, elements); }
};

// A norm's gradient by its input z, from the gradient that passed the ReLU after it.
template <typename T>
struct NormGradient {
  const T *passed, *z;
  const float *of_gradient, *of_z, *constant;
  Floats operator()(int64_t at, int64_t c) const {
    return load(passed + at) * load(of_gradient + c) + load(z + at) * load(of_z + c) + load(constant + c);
  }
  void fetch(Range elements) const {
    fetch_to_read(passed, elements);
    fetch_to_read(z, elements);
  }
};

// The same, from the gradient by the ReLU's output y.
template <typename T>
struct MaskedNormGradient {
  const T *gradient, *y, *z;
  const float *of_gradient, *of_z, *constant;
  Floats operator()(int64_t at, int64_t c) const {
    return where_positive(load(y + at), load(gradient + at)) * load(of_gradient + c) + load(z + at) * load(of_z + c) +
           load(constant + c);
  }
  void fetch(Range elements) const {
    fetch_to_read(gradient, elements);
    fetch_to_read(y, elements);
    fetch_to_read(z, elements);
  }
};

// Values of another source that were computed before, from the element `begin` on.
struct Ready {
  const float* values;
  int64_t begin;
  Floats operator()(int64_t at, int64_t) const { return load(values + at - begin); }
  void fetch(Range) const {}
};

inline void add(float* to, Floats values) { store(to, load(to) + values); }

// Keeps a channel's first value.
template <typename T>
struct First {
  float* values;
  int64_t at;
  struct Tile {
    float* values;
    int64_t at;
    void put(int64_t here, Floats value) {
      if (here == at) store(values, value);
    }
    void close() {}
  };
  Tile open(int64_t c) const { return {values + c, at + c}; }
  void fetch(Range) const {}
};

// Stores, and adds up values from an origin and their squares: sums are (2, channels).
template <typename T>
struct StoreAndSum {
  T* y;
  const float* origin;
  float* sums;
  int64_t channels;
  struct Tile {
    T* y;
    Floats origin;
    float *first, *second;
    Floats a{}, b{};
    void put(int64_t at, Floats values) {
      store(y + at, values);
      const Floats from = values - origin;
      a += from;
      b += from * from;
    }
    void close() {
      add(first, a);
      add(second, b);
    }
  };
  Tile open(int64_t c) const { return {y, load(origin + c), sums + c, sums + channels + c}; }
  void fetch(Range elements) const { fetch_to_write(y, elements); }
};

// Stores what of a gradient passes relu(norm(z)), and adds up that and its products with z - mean.
template <typename T>
struct StorePassed {
  T* passed;
  const T* z;
  const float *scale, *shift, *mean;
  float* sums;
  int64_t channels;
  struct Tile {
    T* passed;
    const T* z;
    Floats scale, shift, mean;
    float *first, *second;
    Floats a{}, b{};
    void put(int64_t at, Floats values) {
      const Floats here = load(z + at), through = where_positive(here * scale + shift, values);
      store(passed + at, through);
      a += through;
      b += through * (here - mean);
    }
    void close() {
      add(first, a);
      add(second, b);
    }
  };
  Tile open(int64_t c) const {
    return {passed, z, load(scale + c), load(shift + c), load(mean + c), sums + c, sums + channels + c};
  }
  void fetch(Range elements) const { fetch_to_write(passed, elements); }
};

// Adds what came down the shortcut, which is what of the gradient passes the block's last ReLU.
template <typename T>
struct StoreJoined {
  T* to;
  const T *gradient, *y;
  struct Tile {
    T* to;
    const T *gradient, *y;
    void put(int64_t at, Floats values) {
      store(to + at, values + where_positive(load(y + at), load(gradient + at)));
    }
    void close() {}
  };
  Tile open(int64_t) const { return {to, gradient, y}; }
  void fetch(Range elements) const { fetch_to_write(to, elements); }
};

}  // namespace

// A block of the caller's.
struct Block {
  int64_t images, height, width, in, channels;
  const void *x, *residual;  // x is null where z1 is given; the residual is x, another tensor, or null in plain nets
  const float *w1, *w2;
  void *z1, *z2, *y;  // what the convolutions write, and the output
  Norm norm1, norm2;
  const void* gradient;  // by y; from here on for backward alone
  void *by_x, *by_residual, *by_z1;  // by_residual is null where it is part of by_x; by_z1 is scratch where x is given
  float *by_w1, *by_w2;
  float* scratch;
  int parts;
};

namespace {

// Numbers of a channel that threads share.
struct PerChannel {
  std::vector<float> a, b, c;
  explicit PerChannel(int64_t channels) : a(channels), b(channels), c(channels) {}
};

// The parts' sums of a norm's input.
struct Sums {
  int64_t channels;
  std::vector<double> sums;    // (parts, 2, channels)
  std::vector<float> recent;   // the same, of one group of rows
  std::vector<float> origins;  // (parts, channels)

  Sums(int64_t channels, int parts)
      : channels(channels), sums(2 * channels * parts), recent(2 * channels * parts), origins(channels * parts) {}
  double* of(int part) { return sums.data() + 2 * channels * part; }
  float* recent_of(int part) { return recent.data() + 2 * channels * part; }
  float* origin_of(int part) { return origins.data() + channels * part; }
  void settle(int part) {
    for (int64_t c = 0; c < 2 * channels; c += kLanes) {
      add(of(part) + c, load(recent_of(part) + c));
      store(recent_of(part) + c, Floats{});
    }
  }
};

struct Layout {
  Shape shape;
  Workspace workspace;
  int64_t size;     // of transformed weights, of the larger convolution
  float *u, *sums;  // of weights: one after the other
  int64_t gradients_size;
  float* gradients;  // by what a convolution writes, of the rows that go together

  explicit Layout(const Block& block)
      : shape(block.images, block.height, block.width),
        workspace(shape, block.in, block.channels, nullptr),
        size(kPoints * block.channels * std::max(block.in, block.channels)),
        u(block.scratch),
        sums(u + size) {
    workspace.scratch = sums + block.parts * size;
    gradients_size = in_lines((workspace.together * kOut + 2) * shape.width * block.channels);
    gradients = workspace.scratch + block.parts * workspace.size();
  }
  int64_t all(int parts) const { return size + parts * (size + workspace.size() + gradients_size); }
  int64_t positions(Range rows) const {
    int64_t height = 0;
    for (int64_t r = rows.begin; r < rows.end; ++r) height += std::min<int64_t>(kOut, shape.height - Row(shape, r).top);
    return height * shape.width;
  }
};

// Statistics over parts whose origins differ.
void set_statistics(const Norm& norm, const Layout& layout, Sums& sums, int parts, PerChannel& to) {
  const int64_t rows = layout.shape.images * layout.shape.height * layout.shape.width;
  for (int64_t c = 0; c < sums.channels; ++c) {
    double mean = 0, squares = 0;
    for (int p = 0; p < parts; ++p) {
      const int64_t count = layout.positions(part_of(layout.shape.rows(), p, parts));
      mean += sums.of(p)[c] + count * static_cast<double>(sums.origin_of(p)[c]);
    }
    mean /= rows;
    for (int p = 0; p < parts; ++p) {
      const int64_t count = layout.positions(part_of(layout.shape.rows(), p, parts));
      if (count == 0) continue;
      const double first = sums.of(p)[c], apart = first / count + sums.origin_of(p)[c] - mean;
      squares += sums.of(p)[sums.channels + c] - first * first / count + count * apart * apart;
    }
    norm.set(c, mean, std::max(squares / rows, 0.0), rows, to.a[c], to.b[c]);
  }
}

template <typename T, typename Source>
void convolve_and_sum(Source source, T* z, const Layout& layout, int64_t in, int64_t channels, int part, int parts,
                      Sums& sums) {
  const Range range = part_of(layout.shape.rows(), part, parts);
  if (range.begin == range.end) return;
  const Workspace own = layout.workspace.of_part(part);
  clear_sides(layout.shape, in, own.strip(0));
  const Row row(layout.shape, range.begin);
  const int64_t at = (row.image * layout.shape.height + row.top) * layout.shape.width * channels;
  float* origin = sums.origin_of(part);
  convolve_rows(source, layout.u, First<T>{origin, at}, layout.shape, in, channels, {range.begin, range.begin + 1}, own);
  for_rows(range, own.together, [&](Range rows) {
    convolve_rows(source, layout.u, StoreAndSum<T>{z, origin, sums.recent_of(part), channels}, layout.shape, in, channels,
                  rows, own);
    sums.settle(part);
  });
}

template <typename T>
void forward(const Block& block) {
  const Layout layout(block);
  const int64_t in = block.in, channels = block.channels;
  const int64_t rows = block.images * block.height * block.width;
  const int parts = block.parts;
  const T *x = static_cast<const T*>(block.x), *residual = static_cast<const T*>(block.residual);
  T *z1 = static_cast<T*>(block.z1), *z2 = static_cast<T*>(block.z2), *y = static_cast<T*>(block.y);
  Sums sums1(channels, parts), sums2(channels, parts);
  PerChannel to1(channels), to2(channels);
#pragma omp parallel num_threads(parts)
  {
    const int first = omp_get_thread_num(), step = omp_get_num_threads();
    const auto use_weights = [&](const float* w, int64_t in) {
      for (int p = first; p < parts; p += step)
        transform_weights(w, in, channels, layout.u, part_of(channels / kLanes, p, parts));
    };
    if (x != nullptr) use_weights(block.w1, in);
#pragma omp barrier
    for (int p = first; p < parts; p += step) {
      if (x != nullptr) {
        convolve_and_sum(Plain<T>{x}, z1, layout, in, channels, p, parts, sums1);
      } else {
        for (int64_t c = 0; c < channels; c += kLanes) store(sums1.origin_of(p) + c, load(z1 + c));
        with_columns(channels, [&]<int K>() {
          add_up_values<K>(z1, part_of(rows, p, parts), channels, sums1.origin_of(p), sums1.of(p));
        });
      }
    }
#pragma omp barrier
#pragma omp single
    if (x != nullptr)
      set_statistics(block.norm1, layout, sums1, parts, to1);
    else
      for (int64_t c = 0; c < channels; ++c) {
        const auto [sum, squares] = total(sums1.sums.data(), channels, parts, c);
        block.norm1.set_from_sums(c, sums1.origins[c], sum, squares, rows, to1.a[c], to1.b[c]);
      }
    use_weights(block.w2, channels);
#pragma omp barrier
    for (int p = first; p < parts; p += step)
      convolve_and_sum(Activated<T>{z1, to1.a.data(), to1.b.data()}, z2, layout, channels, channels, p, parts, sums2);
#pragma omp barrier
#pragma omp single
    set_statistics(block.norm2, layout, sums2, parts, to2);
    for (int p = first; p < parts; p += step)
      with_columns(channels, [&]<int K>() {
        write_output<K>(z2, residual, y, part_of(rows, p, parts), channels, to2.a.data(), to2.b.data());
      });
  }
}

// Gradients by a convolution's input, which go to the sink, and by its weights, which are added up. Both begin with the
// gradient by its output, which is computed once for the two.
template <typename Source, typename Gradient, typename Sink, typename After>
void both_gradients(Source source, Gradient gradient, Sink sink, const Layout& layout, int64_t in, int64_t out,
                    int part, int parts, After after) {
  const Range range = part_of(layout.shape.rows(), part, parts);
  const Workspace own = layout.workspace.of_part(part);
  float* sums = layout.sums + part * kPoints * in * out;
  std::memset(sums, 0, kPoints * in * out * sizeof(float));
  clear_sides(layout.shape, out, own.strip(0));
  clear_sides(layout.shape, in, own.strip(1));
  for_rows(range, own.together, [&](Range rows) {
    const Range elements = elements_of(layout.shape, rows, out, 1);
    float* values = layout.gradients + part * layout.gradients_size;
    for (int64_t at = elements.begin; at < elements.end; at += out)
      for (int64_t c = 0; c < out; c += kLanes) store(values + (at - elements.begin) + c, gradient(at + c, c));
    gradient.fetch(elements_of(layout.shape, own.rows_after(layout.shape, rows), out));
    const Ready ready{values, elements.begin};
    convolve_rows(ready, layout.u, sink, layout.shape, out, in, rows, own);
    add_up_rows(source, ready, sums, layout.shape, in, out, rows, own);
    after();
  });
}

template <typename T>
void backward(const Block& block) {
  const Layout layout(block);
  const int64_t in = block.in, channels = block.channels;
  const int64_t rows = block.images * block.height * block.width;
  const int parts = block.parts;
  const T *x = static_cast<const T*>(block.x), *z1 = static_cast<const T*>(block.z1);
  const T *z2 = static_cast<const T*>(block.z2), *y = static_cast<const T*>(block.y);
  const T* gradient = static_cast<const T*>(block.gradient);
  T *by_x = static_cast<T*>(block.by_x), *by_z1 = static_cast<T*>(block.by_z1);
  T* by_residual = static_cast<T*>(block.by_residual);
  const bool is_identity = block.residual != nullptr && by_residual == nullptr;
  Sums sums1(channels, parts), sums2(channels, parts);
  PerChannel middle(channels), of1(channels), of2(channels);
  for (int64_t c = 0; c < channels; ++c) block.norm1.scale_and_shift(c, middle.a[c], middle.b[c]);
#pragma omp parallel num_threads(parts)
  {
    const int first = omp_get_thread_num(), step = omp_get_num_threads();
    const auto use_weights = [&](const float* w, int64_t in) {
      for (int p = first; p < parts; p += step)
        transform_turned_weights(w, in, channels, layout.u, part_of(in / kLanes, p, parts));
    };
    use_weights(block.w2, channels);
    for (int p = first; p < parts; p += step)
      with_columns(channels, [&]<int K>() {
        add_up_gradients<K>([=](int64_t at) { return load(gradient + at); }, y, z2, by_residual, part_of(rows, p, parts), channels, block.norm2.mean,
                            sums2.of(p));
      });
#pragma omp barrier
#pragma omp single
    for (int64_t c = 0; c < channels; ++c) {
      const auto [sum, products] = total(sums2.sums.data(), channels, parts, c);
      block.norm2.set_gradients(c, sum, products, rows, of2.a[c], of2.b[c], of2.c[c]);
    }
    for (int p = first; p < parts; p += step)
      both_gradients(Activated<T>{z1, middle.a.data(), middle.b.data()},
                     MaskedNormGradient<T>{gradient, y, z2, of2.a.data(), of2.b.data(), of2.c.data()},
                     StorePassed<T>{by_z1, z1, middle.a.data(), middle.b.data(), block.norm1.mean, sums1.recent_of(p),
                                    channels},
                     layout, channels, channels, p, parts, [&] { sums1.settle(p); });
#pragma omp barrier
#pragma omp single
    for (int64_t c = 0; c < channels; ++c) {
      const auto [sum, products] = total(sums1.sums.data(), channels, parts, c);
      block.norm1.set_gradients(c, sum, products, rows, of1.a[c], of1.b[c], of1.c[c]);
    }
    for (int p = first; p < parts; p += step)
      finish_weights(layout.sums, parts, channels, channels, part_of(channels, p, parts), block.by_w2);
    if (x != nullptr) use_weights(block.w1, in);
#pragma omp barrier
    const NormGradient<T> by_middle{by_z1, z1, of1.a.data(), of1.b.data(), of1.c.data()};
    for (int p = first; p < parts; p += step) {
      if (x == nullptr) {
        with_columns(channels, [&]<int K>() {
          for_each<K>(part_of(rows, p, parts), channels, of1.a.data(), of1.b.data(), of1.c.data(),
                      [=](int64_t at, Floats a, Floats b, Floats c) {
                        store(by_z1 + at, load(by_z1 + at) * a + load(z1 + at) * b + c);
                      });
        });
        continue;
      }
      const auto run = [&](auto sink) {
        both_gradients(Plain<T>{x}, by_middle, sink, layout, in, channels, p, parts, [] {});
      };
      if (is_identity)
        run(StoreJoined<T>{by_x, gradient, y});
      else
        run(Store<T>{by_x});
    }
#pragma omp barrier
    if (x != nullptr)
      for (int p = first; p < parts; p += step)
        finish_weights(layout.sums, parts, in, channels, part_of(channels, p, parts), block.by_w1);
  }
}

}  // namespace

extern "C" {

// Bytes of scratch.
int64_t reslab_block_scratch(const Block* block) { return Layout(*block).all(block->parts) * sizeof(float); }

void reslab_block(int is_bf16, const Block* block) {
  with_type(is_bf16, [=]<typename T>() { forward<T>(*block); });
}

void reslab_block_backward(int is_bf16, const Block* block) {
  with_type(is_bf16, [=]<typename T>() { backward<T>(*block); });
}
}
