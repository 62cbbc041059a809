// Batch norm with what follows it, in training and in channels-last layout: y = relu(scale * x + shift [+ residual]).
//
// torch reads and writes every activation five times for norm and ReLU and three more for an addition; here it is read
// twice and written once. Activations are float or bfloat16, everything else is float, and sums are taken relative to
// a channel's first value, so that a mean far from zero costs no digits. Channels are a multiple of 16.

#include <omp.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <type_traits>
#include <utility>
#include <vector>

namespace {

using bf16 = uint16_t;
#if defined(__AVX512F__)
constexpr int64_t kLanes = 16;
#elif defined(__AVX2__)
constexpr int64_t kLanes = 8;
#else
constexpr int64_t kLanes = 4;
#endif
constexpr int64_t kMostRows = 64;  // added up in float before they are added to the sums in double
constexpr int kColumns = 4;        // of lanes in registers at a time: of as many channels, or of so many rows
constexpr int kWide = 0;           // more channels than columns: their sums lie in memory

typedef float Floats __attribute__((vector_size(4 * kLanes)));
typedef int32_t Words __attribute__((vector_size(4 * kLanes)));
typedef uint32_t Bits __attribute__((vector_size(4 * kLanes)));
typedef double Doubles __attribute__((vector_size(8 * kLanes)));
typedef uint16_t Halves __attribute__((vector_size(2 * kLanes)));

inline Floats load(const float* from) {
  Floats values;
  std::memcpy(&values, from, sizeof values);
  return values;
}
inline Floats load(const bf16* from) {
  Halves halves;
  std::memcpy(&halves, from, sizeof halves);
  return reinterpret_cast<Floats>(__builtin_convertvector(halves, Bits) << 16);
}
inline void store(float* to, Floats values) { std::memcpy(to, &values, sizeof values); }
inline void store(bf16* to, Floats values) {  // to the nearest, ties to even; NaN stays NaN
  const Bits bits = reinterpret_cast<Bits>(values);
  const Bits rounded = (bits + 0x7fff + ((bits >> 16) & 1)) >> 16;
  const Words nan = values != values;
  const Halves halves = __builtin_convertvector(nan ? Bits{} + 0x7fc0 : rounded, Halves);
  std::memcpy(to, &halves, sizeof halves);
}

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

struct Range {
  int64_t begin, end;
};

Range part_of(int64_t rows, int part, int parts) { return {rows * part / parts, rows * (part + 1) / parts}; }

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
std::pair<double, double> total(const std::vector<double>& sums, int64_t channels, int parts, int64_t c) {
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

template <typename T, int K>
void forward(const T* x, const T* residual, T* y, int64_t rows, int64_t channels, const float* weight,
             const float* bias, float eps, float momentum, float* mean, float* inverse_std, float* running_mean,
             float* running_variance, int threads) {
  std::vector<double> sums(2 * channels * threads);
  std::vector<float> origin(channels), scale(channels), shift(channels);
  for (int64_t c = 0; c < channels; c += kLanes) store(&origin[c], load(x + c));
#pragma omp parallel num_threads(threads)
  {
    const int parts = omp_get_num_threads(), part = omp_get_thread_num();
    const Range range = part_of(rows, part, parts);
    add_up<K>(range, channels, origin.data(), sums.data() + 2 * channels * part,
              [=](int64_t at, Floats from, Floats& a, Floats& b) {
                const Floats value = load(x + at) - from;
                a += value;
                b += value * value;
              });
#pragma omp barrier
#pragma omp single
    for (int64_t c = 0; c < channels; ++c) {
      const auto [first, second] = total(sums, channels, parts, c);
      const double from_origin = first / rows;
      const double var = std::max(second / rows - from_origin * from_origin, 0.0);
      mean[c] = static_cast<float>(from_origin + origin[c]);
      const double unbiased = var * rows / (rows - 1);
      running_mean[c] += momentum * (mean[c] - running_mean[c]);
      running_variance[c] += momentum * (static_cast<float>(unbiased) - running_variance[c]);
      inverse_std[c] = static_cast<float>(1.0 / std::sqrt(var + eps));
      scale[c] = weight[c] * inverse_std[c];
      shift[c] = bias[c] - mean[c] * scale[c];
    }
    const float* a = scale.data();
    const float* b = shift.data();
    if (residual == nullptr)
      for_each<K>(range, channels, a, b, b,
                  [=](int64_t at, Floats p, Floats q, Floats) { store(y + at, relu(load(x + at) * p + q)); });
    else
      for_each<K>(range, channels, a, b, b, [=](int64_t at, Floats p, Floats q, Floats) {
        store(y + at, relu(load(x + at) * p + q + load(residual + at)));
      });
  }
}

// Gradients by x, weight, bias, and the residual (where there is one: the gradient that passes the ReLU).
template <typename T, int K>
void backward(const T* gradient, const T* y, const T* x, int64_t rows, int64_t channels, const float* weight,
              const float* mean, const float* inverse_std, T* by_x, T* by_residual, float* by_weight, float* by_bias,
              int threads) {
  std::vector<double> sums(2 * channels * threads);
  std::vector<float> of_gradient(channels), of_x(channels), constant(channels);
#pragma omp parallel num_threads(threads)
  {
    const int parts = omp_get_num_threads(), part = omp_get_thread_num();
    const Range range = part_of(rows, part, parts);
    add_up<K>(range, channels, mean, sums.data() + 2 * channels * part,
              [=](int64_t at, Floats middle, Floats& a, Floats& b) {
                const Floats passed = where_positive(load(y + at), load(gradient + at));
                if (by_residual != nullptr) store(by_residual + at, passed);
                a += passed;
                b += passed * (load(x + at) - middle);
              });
#pragma omp barrier
#pragma omp single
    for (int64_t c = 0; c < channels; ++c) {
      const auto [first, second] = total(sums, channels, parts, c);
      by_bias[c] = static_cast<float>(first);
      by_weight[c] = static_cast<float>(second * inverse_std[c]);
      // by_x = weight / std * (passed - mean(passed) - normalised * mean(passed * normalised))
      const double s = inverse_std[c];
      of_gradient[c] = static_cast<float>(weight[c] * s);
      of_x[c] = static_cast<float>(-weight[c] * s * s * s * second / rows);
      constant[c] = static_cast<float>(-weight[c] * s * first / rows - of_x[c] * static_cast<double>(mean[c]));
    }
    const float* a = of_gradient.data();
    const float* b = of_x.data();
    const float* c = constant.data();
    if (by_residual == nullptr)
      for_each<K>(range, channels, a, b, c, [=](int64_t at, Floats p, Floats q, Floats r) {
        store(by_x + at, where_positive(load(y + at), load(gradient + at)) * p + load(x + at) * q + r);
      });
    else
      for_each<K>(range, channels, a, b, c, [=](int64_t at, Floats p, Floats q, Floats r) {
        store(by_x + at, load(by_residual + at) * p + load(x + at) * q + r);
      });
  }
}

// Calls `work` with a pointer of the type of the activations, and with as many columns as the channels fill.
template <typename Work>
void dispatch(int is_bf16, int64_t channels, Work work) {
  const auto with = [&](auto* type) {
    using T = std::remove_pointer_t<decltype(type)>;
    if (channels == 4 * kLanes)
      work.template operator()<T, 4>();
    else if (channels == 2 * kLanes)
      work.template operator()<T, 2>();
    else if (channels == kLanes)
      work.template operator()<T, 1>();
    else
      work.template operator()<T, kWide>();
  };
  if (is_bf16)
    with(static_cast<bf16*>(nullptr));
  else
    with(static_cast<float*>(nullptr));
}

}  // namespace

extern "C" {

void reslab_norm_relu(int is_bf16, const void* x, const void* residual, void* y, int64_t rows, int64_t channels,
                      const float* weight, const float* bias, float eps, float momentum, float* mean,
                      float* inverse_std, float* running_mean, float* running_variance, int threads) {
  dispatch(is_bf16, channels, [=]<typename T, int K>() {
    forward<T, K>(static_cast<const T*>(x), static_cast<const T*>(residual), static_cast<T*>(y), rows, channels, weight,
                  bias, eps, momentum, mean, inverse_std, running_mean, running_variance, threads);
  });
}

void reslab_norm_relu_backward(int is_bf16, const void* gradient, const void* y, const void* x, int64_t rows,
                               int64_t channels, const float* weight, const float* mean, const float* inverse_std,
                               void* by_x, void* by_residual, float* by_weight, float* by_bias, int threads) {
  dispatch(is_bf16, channels, [=]<typename T, int K>() {
    backward<T, K>(static_cast<const T*>(gradient), static_cast<const T*>(y), static_cast<const T*>(x), rows, channels,
                   weight, mean, inverse_std, static_cast<T*>(by_x), static_cast<T*>(by_residual), by_weight, by_bias,
                   threads);
  });
}
}
