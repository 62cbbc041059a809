// What batch norm's kernels are made of: sums and passes over the rows of a matrix of (positions, channels).
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <utility>
#include <vector>

#include "vectors.h"

namespace {

constexpr int64_t kMostRows = 64;  // added up in float before they are added to the sums in double
constexpr int kColumns = 4;        // of lanes in registers at a time: of as many channels, or of so many rows
constexpr int kWide = 0;           // more channels than columns: their sums lie in memory

// Lanes of `values` where the other is above 0, and 0 elsewhere; NaN does not pass, as in torch.
inline Floats where_positive(Floats other, Floats values) { return other > 0.0f ? values : Floats{}; }

// Negative values become 0; NaN stays, as in torch.
inline Floats relu(Floats values) { return values <= 0.0f ? Floats{} : values; }

inline void add(double* to, Floats values) {
  Doubles sums;
  std::memcpy(&sums, to, sizeof sums);
  sums += __builtin_convertvector(values, Doubles);
  std::memcpy(to, &sums, sizeof sums);
}

// Adds up over rows, for each channel: what `term(index of the first lane, of, a, b)` adds to a and to b, where `of` are
// the channels' values, K columns of lanes. The sums are (2, channels).
template <int K, typename Term>
inline void add_up(Range range, int64_t channels, const float* values, double* sums, Term term) {
  if constexpr (K == kWide) {
    std::vector<float> of_rows(2 * channels);
    for (int64_t first = range.begin; first < range.end; first += kMostRows) {
      const int64_t last = std::min(first + kMostRows, range.end);
      std::fill(of_rows.begin(), of_rows.end(), 0.0f);
      for (int64_t row = first; row < last; row += kColumns) {
        const int64_t end = std::min(row + kColumns, last);
        for (int64_t c = 0; c < channels; c += kLanes) {
          const Floats of = load(values + c);
          float* at = of_rows.data() + c;
          Floats a = load(at), b = load(at + channels);
          for (int64_t i = row; i < end; ++i) term(i * channels + c, of, a, b);
          store(at, a);
          store(at + channels, b);
        }
      }
      for (int64_t c = 0; c < 2 * channels; c += kLanes) add(sums + c, load(of_rows.data() + c));
    }
  } else {
    constexpr int kRows = kColumns / K;
    Floats of[K];
    for (int k = 0; k < K; ++k) of[k] = load(values + k * kLanes);
    for (int64_t first = range.begin; first < range.end; first += kMostRows) {
      const int64_t last = std::min(first + kMostRows, range.end);
      Floats a[kColumns]{}, b[kColumns]{};
      int64_t row = first;
      for (; row + kRows <= last; row += kRows)
        for (int i = 0; i < kColumns; ++i) term((row + i / K) * channels + i % K * kLanes, of[i % K], a[i], b[i]);
      for (; row < last; ++row)
        for (int k = 0; k < K; ++k) term(row * channels + k * kLanes, of[k], a[k], b[k]);
      for (int i = 0; i < kColumns; ++i) {
        double* to = sums + i % K * kLanes;
        add(to, a[i]);
        add(to + channels, b[i]);
      }
    }
  }
}

// A channel's two sums, over all threads.
inline std::pair<double, double> total(const double* sums, int64_t channels, int parts, int64_t c) {
  double first = 0, second = 0;
  for (int p = 0; p < parts; ++p) {
    first += sums[2 * channels * p + c];
    second += sums[2 * channels * p + channels + c];
  }
  return {first, second};
}

// Calls `one(index of the first lane, p, q, r)` for all rows and channels, with three values of the channels.
template <int K, typename One>
inline void for_each(Range range, int64_t channels, const float* p, const float* q, const float* r, One one) {
  if constexpr (K == kWide) {
    for (int64_t row = range.begin; row < range.end; ++row)
      for (int64_t c = 0; c < channels; c += kLanes) one(row * channels + c, load(p + c), load(q + c), load(r + c));
  } else {
    Floats ps[K], qs[K], rs[K];
    for (int k = 0; k < K; ++k) {
      ps[k] = load(p + k * kLanes);
      qs[k] = load(q + k * kLanes);
      rs[k] = load(r + k * kLanes);
    }
    for (int64_t row = range.begin; row < range.end; ++row)
      for (int k = 0; k < K; ++k) one(row * channels + k * kLanes, ps[k], qs[k], rs[k]);
  }
}

// A batch norm, as the caller has it.
struct Norm {
  const float *weight, *bias;
  float *running_mean, *running_variance;
  float *mean, *inverse_std;  // of the batch; forward writes them, backward reads them
  float *by_weight, *by_bias;  // gradients, that backward writes
  float eps, momentum;

