// Batch norm with what follows it, in training and in channels-last layout: y = relu(scale * x + shift [+ residual]).
//
// torch reads and writes every activation five times for norm and ReLU and three more for an addition; here it is read
// twice and written once. Activations are float or bfloat16, everything else is float, and sums are taken relative to
// a channel's first value, so that a mean far from zero costs no digits. Channels are a multiple of 16.

#include "norms.h"

#include <omp.h>

namespace {

template <typename T, int K>
void forward(const T* x, const T* residual, T* y, int64_t rows, int64_t channels, const Norm& norm, int threads) {
  std::vector<double> sums(2 * channels * threads);
  std::vector<float> origin(channels), scale(channels), shift(channels);
  for (int64_t c = 0; c < channels; c += kLanes) store(&origin[c], load(x + c));
#pragma omp parallel num_threads(threads)
  {
    const int parts = omp_get_num_threads(), part = omp_get_thread_num();
    const Range range = part_of(rows, part, parts);
    add_up_values<K>(x, range, channels, origin.data(), sums.data() + 2 * channels * part);
#pragma omp barrier
#pragma omp single
    for (int64_t c = 0; c < channels; ++c) {
      const auto [first, second] = total(sums.data(), channels, parts, c);
      norm.set_from_sums(c, origin[c], first, second, rows, scale[c], shift[c]);
    }
    write_output<K>(x, residual, y, range, channels, scale.data(), shift.data());
  }
}

// Gradients by x, weight, bias, and the residual (where there is one: the gradient that passes the ReLU).
template <typename T, int K, typename Gradient>
void backward(Gradient gradient, const T* y, const T* x, int64_t rows, int64_t channels, const Norm& norm, T* by_x,
              T* by_residual, int threads) {
  std::vector<double> sums(2 * channels * threads);
  std::vector<float> of_gradient(channels), of_x(channels), constant(channels);
#pragma omp parallel num_threads(threads)
  {
    const int parts = omp_get_num_threads(), part = omp_get_thread_num();
    const Range range = part_of(rows, part, parts);
    add_up_gradients<K>(gradient, y, x, by_residual, range, channels, norm.mean, sums.data() + 2 * channels * part);
#pragma omp barrier
#pragma omp single
    for (int64_t c = 0; c < channels; ++c) {
      const auto [first, second] = total(sums.data(), channels, parts, c);
      norm.set_gradients(c, first, second, rows, of_gradient[c], of_x[c], constant[c]);
    }
    const float* a = of_gradient.data();
    const float* b = of_x.data();
    const float* c = constant.data();
    if (by_residual == nullptr)
      for_each<K>(range, channels, a, b, c, [=](int64_t at, Floats p, Floats q, Floats r) {
        store(by_x + at, where_positive(load(y + at), gradient(at)) * p + load(x + at) * q + r);
      });
    else
      for_each<K>(range, channels, a, b, c, [=](int64_t at, Floats p, Floats q, Floats r) {
        store(by_x + at, load(by_residual + at) * p + load(x + at) * q + r);
      });
  }
}

}  // namespace

extern "C" {

void reslab_norm_relu(int is_bf16, const void* x, const void* residual, void* y, int64_t rows, int64_t channels,
                      const Norm* norm, int threads) {
  with_type(is_bf16, [=]<typename T>() {
    with_columns(channels, [=]<int K>() {
      forward<T, K>(static_cast<const T*>(x), static_cast<const T*>(residual), static_cast<T*>(y), rows, channels,
                    *norm, threads);
    });
  });
}

// The gradient by y is the sum of two, of which the second may be null.
void reslab_norm_relu_backward(int is_bf16, const void* gradient, const void* second, const void* y, const void* x,
                               int64_t rows, int64_t channels, const Norm* norm, void* by_x, void* by_residual,
                               int threads) {
  with_type(is_bf16, [=]<typename T>() {
    const T *a = static_cast<const T*>(gradient), *b = static_cast<const T*>(second);
    with_columns(channels, [=]<int K>() {
      const auto run = [=](auto gradient) {
        backward<T, K>(gradient, static_cast<const T*>(y), static_cast<const T*>(x), rows, channels, *norm,
                       static_cast<T*>(by_x), static_cast<T*>(by_residual), threads);
      };
      if (b == nullptr)
        run([=](int64_t at) { return load(a + at); });
      else
        run([=](int64_t at) { return load(a + at) + load(b + at); });
    });
  });
}
}