  // A channel's statistics, from the sums of x - origin and of its squares: y = scale * x + shift.
  void set_from_sums(int64_t c, double origin, double sum, double squares, int64_t rows, float& scale,
                     float& shift) const {
    const double from_origin = sum / rows;
    set(c, from_origin + origin, std::max(squares / rows - from_origin * from_origin, 0.0), rows, scale, shift);
  }
  void set(int64_t c, double of_mean, double variance, int64_t rows, float& scale, float& shift) const {
    mean[c] = static_cast<float>(of_mean);
    const double unbiased = variance * rows / (rows - 1);
    running_mean[c] += momentum * (mean[c] - running_mean[c]);
    running_variance[c] += momentum * (static_cast<float>(unbiased) - running_variance[c]);
    inverse_std[c] = static_cast<float>(1.0 / std::sqrt(variance + eps));
    scale_and_shift(c, scale, shift);
  }
  void scale_and_shift(int64_t c, float& scale, float& shift) const {
    scale = weight[c] * inverse_std[c];
    shift = bias[c] - mean[c] * scale;
  }
  // A channel's gradients, from the sum of y's gradient and that of its products with x - mean; the gradient by x is
  // of_gradient * (gradient by y) + of_x * x + constant
  // = weight / std * (gradient - mean(gradient) - normalised * mean(gradient * normalised)).
  void set_gradients(int64_t c, double sum, double products, int64_t rows, float& of_gradient, float& of_x,
                     float& constant) const {
    by_bias[c] = static_cast<float>(sum);
    by_weight[c] = static_cast<float>(products * inverse_std[c]);
    const double s = inverse_std[c];
    of_gradient = static_cast<float>(weight[c] * s);
    of_x = static_cast<float>(-weight[c] * s * s * s * products / rows);
    constant = static_cast<float>(-weight[c] * s * sum / rows - of_x * static_cast<double>(mean[c]));
  }
};

// The sums of a part's rows: of x - origin, and of its squares.
template <int K, typename T>
inline void add_up_values(const T* x, Range range, int64_t channels, const float* origin, double* sums) {
  add_up<K>(range, channels, origin, sums, [=](int64_t at, Floats from, Floats& a, Floats& b) {
    const Floats value = load(x + at) - from;
    a += value;
    b += value * value;
  });
}

// y = relu(scale * x + shift [+ residual]).
template <int K, typename T>
inline void write_output(const T* x, const T* residual, T* y, Range range, int64_t channels, const float* scale,
                         const float* shift) {
  if (residual == nullptr)
    for_each<K>(range, channels, scale, shift, shift,
                [=](int64_t at, Floats p, Floats q, Floats) { store(y + at, relu(load(x + at) * p + q)); });
  else
    for_each<K>(range, channels, scale, shift, shift, [=](int64_t at, Floats p, Floats q, Floats) {
      store(y + at, relu(load(x + at) * p + q + load(residual + at)));
    });
}

// The sums of what passes the ReLU of y's gradient, and of its products with x - mean; `passed_on` may be null.
template <int K, typename T, typename Gradient>
inline void add_up_gradients(Gradient gradient, const T* y, const T* x, T* passed_on, Range range, int64_t channels,
                             const float* mean, double* sums) {
  add_up<K>(range, channels, mean, sums, [=](int64_t at, Floats middle, Floats& a, Floats& b) {
    const Floats passed = where_positive(load(y + at), gradient(at));
    if (passed_on != nullptr) store(passed_on + at, passed);
    a += passed;
    b += passed * (load(x + at) - middle);
  });
}

// Calls `work` for as many columns as the channels fill.
template <typename Work>
inline void with_columns(int64_t channels, Work work) {
  if (channels == 4 * kLanes)
    work.template operator()<4>();
  else if (channels == 2 * kLanes)
    work.template operator()<2>();
  else if (channels == kLanes)
    work.template operator()<1>();
  else
    work.template operator()<kWide>();
}

}  // namespace
